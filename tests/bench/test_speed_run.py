"""Seconds to a quality: read off curves, and a run that is timed for real."""

import json
import math

import pytest
from tiny import TINY

from caelab.bench import contestants, speed_run
from caelab.bench.measure import OUTPUT
from caelab.errors import UserError

CURVES = [[(10.0, 20.0), (20.0, 25.0), (30.0, 24.0)], [(12.0, 26.0)], [(5.0, 19.0), (9.0, 24.5)]]


def test_the_first_epoch_that_is_good_enough_counts():
    assert [speed_run.reached(curve, 24.5) for curve in CURVES] == [20, 12, 9]
    assert speed_run.reached(CURVES[0], 25.1) == math.inf


def test_each_target_has_its_median_and_who_reached_it(monkeypatch, lab, tmp_path):
    monkeypatch.chdir(tmp_path)
    told = []

    def carry_out(name, overrides):
        told.append((name, overrides[-1]))
        return {"curve": CURVES[len(told) - 1], "test_psnr": 24.0 + len(told)}

    monkeypatch.setattr(speed_run, "carry_out", carry_out)
    status, out, _ = lab("bench", "--to", "24.5,25.5", "--rounds", 3, *TINY)
    assert status == 0
    assert told == [("speed-run", f"seed={seed}") for seed in range(3)]
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
    assert cells == [
        ["24.5", "12.0 (9.0 to 20.0)", "3 of 3", "26.00 (25.00 to 27.00)"],
        ["25.5", "-", "1 of 3", "26.00 (25.00 to 27.00)"],
    ]
    (file,) = (tmp_path / "multirun/bench").iterdir()
    found = json.loads(file.read_text())
    assert found["targets"] == [24.5, 25.5]
    assert [one["curve"] for one in found["runs"]] == [[list(p) for p in curve] for curve in CURVES]
    _, shown, _ = lab("bench", "--show", file)
    assert "| 24.5 | 12.0 (9.0 to 20.0) | 3 of 3 | 26.00 (25.00 to 27.00) |\n" in shown


@pytest.mark.parametrize("every", [1, 2])
def test_a_run_is_timed_at_each_validation(monkeypatch, tmp_path, every):
    from conftest import close_log_files

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAELAB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv(OUTPUT, str(tmp_path / "out"))
    monkeypatch.setattr(contestants.Checkpoints, "save", contestants.Checkpoints.save)  # and back again
    found = contestants.speed_run([*TINY, f"trainer.check_val_every_n_epoch={every}"])
    close_log_files()
    (record,) = [json.loads(path.read_text()) for path in (tmp_path / "out").rglob("result.json")]
    assert found["test_psnr"] == record["metrics"]["test/psnr"]
    times, psnrs = zip(*found["curve"], strict=True)
    assert len(times) == 2 // every
    assert sorted({0, *times}) == [0, *times]
    assert times[-1] <= record["time"]["fit_seconds"]
    assert max(psnrs) == pytest.approx(record["metrics"]["val/psnr"])


def test_mistakes(lab, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert lab("bench", "--to", "28,much", *TINY)[2] == (
        "caelab: --to 28,much: give PSNR in dB, such as --to 28,28.5,29\n"
    )
    assert lab("bench", "--to", "28", "--show", "a.json", *TINY)[2] == (
        "caelab: --to and --show: give only one of them\n"
    )
    with pytest.raises(UserError, match="^--to: name a recipe, such as experiment=residual$"):
        speed_run.speed_run([28.0], [], 1)
