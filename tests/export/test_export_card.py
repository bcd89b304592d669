"""The model card: what it says of a run, and what it leaves out."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import toys
from test_texts import NASTY, tokens
from toys import leave_whole_run

from caelab.export.card import _costs
from caelab.export.export import export
from caelab.inference import restore
from caelab.runs import results
from caelab.runs.record import save
from caelab.training import describe

BASE = {"_target_": "caelab.models.base.Base", "latent": 6, "channels": [2, 3], "hidden": []}
SKIPS = {"_target_": "caelab.models.improved_skip.ImprovedSkip", "channels": [2], "skip_levels": [1]}


@pytest.fixture
def card(tmp_path, monkeypatch):
    """Return the card of a run of a model whose record was changed, and the record."""
    monkeypatch.setattr("caelab.export.check.SECONDS", 0.0)  # one pass

    def write(model, change=lambda record: None):
        run = leave_whole_run(tmp_path / "run", model)
        record = results.finished(run)
        save(run, record := replace(record, **(change(record) or {})))
        export(run, "safetensors", tmp_path / "out")
        return (tmp_path / "out" / "model_card.md").read_text(), record

    return write


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({"commit": "abcdef0123456789", "code": "0123"}, "caelab 0.1.0, commit abcdef0123, torch"),
        ({"code": "fedcba9876543210"}, "caelab 0.1.0, code fedcba9876, torch"),
        ({}, "caelab 0.1.0, torch"),
    ],
)
def test_it_names_the_code_by_its_commit_or_else_by_its_digest(environment, line):
    assert line in _costs(toys.typed(environment=environment))[2]


def test_it_says_what_was_measured(card, tmp_path):
    text, record = card(BASE)
    floors = json.loads((tmp_path / "run" / "floors.json").read_text())["floors"]
    assert {one["numbers"] for one in floors} == {0, 6}
    pca = next(one["metrics"] for one in floors if one["numbers"])
    net = restore.load(tmp_path / "run")
    learnt = sum(p.numel() for p in net.parameters())
    for line in (
        "# base on shapes",
        "Convolutions, then linear layers down to the latent; the decoder is the mirror image.",
        f"Fingerprint of the run: `{record.fingerprint}`.",
        "- **Code**: 6 latent numbers an image; 6 reach the decoder; the image has 2,352.",
        f"- **Size**: {learnt:,} learnt numbers; ",
        "- **Training**: mse loss, adam, seed 3; 4 epochs, the best on validation is 2.",
        "- **Command**: `caelab train model=base dataset=shapes`",
        "| training | 96 |",
        f"SHA-256 of the arrays: `{record.data.sha256}`.",
        "Classes: ellipse, rectangle, triangle. No label took part in the training.",
        "| **base** | 21.50 | 20.25 | 0.750 | 22.12 |  | this run |",
        f"| PCA of 6 numbers | {pca['test/psnr']:.2f} | {pca['test/psnr_pooled']:.2f} | ",
        "Latent reliance: 1.00: nothing goes around the latent",
        "- 12 s of training and validation, 1 s of test",
        "- Device: cpu, 1 thread, precision 32-true",
        "compared with the network on 50 images of the test split",
        "Of the data: Drawn by caelab itself",
    ):
        assert line in text, line
    assert re.search(r"exported as `safetensors` on \d+ \w+ 20\d\d\.", text)
    assert "/home/someone" not in text
    assert str(Path.cwd()) not in text


def test_a_model_that_bypasses_its_latent_is_marked_in_bold(card):
    def change(record):
        record.metrics["test/latent_reliance"] = 0.03

    text, record = card(SKIPS, change)
    around = 2 * 14 * 14
    assert record.size.effective_code == 256 + around
    assert "**This model bypasses its latent** (below 0.5). 0.03: " in text
    assert f"{around:,} numbers go around the latent in skips." in text
    assert "  - `skip_1`: (N, 2, 14, 14)" in text


def test_what_is_of_one_machine_is_no_part_of_the_command(card):
    def change(record):
        words = ["model=base", "paths.output=/home/someone/x", "+logger=wandb", "optimizer.lr=0.1"]
        words += ["dataset.root=/home/someone/y", "force=true", "dataset.classes=[0,2]"]
        words += ["dataset.path='/home/someone/my photos'", "model.parts=[a,/home/someone/z]"]
        record.config["dataset"]["classes"] = [0, 2]
        data = restore.datamodule(record, classes=[0, 2])
        data.setup()
        record.config["corruption"] = {"_target_": "caelab.corruptions.Blur", "sigma": 1.0}
        return {"overrides": words, "data": describe.dataset(data)}

    text, _ = card(BASE, change)
    assert "- **Command**: `caelab train model=base optimizer.lr=0.1 'dataset.classes=[0,2]'`" in text
    assert "Classes: ellipse, triangle (of 3). Labels chose the images; beyond that none took part" in text
    assert "All rows were given images with Blur (sigma=1.0) and are compared with the clean ones." in text
    assert "/home/someone" not in text


def test_names_of_a_record_are_shown_as_they_are(card):
    def change(record):
        record.choices.update({"dataset": NASTY, "loss": NASTY, "model": NASTY})
        record.environment["device"] = NASTY
        record.config["loss"]["weight"] = NASTY.replace("\udcff", "")
        return {"fingerprint": NASTY, "overrides": [NASTY, "model=base"]}

    text, _ = card(BASE, change)
    kinds = {token.type for token in tokens(text)}
    assert not {"html_inline", "html_block", "link_open", "image", "s_open"} & kinds
    assert "\x1b" not in text
