"""The command line of the fit: what it leaves beside a run, what it shows, and what mistakes say."""

import json

import matplotlib.image
import pytest
import torch

from caelab.analysis.refine import refine as module
from caelab.analysis.refine.refine import table
from caelab.errors import UserError
from caelab.inference.restore import datamodule, load
from caelab.metrics.quality import mse, psnr
from caelab.models.refinement import fit
from caelab.runs import results
from caelab.runs.analyses import analyses
from caelab.runs.record import made

refine = analyses()["refine"]


def test_figures_are_those_of_the_first_images(trained):
    run = trained()
    found = refine(run.run_dir, steps=2, images=45)  # not a whole batch
    net, data = load(run.run_dir), datamodule(made(run.record))
    data.setup()
    x = data.splits["test"][:45].float() / 255
    with torch.no_grad():
        code = net.encode(x)
        codes = [code, *(fit(net, x, code, steps).code for steps in (1, 2))]
        expected = [psnr(mse(net.decode(one), x)).mean().item() for one in codes]
    assert found["psnr"] == pytest.approx(expected, abs=1e-4)
    assert expected[2] > expected[1] > expected[0]
    assert found["figures"]["refine/psnr"] == pytest.approx(expected[2], abs=1e-4)
    assert found["figures"]["refine/gain"] == pytest.approx(expected[2] - expected[0], abs=1e-4)
    assert found["images"] == 45


def test_of_few_images_all_are_taken_and_the_fit_begins_at_the_figure_of_the_run(trained):
    run = trained()
    found = refine(run.run_dir, steps=1)
    assert found["images"] == 50
    assert found["psnr"][0] == pytest.approx(run.record["metrics"]["test/psnr"], abs=1e-4)
    written = json.loads((run.run_dir / "refine.json").read_text())
    tie = {key: run.record[key] for key in ("fingerprint", "finished")}
    assert written == {"schema": 1, **tie, **found}
    assert results.analyses(run.run_dir, made(run.record)) == found["figures"]
    assert matplotlib.image.imread(run.run_dir / "refine.png").std() > 0.01


def test_the_command_line_shows_the_steps_and_goes_on_after_a_mistake(trained, command, tmp_path):
    run = trained()
    status, out, lines = command(tmp_path / "nothing", run.run_dir, "--steps", 3, "--images", 9)
    assert status == 1
    assert lines == [
        f"caelab: {tmp_path}/nothing: no result.json there (no such directory); "
        "give the directory of a finished run"
    ]
    found = json.loads((run.run_dir / "refine.json").read_text())
    curve = found["psnr"]
    assert f"by this fit, the encoder loses {curve[3] - curve[0]:.2f} dB" in out
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
    assert cells == [
        ["the encoder's", f"{curve[0]:.2f}", ""],
        ["fitted, 1 step", f"{curve[1]:.2f}", f"{curve[1] - curve[0]:.2f}"],
        ["fitted, 2 steps", f"{curve[2]:.2f}", f"{curve[2] - curve[0]:.2f}"],
        ["fitted, 3 steps", f"{curve[3]:.2f}", f"{curve[3] - curve[0]:.2f}"],
    ]
    assert "mean of 9 test images" in out


def test_a_long_fit_is_shown_at_some_of_its_steps():
    shown = table({"psnr": [20 + step / 100 for step in range(31)], "images": 1000})
    assert list(shown.columns[0].cells)[-2:] == ["fitted, 20 steps", "fitted, 30 steps"]
    assert list(shown.columns[2].cells)[-1] == "0.30"
    assert shown.row_count == 7


@pytest.mark.parametrize("words", [("--steps", 0), ("--images", -1)])
def test_numbers_that_cannot_be_are_named(command, tmp_path, words):
    status, _, lines = command(tmp_path, *words)
    assert (status, lines) == (1, [f"caelab: {words[0]} {words[1]}: must be a whole number, at least 1"])


def test_a_run_on_corrupted_images_is_refused(train):
    run = train("corruption=masking")
    with pytest.raises(UserError, match="trained with corruption=masking; a latent fitted to the"):
        refine(run.run_dir)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("bottleneck=fsq", "bottleneck.levels=[3,3]"), "fsq is discrete: no small step leads from"),
        (("bottleneck=entropy",), "entropy rounds the latent: a fitted one would lie between the steps"),
    ],
)
def test_a_discrete_or_rounded_latent_is_refused_before_any_step(train, monkeypatch, words, why):
    run = train(*words, "model.latent=8")
    monkeypatch.setattr(module.terminal, "tracked", lambda *_: pytest.fail("a bar was opened"))
    with pytest.raises(UserError, match=f"/base-.*: bottleneck={why}"):
        refine(run.run_dir)
