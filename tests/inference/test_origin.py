"""A run that starts from the weights of another one: from=RUN."""

import json
import shutil

import pytest
import torch
from tiny import TINY

import caelab
from caelab.composition import compose, words
from caelab.inference import trained
from caelab.runs import results
from caelab.runs.record import made

LONGER = ["trainer.max_epochs=3", "optimizer.lr=1e-4"]


@pytest.fixture
def source(trained):
    """The directory of a finished run."""
    return trained().run_dir


def other(answer, source):
    (path,) = (path for path in answer.run_dirs if path != source)
    return path, json.loads((path / "result.json").read_text())


def weights(path):
    return torch.load(path, weights_only=True)["state_dict"]


def identity(*words):
    return compose.identity(compose.config(words)[0])


@pytest.fixture
def started(monkeypatch):
    """The weights with which the last fit began."""
    state = {}

    def remember(self):
        state.update({name: value.clone() for name, value in self.state_dict().items()})

    monkeypatch.setattr("caelab.training.module.AutoencoderModule.on_fit_start", remember)
    return state


def test_a_run_starts_from_the_best_weights_of_another_and_names_it(train, source, started):
    answer = train(f"from={source.name[:25]}", *LONGER)
    assert answer.status == 0, answer.err
    path, record = other(answer, source)
    best = weights(source / "checkpoints" / "best.ckpt")
    assert started.keys() == best.keys()
    assert all(torch.equal(started[name], best[name]) for name in best)
    assert record["from"] == {
        "run": source.name,
        "fingerprint": results.read(source).fingerprint,
        "weights": caelab.load(source).weights,
    }
    assert record["config"]["from"] == str(source)
    assert made(record).settings["from"] == source.name
    assert results.read(source).settings["from"] is None
    assert record["metrics"]["val/psnr"] > results.read(source).metrics["val/psnr"]
    assert "finished before" in train(f"from={source}", *LONGER).out


def test_a_run_of_residual_starts_from_the_weights_and_not_from_pca(train, started):
    small = [f"model.{key}=4" for key in ("channels", "encoder_channels", "latent")]
    words = ["model=residual", *small, *(word for word in TINY if not word.startswith("model"))]
    source = train(*words, tiny=False).run_dir
    assert train(*words, f"from={source}", "trainer.max_epochs=1", tiny=False).status == 0
    best = weights(source / "checkpoints" / "best.ckpt")
    assert all(torch.equal(started[name], best[name]) for name in best)


def test_after_a_kill_it_goes_on_bit_for_bit(train, source, killed):
    words = [f"from={source}", *LONGER]
    whole, _ = other(train(*words), source)
    last, curves = weights(whole / "checkpoints" / "last.ckpt"), (whole / "metrics.csv").read_text()
    shutil.rmtree(whole)
    killed(*words, after=1)
    again, record = other(train(*words), source)
    found = weights(again / "checkpoints" / "last.ckpt")
    assert all(torch.equal(found[name], last[name]) for name in last)
    assert (again / "metrics.csv").read_text() == curves
    assert record["time"]["epochs"] == 3


def test_a_run_is_known_by_the_weights_that_it_starts_from_and_not_by_their_place(train, source, tmp_path):
    first = identity(f"from={source}")
    copy = shutil.copytree(source, tmp_path / "copy")
    assert identity() == identity("from=null") != first == identity(f"from={copy}")
    content = torch.load(copy / "checkpoints" / "best.ckpt", weights_only=True)
    next(iter(content["state_dict"].values())).add_(1)
    torch.save(content, copy / "checkpoints" / "best.ckpt")
    assert identity(f"from={copy}") != first


def test_the_checksum_is_that_of_the_loaded_network(source):
    state = trained.state(source, results.finished(source))[1]
    assert trained.digest(state) == caelab.load(source).weights
    assert trained.digest(dict(reversed(state.items()))) == trained.digest(state)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["from=nothing"], "nothing: no such directory, and no run below multirun begins with that"),
        (["from=no/where"], "no/where: no result.json there (no such directory); give the directory of a fi"),
        (["from=SOURCE", "model.channels=[4,6]"], "is (8, "),
        (
            ["from=SOURCE", "model.channels=[4,6]"],
            "give the model of that run: model=base 'model.channels=[4,8]' ",
        ),
        (["from=SOURCE", "model.channels=[4]"], " exists only there; "),
    ],
)
def test_a_mistake_is_one_line(train, source, given, line):
    answer = train(*(word.replace("SOURCE", str(source)) for word in given))
    assert answer.status == 1
    assert line in answer.err
    assert answer.err.count("\n") == 1


def test_a_floor_has_no_weights_to_start_with(train, source):
    answer = train("model=pca", "model.latent=8", "trainer.accelerator=cpu", f"from={source}", tiny=False)
    assert "this model has no weights to train further; omit it" in answer.err
    assert answer.err.count("\n") == 1


def test_a_checkpoint_that_is_gone_is_named(train, source):
    (source / "checkpoints" / "best.ckpt").unlink()
    answer = train(f"from={source}")
    assert "best.ckpt is missing" in answer.err
    assert answer.err.count("\n") == 1


def test_a_sweep_may_start_from_several(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b c"):
        (tmp_path / name).mkdir()
    assert words.read([f"from=a,{tmp_path}/b c"]) == [f"from={tmp_path}/a,'{tmp_path}/b c'"]
