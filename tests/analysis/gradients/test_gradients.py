"""Norms of gradients: against autograd by hand, in the order of the layers, before training and after."""

import json

import matplotlib.image
import pytest
import torch
from toys import leave_weights, leave_whole_run

from caelab.analysis.gradients.norms import norms
from caelab.inference.restore import datamodule, load
from caelab.models.base import Base
from caelab.models.honest_skip import HonestSkip
from caelab.models.internal_skip import InternalSkip
from caelab.models.pca import PCA
from caelab.runs import results
from caelab.runs.analyses import analyses

gradients = analyses()["gradients"]

MODEL = {"_target_": "caelab.models.base.Base", "latent": 6, "channels": [4, 8], "hidden": [5]}
LAYERS = ("encoder.0.0", "encoder.1.0", "to_latent.0", "to_latent.2")
MIRROR = ("from_latent.0", "from_latent.2", "decoder.0.0", "decoder.1.0")


def by_hand(net, x):
    """Norm of the gradient of the mean squared error by each matrix and kernel."""
    net.train()
    named = {name: p for name, p in net.named_parameters() if p.ndim > 1}
    found = torch.autograd.grad((net(x) - x).square().mean(), list(named.values()))
    return {
        name.removesuffix(".weight"): g.square().sum().sqrt().item()
        for name, g in zip(named, found, strict=True)
    }


def test_norms_are_those_of_autograd_in_the_order_of_the_layers():
    torch.manual_seed(0)
    net, x = Base((3, 16, 16), latent=6, channels=[4, 8], hidden=[5]), torch.rand(7, 3, 16, 16)
    found = norms(net, torch.nn.MSELoss(), x, x)
    assert tuple(found) == LAYERS + MIRROR
    assert found == pytest.approx(by_hand(net, x), rel=1e-5)


def test_a_layer_stands_where_an_image_reaches_it():
    net = InternalSkip((3, 16, 16), latent=6, channels=[4, 8], encoder_skips=[[0, 2]], resample="conv")
    found = list(norms(net, torch.nn.MSELoss(), *[torch.rand(3, 3, 16, 16)] * 2))
    assert found[:4] == ["encoder.0.0", "encoder.1.0", "encoder_resamplers.0", "to_latent.0"]
    assert found[-1] == "decoder.1.0"


def test_a_hidden_skip_is_the_same_one_each_time():
    net, x = HonestSkip((3, 16, 16), latent=6, channels=[4, 8], skip_levels=[1]), torch.rand(9, 3, 16, 16)
    first = norms(net, torch.nn.MSELoss(), x, x)
    assert norms(net, torch.nn.MSELoss(), x, x) == pytest.approx(first)


def test_what_has_nothing_to_train_has_no_layers():
    net = PCA((3, 16, 16), latent=4)
    assert norms(net, torch.nn.MSELoss(), *[torch.rand(3, 3, 16, 16)] * 2) == {}


def test_a_run_leaves_the_norms_of_both_ends(tmp_path, command):
    path = leave_whole_run(tmp_path / "one", MODEL)
    status, out, _ = command(path)
    assert status == 0
    record = results.finished(path)
    found = json.loads((path / "gradients.json").read_text())
    data = datamodule(record)
    data.setup()
    x = data.splits["train"][:].float() / 255
    torch.manual_seed(3)  # of the record
    start = by_hand(Base(data.shape, **{key: MODEL[key] for key in ("latent", "channels", "hidden")}), x)
    end = by_hand(load(path), x)
    assert [layer["name"] for layer in found["layers"]] == [*LAYERS, *MIRROR]
    for layer in found["layers"]:
        assert layer["start"] == pytest.approx(start[layer["name"]], rel=1e-4)
        assert layer["end"] == pytest.approx(end[layer["name"]], rel=1e-4)
    assert found["images"] == 96
    assert found["figures"] == {
        "gradients/start_ratio": pytest.approx(start["encoder.0.0"] / start["decoder.1.0"], rel=1e-4),
        "gradients/end_ratio": pytest.approx(end["encoder.0.0"] / end["decoder.1.0"], rel=1e-4),
    }
    assert f"{found['layers'][0]['start']:.2e}" in out
    assert matplotlib.image.imread(path / "gradients.png").std() > 0.01


def test_a_saturated_network_has_no_ratio_and_one_beyond_numbers_is_refused(tmp_path, command):
    path = leave_whole_run(tmp_path / "one", MODEL)
    net = load(path)
    for bias, status, told in (
        (1e4, 0, ", then none"),
        (float("nan"), 1, "is not finite with the best weights"),
    ):
        net.decoder[-1][0].bias.data.fill_(bias)
        leave_weights(path, net)
        found = command(path)
        assert found[0] == status
        assert told in str(found)
    written = json.loads((path / "gradients.json").read_text())
    assert list(written["figures"]) == ["gradients/start_ratio"]
    assert written["layers"][0]["end"] == 0


def test_a_floor_has_no_figures(tmp_path, command):
    path = leave_whole_run(tmp_path / "one", {"_target_": "caelab.models.pca.PCA", "latent": 6})
    assert gradients(path)["figures"] == {}
    status, out, _ = command(path)
    assert status == 0
    assert "gradient of the first layer over the last, none, then none" in out
