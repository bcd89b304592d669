"""What is Base's own, and thereby its children's: sizes, options, and the mistakes that they allow."""

import pytest
import torch
from torch import nn
from torch.nn.modules import activation as torch_activations

from caelab.models.base import NOT_ELEMENTWISE, Base
from caelab.models.improved import Improved

ACTIVATIONS = sorted(set(torch_activations.__all__) - NOT_ELEMENTWISE)


@pytest.mark.parametrize(
    ("model", "shape", "count"),
    [
        (Base, (3, 32, 32), 376_515),
        (Base, (1, 28, 28), 375_937),
        (Improved, (3, 32, 32), 1_246_083),
        (Improved, (1, 28, 28), 1_245_505),
    ],
)
def test_size_is_that_of_the_report(model, shape, count):
    net = model(shape)
    assert net.size == count
    assert sum(p.numel() for p in net.parameters()) == count


def test_stages_shrink_as_drawn():
    shapes, x = [], torch.rand(2, 3, 32, 32)
    for stage in Improved((3, 32, 32)).encoder:
        x = stage(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(16, 16, 16), (32, 8, 8), (64, 4, 4), (128, 4, 4)]


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
@pytest.mark.parametrize("channels", [[4], [4, 8], [4, 8, 8, 8, 8]])
@pytest.mark.parametrize("side", [5, 6, 7, 8, 9])
def test_any_depth_and_kernel_keeps_any_size(kernel_size, channels, side):
    x = torch.rand(2, 1, side, side + 4)
    model = Base((1, side, side + 4), latent=3, channels=channels, hidden=[], kernel_size=kernel_size)
    assert model(x).shape == x.shape


@pytest.mark.parametrize("hidden", [[], [7], [9, 7]])
def test_hidden_layers_mirror_each_other(hidden):
    model = Base((1, 28, 28), latent=5, hidden=hidden)
    widths = [64 * 4 * 4, *hidden, 5]
    down = [
        (layer.in_features, layer.out_features) for layer in model.to_latent if isinstance(layer, nn.Linear)
    ]
    up = [
        (layer.in_features, layer.out_features) for layer in model.from_latent if isinstance(layer, nn.Linear)
    ]
    assert down == list(zip(widths, widths[1:], strict=False))
    assert up == [(b, a) for a, b in reversed(down)]
    assert [type(layer) for layer in model.to_latent[1::2]] == [nn.ReLU] * len(hidden)


def test_a_child_is_its_parent_with_other_options():
    x = torch.rand(4, 3, 32, 32)
    options = {"channels": (16, 32, 64), "hidden": (128,), "activation": "ReLU"}
    torch.manual_seed(0)
    base = Base((3, 32, 32))(x)
    torch.manual_seed(0)
    same = Improved((3, 32, 32), **options)(x)
    torch.manual_seed(0)
    leaky = Improved((3, 32, 32), **options | {"activation": "LeakyReLU"})(x)
    torch.testing.assert_close(same, base, rtol=0, atol=0)
    assert (leaky - base).abs().max() > 1e-4


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_any_elementwise_activation_is_built_and_trains(name):
    torch.manual_seed(0)
    model = Base((1, 16, 16), latent=4, channels=[4, 4, 4], hidden=[], activation=name)
    x = torch.rand(6, 1, 16, 16)
    kinds = [
        type(module).__name__
        for module in model.modules()
        if type(module).__module__ == "torch.nn.modules.activation"
    ]
    assert kinds == [name] * 4
    loss = (model(x) - x).square().mean()
    loss.backward()
    assert model(x).shape == x.shape
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert model.encoder[0][0].weight.grad.abs().sum() > 0


def test_slope_1_is_the_identity_and_another_slope_another_network():
    x = torch.rand(4, 3, 32, 32)

    def output(**options):
        torch.manual_seed(0)
        return Improved((3, 32, 32), latent=8, **options)(x)

    default = output()
    torch.testing.assert_close(output(negative_slope=0.01), default, rtol=0, atol=0)
    assert (output(negative_slope=0.2) - default).abs().max() > 1e-4
    torch.manual_seed(0)
    model = Improved((3, 32, 32), latent=8)
    for stage in (*model.encoder[:-1], *model.decoder[:-1]):
        stage[2] = nn.Identity()
    torch.testing.assert_close(output(negative_slope=1), model(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": []}, r"channels must name at least one stage, got \[\]"),
        ({"channels": [16, -1]}, "channels must be at least 1, got -1"),
        ({"channels": [16, 2.5]}, "channels must be a whole number, got 2.5"),
        ({"channels": 16}, "channels must be a list of whole numbers, got 16"),
        ({"channels": "16"}, "channels must be a list of whole numbers, got '16'"),
        ({"hidden": [0]}, "hidden must be at least 1, got 0"),
        ({"hidden": 128}, "hidden must be a list of whole numbers, got 128"),
        ({"kernel_size": 4}, "kernel_size must be odd, got 4"),
        ({"kernel_size": 0}, "kernel_size must be at least 1, got 0"),
        ({"activation": "LeakyRelu"}, r"activation: torch.nn has no 'LeakyRelu'; did you mean 'LeakyReLU'\?"),
        ({"activation": "relu"}, r"activation: torch.nn has no 'relu'; did you mean 'ReLU'\?"),
        ({"activation": "Linear"}, r"activation: torch.nn has no 'Linear'"),
        ({"activation": "xyz"}, "activation: torch.nn has no 'xyz'; it can be one of CELU, ELU"),
        ({"activation": "Softmax"}, "activation: 'Softmax' is not elementwise"),
        ({"activation": None}, "activation: torch.nn has no None"),
        ({"negative_slope": 0.1}, "negative_slope must be left out with activation 'ReLU', which has none"),
        ({"activation": "LeakyReLU", "negative_slope": True}, "negative_slope must be a number, got True"),
        ({"activation": "LeakyReLU", "negative_slope": "abc"}, "negative_slope must be a number, got 'abc'"),
        (
            {"activation": "LeakyReLU", "negative_slope": float("nan")},
            "negative_slope must be finite, got nan",
        ),
    ],
)
def test_an_option_that_cannot_be_is_named(options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Base((3, 32, 32), **options)


def test_an_image_that_is_too_small_for_the_depth_is_refused():
    message = "^channels must name fewer stages for images of 4x9: with 3, a side must be at least 5$"
    with pytest.raises(ValueError, match=message):
        Base((1, 4, 9))
    assert Base((1, 4, 9), channels=[4, 8])(torch.rand(2, 1, 4, 9)).shape == (2, 1, 4, 9)
