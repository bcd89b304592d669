"""How many runs and threads a machine has room for: what it was given, not what it has."""

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
