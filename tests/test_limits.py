"""What a process was given of its machine, as the system says it in many places."""

import os

import pytest

from caelab import limits


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
    monkeypatch.setattr(limits, "_affinity", lambda: affinity)
    monkeypatch.setattr(limits, "quota", lambda: quota)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    if slurm is not None:
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", slurm)
    assert limits.share() == (cores, line)


def leave(root, groups, files):
    """Leave what Linux says of the control groups of a process."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(f"{groups}\n")
    for name, text in files.items():
        file = root / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")


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
    leave(tmp_path, groups, files)
    assert limits.quota(tmp_path) == expected


def test_a_machine_without_control_groups_has_no_quota(tmp_path):
    assert limits.quota(tmp_path) is None


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/", {}, None),
        ("0::/", {"memory.max": "1000"}, 1000),
        ("0::/", {"memory.max": "max"}, None),
        ("0::/job_7/step_0", {"job_7/memory.max": "1000", "job_7/step_0/memory.max": "max"}, 1000),
        ("0::/job_7/step_0", {"job_7/memory.max": "3000", "job_7/step_0/memory.max": "2000"}, 2000),
        ("4:memory:/docker/1", {"memory/memory.limit_in_bytes": "1000"}, 1000),
        ("4:memory:/", {"memory/memory.limit_in_bytes": str(2**63 - 4096)}, None),
        ("4:cpu:/", {"memory/memory.limit_in_bytes": "1000", "cpu/memory.limit_in_bytes": "1000"}, None),
    ],
)
def test_the_memory_that_control_groups_leave(tmp_path, groups, files, expected):
    leave(tmp_path, groups, files)
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert limits.memory(tmp_path) == (expected or whole)
