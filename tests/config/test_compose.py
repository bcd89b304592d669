"""Mistakes in a config: each is one clear line, and leaves nothing behind."""

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from caelab.composition import compose
from caelab.config import CONF, options
from caelab.config.build import instantiate
from caelab.config.check import check
from caelab.errors import UserError

MISTAKES = [
    (["model=improvd"], "model=improvd: there is no such model; did you mean 'improved'?"),
    (["model=residual_large"], "model=residual_large: there is no such model; did you mean 'residual'?"),
    (["experiment=residul"], "experiment=residul: there is no such experiment; did you mean 'residual'?"),
    (["optimizer=adm"], "optimizer=adm: there is no such optimizer; did you mean 'adam'?"),
    (["modle=base"], "modle: there is no such key; did you mean 'model'?"),
    (["+modle=base"], "modle: there is no such key; did you mean 'model'?"),
    (["loss=l1_mse", "loss.alfa=1"], "loss.alfa: there is no such key; did you mean 'loss.alpha'?"),
    (
        ["loss=l1_mse", "+loss.alfa=1"],
        "loss.alfa: caelab.losses.WeightedSum takes no 'alfa'; did you mean 'alpha'?",
    ),
    (
        ["+trainer.max_epoch=3"],
        "trainer.max_epoch: lightning.pytorch.Trainer takes no 'max_epoch'; did you mean",
    ),
    (
        ["loss=mse", "loss.alpha=1"],
        "loss.alpha: the chosen loss has no such key, only l1_bce, l1_ms_ssim,",
    ),
    (["accelerator=gpu"], "accelerator: there is no such key; did you mean 'trainer.accelerator'?"),
    (
        ["trainer.gradient_clip_algorithm=norm"],
        "needs a + in front, +trainer.gradient_clip_algorithm=VALUE; lightning.pytorch.Trainer takes it",
    ),
    (["optimizer.nesterov=true"], "+optimizer.nesterov=VALUE; torch.optim.SGD takes it"),
    (["trainer.gradient_clip_algoritm=norm"], "did you mean '+trainer.gradient_clip_algorithm'?"),
    (["trainer.max_steps=1"], "trainer.max_steps: cannot be set, since a run counts whole epochs"),
    (["epochs=3"], "epochs: there is no such key; did you mean 'trainer.max_epochs'?"),
    (["+epochs=3"], "epochs: there is no such key; did you mean 'trainer.max_epochs'?"),
    (
        ["--epochs", "3"],
        "--epochs: a setting takes no dashes; write trainer.max_epochs=VALUE",
    ),
    (["model=base,pca"], "model=base,pca: several values make a sweep, which needs -m"),
    (["seed=null"], "seed=null: a value is needed, as in seed=0"),
    (["~seed"], "~seed: every run needs seed; omit ~seed"),
    (["~trainer.max_epochs"], "~trainer.max_epochs: every run needs trainer.max_epochs"),
    (["~dataset"], "~dataset: every run needs dataset"),
    (["loss=null"], "loss=null: there is no such loss; known: bce, charbonnier, dists, l1, l1_bce,"),
    (["optimizer=null"], "optimizer=null: there is no such optimizer; known: adadelta"),
    (["hydra/launcher=null"], "hydra/launcher=null: there is no such hydra/launcher"),
    (["trainer=null"], "trainer=null: trainer has keys of its own, as in trainer.max_epochs=VALUE"),
    (
        ["trainer.precision=null"],
        "trainer.precision=null: a value is needed, as in trainer",
    ),
    (["model.latent=null"], "model.latent=null: caelab.models.base.Base needs a value"),
    (["optimizer.lr=null"], "optimizer.lr=null: torch.optim.Adam needs a value"),
    (["optimizer.lr=inf"], "optimizer.lr=inf: must be a finite number"),
    (["ema=nan"], "ema=nan: must be a finite number"),
    (["metrics=[ms_sim]"], "metrics=[ms_sim]: there is no measure 'ms_sim'; did you mean 'ms_ssim'?"),
    (
        ["select=val/pnsr"],
        "select=val/pnsr: no checkpoint can be chosen by that; did you mean 'val/psnr'?",
    ),
    (["select=val/gmsd"], "select=val/gmsd: it is not measured; give metrics=[gmsd]"),
    (
        ["select=test/psnr"],
        "no checkpoint can be chosen by that; known: val/l1, val/loss, val/mse, val/objective,",
    ),
    (
        ["select=val/sharpness", "metrics=[sharpness]"],
        "select=val/sharpness: no checkpoint can be chosen by that;",
    ),
    (["select=null"], "select=null: a value is needed, as in select=val/psnr"),
    (["metrics=gmsd"], "metrics=gmsd: expected a list, as in metrics=[psnr,ssim]"),
    (["metrics=[[psnr]]"], "metrics=[[psnr]]: expected text, as in metrics=[psnr,ssim]"),
    (["keep=[best]"], "keep=[best]: expected text, as in keep=both"),
    (
        ["callbacks=[early_stop]"],
        "callbacks=early_stop: there is no such callbacks; did you mean 'early_stopping'?",
    ),
    (
        ["metrics=[haarpsi]", "dataset=shapes", "dataset.image_size=15"],
        "metrics=[haarpsi]: image_size must be at least 16 for HaarPSI, got 15",
    ),
    (
        ["loss=l1_mse", "~loss.alpha"],
        "loss.alpha is required: caelab.losses.WeightedSum has",
    ),
    (["~model._target_"], "model: _target_ is missing; give the class, as in"),
    (["~optimizer._partial_"], "optimizer: its config needs _partial_: true"),
    (
        ["model._target_=torch.nn.Identity"],
        "model.latent: torch.nn.Identity takes no 'latent'",
    ),
    (["paths.output=~nobody.here/runs"], "~nobody.here/runs: there is no such home directory"),
    (["hydra.sweeper.params={seed:[0]}", "seed"], "seed: not of the form KEY=VALUE"),
    (["optimizer.lr=abc"], "optimizer.lr=abc: expected a number"),
    (["optimizer.lr=-1"], "optimizer: Invalid learning rate: -1"),
    (["trainer.max_epochs=-1"], "trainer.max_epochs=-1: must be at least 1"),
    (["trainer.max_epochs=1.5"], "max_epochs=1.5: expected a whole number"),
    (["seed=-1"], "seed=-1: must be within 0..4294967295"),
    (["model.latent=0"], "model.latent must be at least 1, got 0"),
    (["model=pca", "model.latent=9999", "trainer.accelerator=cpu"], "model.latent must be at most 3072"),
    (["model.channels=[4,x]"], "model.channels=[4,x]: expected a whole number"),
    (["model=improved_skip", "+model.skip_levels=[7]"], "model.skip_levels"),
    (["loss=l1_mse", "loss.alpha=-0.5"], "loss.alpha must be"),
    (
        ["augment=crop_shift", "augment.pixels=-1"],
        "augment.pixels must be a whole number, at least 1, got -1",
    ),
    (["trainer.accelerator=gpu"], "trainer.accelerator=gpu"),
    (["dataset=folder", "dataset.path=/no/such/folder"], "/no/such/folder"),
    (["dataset=folder"], "dataset.path"),
    (
        ["logger=wandb", "logger.mode=onlin"],
        "logger.wandb: mode=onlin: must be auto, online, offline or disabled",
    ),
    (["model=[base"], "model=[base"),
]


@pytest.mark.parametrize(("overrides", "line"), MISTAKES, ids=[" ".join(case[0]) for case in MISTAKES])
def test_a_mistake_is_one_line(train, monkeypatch, overrides, line):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    own = ("dataset=", "model=improved", "model=[", "model=pca")
    keep = not any(o.startswith(own) for o in overrides)
    answer = train(*overrides, tiny=keep)
    assert answer.status == 1
    assert line in answer.err
    assert answer.err.count("\n") == 1
    assert "Traceback" not in answer.err
    assert not list(answer.output.rglob("*.ckpt"))


def test_a_bug_keeps_its_traceback(train, monkeypatch):
    from caelab.models.base import Base

    def broken(self, x):
        raise RuntimeError("a bug")

    monkeypatch.setattr(Base, "encode", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        train()


class Plain(torch.nn.Module):
    """A network as a plain script has it."""

    def __init__(self, shape):
        super().__init__()


def test_a_network_without_an_encoder_is_told_what_it_lacks():
    with pytest.raises(UserError, match=r"model: test_compose\.Plain has no 'encode'; give it encode"):
        instantiate({"_target_": "test_compose.Plain"}, "model", shape=(3, 32, 32))


def test_what_an_argument_may_be_is_read_from_its_annotation():
    """torch writes types, others text; an argument that says nothing may be anything."""

    def function(a: int, b: "int | None", c: int | None, d, e: float = None, f: "str" = ""): ...  # noqa: RUF013

    known, others = options.arguments(function)
    assert [name for name in known if options.takes_none(known[name])] == ["b", "c", "d", "e"]
    assert not others


def test_missing_value_names_its_key():
    cfg = OmegaConf.create(
        {"dataset": {"path": "???"}, "seed": 0, "force": False, "trainer": {"max_epochs": 1}, "paths": {}}
    )
    with pytest.raises(UserError, match=r"dataset\.path is required"):
        check(compose.plain(cfg), {"dataset": "folder"})


def test_build_passes_the_objects_own_complaint_on():
    node = {"_target_": "caelab.losses.WeightedSum", "alpha": -1, "beta": 1, "first": {}, "second": {}}
    with pytest.raises(UserError, match="loss.alpha must be"):
        instantiate(node, "loss")


def test_a_target_that_is_not_there_is_named():
    with pytest.raises(UserError, match=r"model\._target_=caelab\.models\.bsae\.Base: "):
        instantiate({"_target_": "caelab.models.bsae.Base"}, "model")


def test_a_bug_in_a_users_own_class_keeps_its_traceback():
    with pytest.raises(TypeError, match="unsupported operand"):
        instantiate({"_target_": "test_compose.Broken"}, "model")


class Broken:
    def __init__(self):
        self.x = "a" - 1


MANY = ("study:", "model:")  # groups of so many options that their names take two lines


def test_help_fits_on_one_screen_and_names_keys_that_exist(train):
    import re

    answer = train("--help", tiny=False)
    assert answer.status == 0
    lines = answer.out.splitlines()
    assert len(lines) <= 45
    assert max(len(line) for line in lines if not line.startswith(MANY)) <= 120
    for name in ("improved_skip", "l1_mse", "adamax", "cinic10", "wandb"):
        assert name in answer.out
    keys = re.findall(r"(?:^|\s)([a-z_]+(?:\.[a-z_]+)?)=", answer.out)
    known = {*options.every_key(), "install"}  # of Hydra's completion
    assert set(keys) <= known
    assert answer.out.count("\ncaelab train ") == 2


def test_every_config_lies_where_the_package_looks():
    assert Path(CONF, "train.yaml").is_file()
