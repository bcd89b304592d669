"""The command line of samples: what it leaves beside a run, what it shows, and what mistakes say."""

import json
import shutil
from dataclasses import replace

import matplotlib.image
import pytest
import torch
from toys import leave_run

import caelab
from caelab.analysis.sample import DISTANCES, FIGURES, features
from caelab.analysis.sample.likeness import Reference
from caelab.analysis.sample.priors import standard_or_fitted
from caelab.inference.restore import datamodule
from caelab.models.autoencoder import Code
from caelab.runs import results
from caelab.runs.analyses import analyses
from caelab.runs.record import save

sample = analyses()["sample"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run directory with what was measured in it."""
    path = leave_run(tmp_path_factory.mktemp("runs") / "one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "STEPS", 8)
        return path, sample(path)


@pytest.fixture
def run(measured, tmp_path, monkeypatch):
    """A copy of it, to be spoilt."""
    monkeypatch.setattr(features, "STEPS", 8)
    return shutil.copytree(measured[0], tmp_path / "one")


def test_it_leaves_a_file_tied_to_the_run_and_a_picture(measured):
    path, found = measured
    record = results.read(path)
    written = json.loads((path / "sample.json").read_text())
    assert written == {"schema": 1, "fingerprint": record.fingerprint, "finished": record.finished, **found}
    assert results.analyses(path, record) == found["figures"]
    assert matplotlib.image.imread(path / "sample.png").std() > 0.05
    assert list(found["sets"]) == ["normal", "gmm", "reconstructions", "images"]
    assert found["images"] == {"train": 96, "each": 40}  # of 50 test images as many as for validation
    gains = {f"sample/{name}_gain_gmm" for name in ("frechet", "coverage")}
    figures = {f"sample/{key}_{name}" for key in FIGURES if key != "fid" for name in found["sets"]}
    assert figures | gains == {*found["figures"]}
    columns = {column.path for column in sample.columns.values()}
    assert {path for path in found["figures"] if not path.endswith(("images", "reconstructions"))} <= columns


def test_figures_are_those_of_the_best_checkpoint(measured, monkeypatch):
    path, found = measured
    monkeypatch.setattr(features, "STEPS", 8)
    monkeypatch.setattr(features, "trained", lambda *_: pytest.fail("trained again"))
    net, data = caelab.load(path), datamodule(results.read(path))
    data.setup()
    judge = features.classifier(data)
    val, test = data.splits["val"], data.splits["test"]
    real = judge.features(val[:]).detach()
    right = (judge(val[:]).argmax(1) == val.targets).sum().item()
    assert found["classifier"] == {"accuracy": right / 40, "classes": 3}
    z = net.encode(data.splits["train"][:]).z
    drawn = net.decode(Code(standard_or_fitted(z, net.network.bottleneck, 0).draw(40, 0)))
    images = (255 * drawn).round().byte()
    own = Reference(real).likeness(judge.features(images).detach())
    assert found["sets"]["normal"] == pytest.approx(own._asdict(), rel=1e-4)
    chosen = torch.cat([test[n : n + 1] for n in range(50)])
    every = Reference(real).likeness(judge.features(chosen).detach())
    assert found["sets"]["images"]["frechet"] == pytest.approx(every.frechet, rel=1)  # of 40 of them
    figures = found["figures"]
    gain = figures["sample/frechet_normal"] - figures["sample/frechet_gmm"]
    assert figures["sample/frechet_gain_gmm"] == gain
    gain = figures["sample/coverage_gmm"] - figures["sample/coverage_normal"]
    assert figures["sample/coverage_gain_gmm"] == gain


def test_the_command_line_shows_each_set_and_says_what_the_priors_are(run, command):
    status, out, _ = command(run, "--prior", "gmm", "--number", 5, "--seed", 3)
    assert status == 0
    found = json.loads((run / "sample.json").read_text())
    assert (found["number"], found["seed"], list(found["priors"])) == (5, 3, ["gmm"])
    assert f"gmm: {found['priors']['gmm']}" in out
    for name, key in (("samples, mixture prior", "gmm"), ("test images", "images")):
        (line,) = [line for line in out.splitlines() if line.startswith(f"│ {name}")]
        cells = [cell.strip() for cell in line.split("│")[2:-1]]
        assert cells[0] == f"{found['sets'][key]['frechet']:.2f}"
        names = [name for name in FIGURES if name not in DISTANCES]
        assert cells[1:] == [f"{found['sets'][key][name]:.3f}" for name in names]
    assert "40 images of each kind, held against 40 validation images" in out


def test_the_same_seed_draws_the_same(run, measured):
    again = sample(run)
    assert again["figures"] == measured[1]["figures"]
    assert (
        sample(run, seed=1)["figures"]["sample/frechet_normal"] != again["figures"]["sample/frechet_normal"]
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--prior", "gnn"), "--prior gnn: there is no prior 'gnn'; known: flow, gmm, normal"),
        (("--prior", "gmm,"), "--prior gmm,: there is no prior ''"),
        (("--number", "0"), "--number 0: must be a whole number, from 1 to 1,024"),
        (("--seed", "x"), "--seed x: must be a whole number"),
    ],
)
def test_mistakes_are_told_in_one_line(run, command, words, line):
    status, _, lines = command(run, *words)
    assert (status, len(lines)) == (1, 1)
    assert lines[0].startswith(f"caelab: {line}")


def test_the_missing_library_is_named(run, command, monkeypatch):
    monkeypatch.setattr("caelab.analysis.sample.installed", lambda package: package != "zuko")
    status, _, lines = command(run, "--prior", "normal,flow")
    message = "zuko is not installed; pip install 'caelab[flow]', or take --prior gmm"
    assert (status, lines) == (1, [f"caelab: --prior normal,flow: {message}"])


def test_what_has_no_prior_of_its_latent_is_refused_before_data_are_read(run, command, monkeypatch):
    record = results.read(run)
    monkeypatch.setattr("caelab.analysis.runner.Subject.data", None)
    save(run, replace(record, size=replace(record.size, bits=252.0)))
    status, _, lines = command(run)
    assert (status, len(lines)) == (1, 1)
    assert "one: its latent is discrete (252 bits an image); caelab sample needs a continuous one" in lines[0]
    save(run, replace(record, size=replace(record.size, effective_code=106)))
    status, _, lines = command(run)
    assert (status, len(lines)) == (1, 1)
    assert "one: 100 numbers an image go around its latent in skips" in lines[0]


@pytest.mark.parametrize("name", ["sample", "look"])
def test_a_very_long_latent_is_refused_before_data_are_read(name, lab, tmp_path, monkeypatch):
    monkeypatch.setattr("caelab.analysis.runner.Subject.data", None)
    run = leave_run(tmp_path / "one")
    record = results.read(run)
    save(run, replace(record, size=replace(record.size, latent=12_288)))
    status, _, err = lab(name, run)
    assert (status, len(err.splitlines())) == (1, 1)
    assert f"its latent has 12,288 numbers; caelab {name} needs the square of that, and takes 4,096 at" in err


def test_images_without_classes_or_too_few_are_refused(run, command, monkeypatch):
    record = results.read(run)
    dataset = record.config["dataset"] | {"val_size": 5}
    monkeypatch.setattr("caelab.data.datamodule.ImageDataModule.expected", None, raising=False)
    data = datamodule(replace(record, config={"dataset": dataset}), val_size=5)
    data.setup()
    monkeypatch.setattr("caelab.analysis.runner.Subject.data", data)
    status, _, lines = command(run)
    assert (status, len(lines)) == (1, 1)
    assert "one: 5 validation or test images are too few; samples are compared with more than 5" in lines[0]
    data.class_names = ("images",)
    status, _, lines = command(run)
    assert (status, len(lines)) == (1, 1)
    assert "one: its images have no classes" in lines[0]


def test_codes_that_are_not_finite_are_refused(run, command):
    state = torch.load(run / "checkpoints/best.ckpt")
    bias = next(key for key in state["state_dict"] if "to_latent" in key and key.endswith("bias"))
    state["state_dict"][bias][:] = float("inf")
    torch.save(state, run / "checkpoints/best.ckpt")
    status, _, lines = command(run)
    assert (status, len(lines)) == (1, 1)
    assert "one: the codes of its training images are not finite" in lines[0]
