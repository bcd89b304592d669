"""``make gpu-check``: what it does without a GPU and without data, and what it leaves of parts that fail."""

import json

import gpu_check
import pytest
import torch
from gpu_check import PARTS, SECONDS, Part, main


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """A GPU, as far as torch tells, and an empty folder of data."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu_check, "machine", lambda: {"gpu": "none"})
    monkeypatch.setenv("CAELAB_DATA", str(tmp_path / "data"))


def test_without_a_gpu_it_says_so(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(tmp_path / "out") == 0
    assert capsys.readouterr().out == "gpu-check: there is no GPU here, so nothing is checked\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("gpu")
def test_each_missing_file_is_named_first(capsys, tmp_path):
    assert main(tmp_path / "out") == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"caelab: gpu-check: missing: {tmp_path}/data/cifar10/cache/train_images.npy"
    assert len(lines) == 4
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("gpu")
def test_parts_end_in_time_and_are_on_record_as_they_go(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(gpu_check, "missing", list)
    slow = "import time, pathlib; print('here', flush=True); time.sleep(60)"
    parts = [
        Part("good", 60, ("-c", "print('well')")),
        Part("slow", 1, ("-c", slow)),
        Part("bad", 60, ("-c", "raise SystemExit(3)")),
    ]
    folder = tmp_path / "out"
    assert main(folder, parts) == 1
    found = json.loads((folder / "gpu_check.json").read_text())
    assert [(one["name"], one["status"]) for one in found["parts"]] == [
        ("good", "done"),
        ("slow", "out of time"),
        ("bad", "failed with status 3"),
    ]
    assert 1 <= found["parts"][1]["seconds"] < 30
    assert (folder / "good.txt").read_text() == "well\n"
    assert [line.partition(",")[0] for line in capsys.readouterr().out.splitlines()] == [
        "good: done",
        "slow: out of time",
        "bad: failed with status 3",
    ]
    monkeypatch.setattr(gpu_check, "SECONDS", 0.0)
    assert main(folder, parts[1:2]) == 1
    assert json.loads((folder / "gpu_check.json").read_text())["parts"][0]["status"] == "out of time"


def test_all_parts_fit_into_twelve_minutes():
    assert sum(part.seconds for part in PARTS) <= SECONDS == 12 * 60
