"""How many runs and threads a machine has room for: what it was given, not what it has."""

import os

import pytest
import torch

from caelab import terminal
from caelab.config import machine


@pytest.mark.parametrize(
    ("cores", "threads", "gpus", "accelerator", "expected"),
    [
        (8, None, "", "auto", 8),
        (8, "2", "", "auto", 4),
        (8, "2,1", "", "auto", 4),
        (2, "16", "", "cpu", 1),
        (16, None, "0,1", "auto", 8),
        (6, None, "0,1", "gpu", 6),
        (16, None, "0,1", "cpu", 16),
        (16, None, "-1", "auto", 16),
    ],
)
def test_as_many_runs_at_once_as_there_is_room_for(monkeypatch, cores, threads, gpus, accelerator, expected):
    monkeypatch.setattr(machine, "share", lambda: (cores, ""))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if threads:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert machine.at_once(accelerator) == expected


@pytest.mark.parametrize(
    ("given", "expected"), [("3", 3), ("2,1", 2), ("", None), ("0", None), ("many", None)]
)
def test_threads_that_the_user_asks_for(monkeypatch, given, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert machine.asked() == expected


@pytest.mark.parametrize(
    ("affinity", "quota", "slurm", "cores", "line"),
    [
        (16, None, None, 16, ""),
        (16, 20, "32", 16, ""),
        (6, None, None, 6, "6 of this machine's 16 cores, by affinity"),
        (16, 3, None, 3, "3 of this machine's 16 cores, by the cgroup's quota"),
        (16, None, "2", 2, "2 of this machine's 16 cores, by SLURM_CPUS_PER_TASK"),
        (4, 3, "1", 1, "1 of this machine's 16 cores, by SLURM_CPUS_PER_TASK"),
        (16, None, "", 16, ""),
    ],
)
def test_the_share_of_a_machine_is_the_least_that_it_was_given(
    monkeypatch, affinity, quota, slurm, cores, line
):
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(machine, "_affinity", lambda: affinity)
    monkeypatch.setattr(machine, "quota", lambda: quota)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    if slurm is not None:
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", slurm)
    assert machine.share() == (cores, line)


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/", {"cpu.max": "max 100000"}, None),
        ("0::/", {"cpu.max": "250000 100000"}, 3),
        ("0::/", {"cpu.max": "20000 100000"}, 1),
        ("0::/lab/job", {"lab/cpu.max": "400000 100000", "lab/job/cpu.max": "max 100000"}, 4),
        ("0::/lab/job", {"lab/cpu.max": "400000 100000", "lab/job/cpu.max": "200000 100000"}, 2),
        ("0::/../elsewhere", {"cpu.max": "100000 50000"}, 2),
        ("0::/my jobs", {"my jobs/cpu.max": "100000 50000"}, 2),
        (
            "4:cpu,cpuacct:/docker/1",
            {"cpu,cpuacct/cpu.cfs_quota_us": "150000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            2,
        ),
        ("1:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("2:memory:/", {"memory/cpu.cfs_quota_us": "100000", "memory/cpu.cfs_period_us": "100000"}, None),
    ],
)
def test_the_quota_of_control_groups(tmp_path, groups, files, expected):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(f"{groups}\n")
    for name, text in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    assert machine.quota(tmp_path) == expected


def test_a_machine_without_control_groups_has_no_quota(tmp_path):
    assert machine.quota(tmp_path) is None


@pytest.mark.parametrize(
    ("given", "asked", "threads", "lines"),
    [
        ((2, "2 of 8"), "", 2, ["2 of 8"]),
        ((2, "2 of 8"), "4", 4, []),
        ((8, ""), "", 4, []),
        ((6, "6 of 8"), "", 4, ["6 of 8"]),
    ],
)
def test_torch_takes_no_more_threads_than_there_are_cores(monkeypatch, given, asked, threads, lines):
    before, said, number = torch.get_num_threads(), [], [4]
    monkeypatch.setattr(machine, "share", lambda: given)
    monkeypatch.setattr(terminal, "say", said.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: number[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda n: number.__setitem__(0, n))
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    machine.limit_threads.__wrapped__()
    assert (number[0], said) == (threads, lines)
    monkeypatch.undo()
    assert torch.get_num_threads() == before
