"""The command line of a look: from a run's directory to its page, and what it says to mistakes."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import CHROMIUM, browser
from toys import leave_run, sha256_of

from caelab import terminal
from caelab.analysis.look import look as module
from caelab.analysis.look.parts import PARTS
from caelab.data.datamodule import permutation
from caelab.inference.restore import datamodule, load
from caelab.runs import results
from caelab.runs.analyses import analyses
from caelab.runs.record import RECORD

look = analyses()["look"]

NAMES = sorted(["index.html", *(f"{name}.png" for name in PARTS)])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return leave_run(tmp_path_factory.mktemp("looked") / "base-s3")


@pytest.fixture(scope="module")
def seen(run):
    """A look at all images of the run."""
    return look(run, map="pca")


@pytest.fixture
def sketch(monkeypatch):
    """Draw two parts of the page, for tests that do not ask for the others."""
    monkeypatch.setattr("caelab.analysis.look.parts.PARTS", {name: PARTS[name] for name in ("map", "usage")})


@pytest.fixture
def command(lab):
    """Call the command line: exit status, lines on stdout, lines on stderr."""

    def call(*words):
        status, out, err = lab("look", *words)
        return status, out.splitlines(), err.splitlines()

    return call


def test_the_page_and_its_pictures_lie_in_the_run(run, seen):
    page = run / "look" / "index.html"
    assert seen["page"] == str(page)
    assert sorted(path.name for path in page.parent.iterdir()) == NAMES
    assert page.stat().st_size < 5e6
    assert results.analyses(run, results.read(run)) == seen["figures"]


def test_the_page_says_which_run_and_checkpoint_it_shows(run, seen):
    text = Path(seen["page"]).read_text()
    for words in (
        "base on shapes",
        "0123456789abcdef",
        "best.ckpt, epoch 2 of 4",
        "50 of the 50 test images",
        "21.50 dB",
    ):
        assert words in text
    assert "skips" not in text
    assert "disturbed" not in text
    assert all(f'<h2 id="{name}">' in text for name in PARTS)


def test_a_page_says_that_a_run_was_measured_on_disturbed_images(tmp_path, sketch):
    path = leave_run(tmp_path / "noisy")
    record = json.loads((path / RECORD).read_text())
    record["config"]["corruption"] = {"_target_": "caelab.corruptions.GaussianNoise", "sigma": 0.1}
    (path / RECORD).write_text(json.dumps(record))
    text = Path(look(path, map="pca")["page"]).read_text()
    assert "21.50 dB, given disturbed; every PSNR below is of clean ones" in text


def test_figures_are_those_of_the_whole_split(run, seen):
    record = results.read(run)
    net, data = load(run), datamodule(record)
    data.setup("test")
    x = data.splits["test"][:].float() / 255
    with torch.no_grad():
        z, x_hat = net.encode(x).z.double().numpy(), net(x).clamp(0, 1)
    decibels = 10 * np.log10(1 / np.square((x_hat - x).numpy()).mean((1, 2, 3)))
    covariance = np.cov(z, rowvar=False)
    assert seen["figures"]["look/images"] == 50
    assert seen["figures"]["look/latent"] == 6
    assert seen["figures"]["look/psnr"] == pytest.approx(decibels.mean(), rel=1e-5)
    dimension = np.trace(covariance) ** 2 / np.trace(covariance @ covariance)
    assert seen["figures"]["look/effective_dimension"] == pytest.approx(dimension, rel=1e-4)


@pytest.mark.usefixtures("sketch")
def test_the_command_line_takes_a_seeded_part_and_shows_a_table(run, command, tmp_path):
    out = tmp_path / "elsewhere"
    status, lines, _ = command(run, "--images", 12, "--seed", 5, "--map", "pca", "--out", out)
    assert status == 0
    assert sorted(path.name for path in out.iterdir()) == ["index.html", "map.png", "usage.png"]
    assert f"{run} --map pca --images 12 --seed 5" in (out / "index.html").read_text()
    assert any("base-s3" in line for line in lines)
    cells = [line.split("│")[1:-1] for line in lines if "│" in line]
    assert [row[0].strip() for row in cells] == ["12"]
    assert lines[-2].strip().endswith("elsewhere/index.html")
    points = json.loads(re.search(r'id="points">(.*?)</script>', (out / "index.html").read_text())[1])[
        "points"
    ]
    assert [point["row"] for point in points] == permutation(50, 5)[:12].tolist()


def test_several_runs_get_a_page_each(command, monkeypatch, tmp_path):
    """Drawing them is tested above; here only who is drawn."""
    runs = [leave_run(tmp_path / name) for name in ("a", "b")]
    drawn = []

    def draw(subject, **options):
        drawn.append((subject.picture, options))
        return {"figures": {}}

    monkeypatch.setattr(module, "measure", draw)
    monkeypatch.setattr(module, "show", lambda run, result: [])
    assert command(*runs, "--images", "40")[0] == 0
    options = {"map": "tsne", "images": 40, "seed": 0, "out": None}
    assert drawn == [(run / "look/index.html", options) for run in runs]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--images", "51"], "--images 51: the test split has 50 images; ask for 10 to 50"),
        (["--images", "9"], "--images 9: must be a whole number, from 10"),
        (["--images", "many"], "--images many: must be a whole number"),
        (["--seed", "-1"], "--seed -1: must be a whole number, from 0"),
        (["--map", "tsme"], "--map tsme: there is no such map; did you mean 'tsne'?"),
        (["RUN", "RUN", "--out", "there"], "--out there: applies to one run only; omit it, or give one RUN"),
        (["RUN", "--out", "/dev/null/there"], "/dev/null/there: Not a directory"),
        (["nowhere"], "nowhere: no such directory, and no finished run below multirun; train one first"),
    ],
)
def test_mistakes_are_one_line(run, command, words, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = [] if words[0] in ("RUN", "nowhere") else [run]
    status, out, err = command(*own, *(run if word == "RUN" else word for word in words))
    assert (status, out) == (1, [])
    assert len(err) == 1
    assert line in err[0]


def test_a_run_without_checkpoint(command, tmp_path):
    path = leave_run(tmp_path / "bare")
    (path / "checkpoints/best.ckpt").unlink()
    status, _, err = command(path)
    assert (status, len(err)) == (1, 1)
    assert "best.ckpt is missing; train the run again with force=true" in err[0]


def test_a_constant_code(command, tmp_path):
    path = leave_run(tmp_path / "constant")
    checkpoint = torch.load(path / "checkpoints/best.ckpt", weights_only=True)
    for name in ("weight", "bias"):
        checkpoint["state_dict"][f"net.to_latent.0.{name}"].zero_()
    torch.save(checkpoint, path / "checkpoints/best.ckpt")
    status, _, err = command(path)
    assert (status, len(err)) == (1, 1)
    assert "/constant: model Base: its code is the same for all 50 images (latent=6)" in err[0]


def test_a_split_that_is_too_small(command, tmp_path):
    path = leave_run(tmp_path / "small")
    record = json.loads((path / RECORD).read_text())
    record["config"]["dataset"]["test_size"] = 9
    record["data"]["sha256"] = sha256_of(record["config"]["dataset"])
    (path / RECORD).write_text(json.dumps(record))
    status, _, err = command(path)
    assert (status, len(err)) == (1, 1)
    assert "/small: the test split has 9 images; caelab look needs 10 or more" in err[0]


@pytest.mark.usefixtures("sketch")
def test_a_trained_model_with_skips(train, command):
    """From training to the page; what holds for skips is said."""
    answer = train(
        "model=improved_skip", "model.channels=[4,8]", "model.skip_levels=[1]", "trainer.max_epochs=1"
    )
    assert command(answer.run_dir, "--map", "pca")[0] == 0
    text = (answer.run_dir / "look/index.html").read_text()
    around = answer.record["size"]["effective_code"] - answer.record["size"]["latent"]
    assert around > 0
    assert f"Besides the 8 numbers of z, {around:,} go around it in skips." in text
    assert "checksum" not in text
    assert terminal.shown(answer.run_dir) in text


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_the_whole_page_opens_without_error(seen):
    with browser() as chromium:
        chromium.open(Path(seen["page"]))
        assert chromium.errors == []
        assert chromium.evaluate("document.querySelectorAll('#plot use').length") == 50
        assert (
            chromium.evaluate("[...document.images].every((one) => one.complete && one.naturalWidth > 0)")
            is True
        )
        width = chromium.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert width <= 0
