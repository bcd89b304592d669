"""Weights that are not float32: every network trains with them, and bottlenecks refuse them in a line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch.plugins.precision import DoublePrecision, HalfPrecision

import caelab
from caelab.analysis.rate import distortion
from caelab.config import options
from caelab.errors import UserError
from caelab.inference import restore
from caelab.runs.record import made
from caelab.training import parts
from caelab.training import trainer as trainers
from caelab.training.evaluate import evaluate

CONF = Path(__file__).parents[2] / "conf"
PRECISIONS = ["bf16-true", "16-true", "64-true"]
MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml") if path.stem != "autoencoder_kl")
BOTTLENECKS = sorted(path.stem for path in (CONF / "bottleneck").glob("*.yaml") if path.stem != "none")
FEW = {"latent": 4, "latent_channels": 2, "blocks": 1, "encoder_blocks": 1, "steps": 1}


def build(group, name, **values):
    node = options.node(group, CONF / group / f"{name}.yaml")
    small = {key: value for key, value in FEW.items() if key in node}
    return instantiate(node, **small, **values)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("model", MODELS)
def test_every_network_takes_weights_of_other_types(model, precision):
    torch.manual_seed(0)
    images = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)
    net = build("model", model, shape=(3, 16, 16))
    net.initialise(images)
    plugin = DoublePrecision() if precision == "64-true" else HalfPrecision(precision)
    plugin.convert_module(net)
    x = images / 255
    with plugin.forward_context():
        if net.by_place:
            net.make_room(len(images))
            x_hat = net.decode(net.encode(x.to(net.weight.dtype), torch.arange(8)))
        else:
            x_hat = net(x.to(net.weight.dtype))
        assert x_hat.dtype == torch.float32
        assert x_hat.isfinite().all()
        if x_hat.requires_grad:
            (x_hat - x).square().mean().backward()
            assert all(one.grad.isfinite().all() for one in net.parameters() if one.grad is not None)
    assert net.kept is None or net.kept.isfinite().sum() == net.kept.numel() / 2


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", BOTTLENECKS)
def test_a_bottleneck_refuses_weights_that_are_not_float32(name, precision):
    bottleneck = build("bottleneck", name)(80)
    use = "32-true" if precision == "64-true" else "bf16-mixed"
    line = f"trainer.precision={precision}: {type(bottleneck).__name__} computes in float32; use {use}"
    with pytest.raises(UserError, match=line.replace("use ", "use trainer.precision=")):
        parts._require_float32(bottleneck, precision)
    for other in ("32-true", "bf16-mixed", "16-mixed"):
        parts._require_float32(bottleneck, other)


def test_the_refusal_is_told_in_a_line(train):
    answer = train("bottleneck=fsq", "bottleneck.levels=[4,4]", "trainer.precision=64-true")
    assert answer.status == 1
    assert answer.err.endswith(
        "caelab: trainer.precision=64-true: FSQ computes in float32; "
        "use trainer.precision=32-true, or bottleneck=none\n"
    )


@pytest.mark.parametrize("precision", PRECISIONS)
def test_batches_reach_the_loss_as_they_are(precision):
    config = {"_target_": "lightning.pytorch.Trainer", "accelerator": "cpu", "devices": 1}
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_checkpointing"), False)
    trainer = trainers.build(config | {"precision": precision}, torch.device("cpu"), **quiet)
    batch = torch.rand(2, 3, 4, 4)
    assert trainer.precision_plugin.convert_input(batch) is batch


def test_what_was_trained_in_float64_is_tested_loaded_and_rated_in_it(train):
    answer = train("trainer.precision=64-true")
    found = evaluate(answer.run_dir, [])["metrics"]
    assert found["test/psnr"] == pytest.approx(answer.record["metrics"]["test/psnr"], rel=1e-6)
    model, data = caelab.load(answer.run_dir), restore.datamodule(made(answer.record))
    assert model.network.weight.dtype == torch.float64
    data.setup()
    test = data.splits["test"]
    x, x_hat = test[:] / 255, model.decode(model.encode(test[:]))
    rated = distortion.measure(model.network, data.splits["train"], test, [8])
    expected = -10 * (x_hat - x).square().mean((1, 2, 3)).log10().mean()
    assert rated.psnr == pytest.approx(float(expected), abs=1e-3)
    assert rated.points[0].psnr == pytest.approx(rated.psnr, abs=0.05)


@pytest.fixture
def fractions(tmp_path):
    """A file of images that are no bytes, and the words of a run on it."""
    images = np.random.default_rng(0).random((60, 16, 16), np.float32)
    np.save(tmp_path / "images.npy", images)
    return "dataset=array", "dataset.path=images.npy", "trainer.max_epochs=1", "trainer.accelerator=cpu"


def test_images_that_are_no_bytes_are_measured_as_they_are(train, fractions):
    answer = train(
        *fractions, "model=classical", "model.filter=none", "trainer.precision=bf16-true", tiny=False
    )
    data = restore.datamodule(made(answer.record))
    data.setup()
    x = data.splits["test"][:]
    errors = (x.bfloat16().float() - x).square().flatten(1).mean(1)  # what the network is given is rounded
    assert answer.record["metrics"]["test/psnr"] == pytest.approx(
        float(-10 * errors.log10().mean()), abs=1e-3
    )
