"""Runs with a bottleneck: what they log and record, that they resume, and what is refused before data."""

import csv
import json

import pytest
import torch
from test_devices import PLAIN, TWO, call
from tiny import TINY

import caelab
from caelab.bottlenecks.variational import Variational
from caelab.inference import restore
from caelab.runs import record
from caelab.training.module import AutoencoderModule

KINDS = {
    "noise": [],
    "variational": ["bottleneck.warm_up=2"],
    "tc": [],
    "mmd": [],
    "topk": ["bottleneck.k=3"],
    "vq": ["bottleneck.dim=4", "bottleneck.entries=16", "bottleneck.revive=0.1"],
    "rvq": ["bottleneck.dim=4", "bottleneck.entries=16"],
    "fsq": [],
    "simvq": ["bottleneck.dim=4", "bottleneck.entries=16"],
    "entropy": [],
    "hyperprior": [],
    "context": ["bottleneck.channels=8"],
}
SPATIAL = ["model=spatial", "model.channels=8", "model.encoder_channels=8"]


def tiny(kind):
    """Words of a run of seconds with that bottleneck."""
    model = SPATIAL if kind == "context" else [word for word in TINY if word.startswith("model")]
    rest = [word for word in TINY if not word.startswith("model")]
    return [*rest, *model, f"bottleneck={kind}", *KINDS[kind]]


@pytest.mark.parametrize(
    "kind",
    [kind if kind in ("variational", "vq") else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS],
)
def test_a_resumed_run_ends_where_a_whole_one_does(train, killed, kind):
    words = [*tiny(kind), "trainer.max_epochs=3"]
    whole = train(*words, "hydra.run.dir=multirun/whole", tiny=False)
    killed(*words, after=1, tiny=False)
    again = train(*words, tiny=False)
    assert "going on after epoch 1" in again.out
    assert [record["metrics"] for record in again.records] == [whole.record["metrics"]] * 2
    weights = [
        torch.load(path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for path in again.run_dirs
    ]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


def test_the_penalty_is_logged_apart_from_the_loss(train):
    answer = train("bottleneck=variational", "bottleneck.beta=4", "optimizer=sgd", "optimizer.lr=1e-9")
    row = [*csv.DictReader((answer.run_dir / "metrics.csv").read_text().splitlines())]
    row = row[answer.record["best_epoch"] - 1]
    net, data = restore.load(answer.run_dir), restore.datamodule(record.made(answer.record))
    data.setup()
    x = data.splits["val"][:].float() / 255
    with torch.no_grad():
        code = net.eval().encode(x)
        mse = (net.decode(code) - x).square().mean()
    assert float(row["val/penalty"]) == pytest.approx(float(code.penalty.mean()) / 3072, rel=1e-4)
    assert float(row["val/loss"]) == pytest.approx(float(mse), rel=1e-4)
    both = float(row["val/loss"]) + float(row["val/penalty"])
    assert float(row["val/objective"]) == pytest.approx(both, rel=1e-6)
    assert float(row["train/penalty"]) > 0
    assert answer.record["metrics"]["test/active_numbers"] <= 8
    assert not {"val/penalty", "val/objective"} & train("bottleneck=none").records[0]["metrics"].keys()


def test_a_discrete_run_counts_its_bits_and_is_found_again(train, lab, tmp_path):
    answer = train("bottleneck=fsq", "bottleneck.levels=[5,5]", "model=improved_skip", "model.skip_levels=[]")
    assert answer.record["size"]["bits"] == pytest.approx(4 * 4.643856)  # 4 tokens of log2(25)
    assert 0 < answer.record["metrics"]["test/usage"] <= 1
    assert 1 <= answer.record["metrics"]["test/perplexity"] <= 25
    assert answer.record["choices"]["bottleneck"] == "fsq"
    assert "19 bits an image; test codes use " in answer.out
    model = caelab.load(answer.run_dir)
    code = model.encode(torch.rand(3, 3, 32, 32))
    assert {float(number) for number in code.z.unique()} <= {-1, -0.5, 0, 0.5, 1}
    status, _, err = lab("export", answer.run_dir, "--format", "safetensors", "--out", tmp_path / "out")
    assert status == 0, err
    (exported,) = (tmp_path / "out").rglob("*.safetensors")
    again = caelab.load(exported)
    assert torch.equal(again.encode(torch.rand(3, 3, 32, 32)).z.unique(), code.z.unique())
    status, out, err = lab("rate", answer.run_dir, "--bits", "2")
    assert status == 0, err
    found = json.loads((answer.run_dir / "rate.json").read_text())
    (point,) = found["points"]
    assert found["figures"]["rate/psnr"] == pytest.approx(answer.record["metrics"]["test/psnr"], abs=1e-4)
    assert found["figures"]["rate/enough_bits"] == point["rate"] > point["entropy"]
    assert f"{point['rate']:.1f} bits an image; 18.6 if every entry were as frequent" in out


@pytest.mark.parametrize(("figure", "line"), [(0.0, "0 of 8 latent numbers"), (3.0, "3 of 8 latent numbers")])
def test_a_collapsed_posterior_is_told(train, monkeypatch, figure, line):
    monkeypatch.setattr(Variational, "measure", lambda *_: {"active_numbers": figure})
    out = train("bottleneck=variational").out
    assert f"{line} tell something of an image" in out
    assert ("the posterior has collapsed" in out) == (not figure)


def test_averaged_weights_have_the_codebook_that_belongs_to_them(train, monkeypatch):
    """It is averaged with the weights: half of what it was, half of what it has become, after each step."""
    books, name = [], "bottleneck.codebook._codebook.embed"
    step = AutoencoderModule.on_train_batch_end
    monkeypatch.setattr(
        AutoencoderModule,
        "on_train_batch_end",
        lambda self, *args: (books.append(self.net.state_dict()[name].clone()), step(self, *args))[1],
    )
    answer = train("bottleneck=vq", *KINDS["vq"][:2], "ema=0.5", "trainer.max_epochs=1", "optimizer.lr=1e-2")
    average = books[0]
    for book in books[1:]:
        average = 0.5 * average + 0.5 * book
    torch.testing.assert_close(restore.load(answer.run_dir).state_dict()[name], average)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["bottleneck=vqq"], "did you mean 'vq'?"),
        (
            ["dataset=shapes", "model=pca", "bottleneck=vq"],
            "PCA takes none; use bottleneck=none, or another model",
        ),
        (
            ["select=val/objective"],
            "select=val/objective: this model adds nothing to the loss; use select=val/loss",
        ),
        (["bottleneck=variational", "bottleneck.beta=-1"], "bottleneck.beta must be at least 0, got -1"),
        (["bottleneck=fsq", "bottleneck.levels=[5,5,5]"], "bottleneck.the number of levels must divide 8"),
        (
            ["bottleneck=vq", "bottleneck.dim=3"],
            "bottleneck.dim must divide the 8 numbers of the latent",
        ),
        (
            ["bottleneck=vq", "bottleneck.dim=4", "bottleneck.entries=1000"],
            "bottleneck.entries=1000: there are 192 training tokens, 96 images of 2; give fewer",
        ),
    ],
)
def test_mistakes(train, words, line):
    answer = train(*words, tiny="model=pca" not in words)
    assert answer.status == 1
    assert line in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["variational", "vq"])
def test_two_processes_end_where_one_does(environment, tmp_path, kind):
    words = [*PLAIN, f"bottleneck={kind}", *(KINDS["vq"][:2] if kind == "vq" else [])]
    figures = []
    for name, more in (("one", []), ("two", TWO)):
        (tmp_path / name).mkdir()
        done = call(environment, tmp_path / name, *words, *more)
        assert done.returncode == 0, done.stderr
        (path,) = (tmp_path / name).rglob("checkpoints/last.ckpt")
        figures.append(torch.load(path, weights_only=True)["state_dict"])
    for key, value in figures[0].items():
        torch.testing.assert_close(figures[1][key], value, rtol=1e-3, atol=1e-4)


def test_a_coded_run_says_its_bits_and_is_coded(train, lab):
    pytest.importorskip("constriction")
    words = ["model=residual", "model.latent=30", "model.channels=8", "model.blocks=1"]
    small = ["model.encoder_channels=8", "model.encoder_blocks=1", "dataset=shapes", "dataset.train_size=96"]
    sizes = ["dataset.val_size=40", "dataset.test_size=50", "trainer.max_epochs=1", "trainer.accelerator=cpu"]
    answer = train(*words, *small, *sizes, "bottleneck=entropy", tiny=False)
    bits = answer.record["metrics"]["test/bits"]
    assert answer.record["metrics"]["test/penalty"] == pytest.approx(0.005 * bits / 3072, rel=1e-3)
    assert answer.record["config"]["select"] == "val/objective"
    assert answer.record["metrics"]["val/bits"] == pytest.approx(bits, rel=0.2)
    assert f"{bits:,.1f} bits an image by the learnt densities" in answer.out
    status, out, err = lab("rate", answer.run_dir)
    assert status == 0, err
    found = json.loads((answer.run_dir / "rate.json").read_text())
    (point,) = found["points"]
    assert point["psnr"] == pytest.approx(answer.record["metrics"]["test/psnr"], abs=1e-4)
    assert bits < point["rate"] < 1.02 * bits + 64
    assert point["entropy"] < point["rate"]
    assert found["figures"]["rate/enough_bits"] == point["rate"]
    assert f"{point['rate']:,.1f} bits an image, {point['rate'] / 1024:.3f} a pixel" in out
    assert "learnt" in out
    status, _, err = lab("export", answer.run_dir, "--format", "safetensors", "--out", "out")
    assert status == 0, err
