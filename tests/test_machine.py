"""How many runs a machine has room for."""

import joblib
import pytest

from caelab import machine


@pytest.mark.parametrize(
    ("cores", "threads", "gpus", "accelerator", "expected"),
    [
        (8, None, "", "auto", 8),
        (8, "2", "", "auto", 4),
        (2, "16", "", "cpu", 1),
        (16, None, "0,1", "auto", 8),
        (6, None, "0,1", "gpu", 6),
        (16, None, "0,1", "cpu", 16),
        (16, None, "-1", "auto", 16),
    ],
)
def test_as_many_runs_at_once_as_there_is_room_for(monkeypatch, cores, threads, gpus, accelerator, expected):
    monkeypatch.setattr(joblib, "cpu_count", lambda: cores)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if threads:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert machine.at_once(accelerator) == expected
