"""What is Base's own, and thereby its children's: sizes, options, and the mistakes that they allow."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules import activation as torch_activations

from caelab.models.base import NOT_ELEMENTWISE, Base
from caelab.models.honest_skip import HonestSkip
from caelab.models.improved import Improved
from caelab.models.improved_skip import ImprovedSkip

SHAPES = [(1, 28, 28), (3, 32, 32), (3, 37, 29)]
VARIANTS = [
    {},
    {"halvings": 0},
    {"halvings": 1},
    {"halvings": 2},
    {"halvings": 4, "channels": (4, 8, 8, 8)},
    {"channels": (4, 8, 8, 8)},
    {"channels": (4, *[8] * 11)},
    {"padding": 0},
    {"kernel_size": 5},
    {"kernel_size": 5, "padding": 1, "halvings": 2},
    {"downsample": "max_pool"},
    {"downsample": "avg_pool"},
    {"downsample": "avg_pool", "padding": 0},
]
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


def small(model=Base, shape=(3, 32, 32), **options):
    """A network of few channels under one seed."""
    torch.manual_seed(0)
    return model(shape, latent=5, **{"channels": (4, 8, 8), "hidden": (), **options})


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_variant_keeps_the_shape_and_its_gradient_reaches_every_parameter(shape, options):
    model = small(shape=shape, **options)
    x = torch.rand(4, *shape, generator=torch.Generator().manual_seed(3))
    x_hat = model(x)
    assert x_hat.shape == x.shape
    (x_hat - x).square().mean().backward()
    still = [key for key, p in model.named_parameters() if not p.grad.abs().sum() > 0]
    # Batch norm takes any constant away, so the bias before it has a gradient of rounding errors only.
    assert [key for key in still if not key.endswith(".0.bias")] == []


def test_no_two_variants_give_the_same_output_under_one_seed():
    x = torch.rand(4, 3, 32, 32)
    outputs = [small(**options)(x) for options in VARIANTS]
    distances = [(a - b).abs().max() for a, b in itertools.combinations(outputs, 2)]
    assert min(distances) > 1e-3


def sizes(**options):
    """Height of the image 3x37x29 and of what each stage makes of it."""
    x, found = torch.rand(2, 3, 37, 29), []
    for stage in small(shape=(3, 37, 29), **options).encoder:
        x = stage(x)
        found.append(tuple(x.shape[2:]))
    return found


@pytest.mark.parametrize("downsample", ["stride", "max_pool", "avg_pool"])
def test_stages_halve_as_often_as_is_asked_and_lose_what_is_not_padded(downsample):
    assert sizes(downsample=downsample) == [(19, 15), (10, 8), (5, 4)]
    assert sizes(downsample=downsample, halvings=1) == [(19, 15)] * 3
    assert sizes(downsample=downsample, halvings=0) == [(37, 29)] * 3
    assert sizes(downsample=downsample, padding=0) == [(18, 14), (8, 6), (3, 2)]
    assert sizes(downsample=downsample, padding=0, halvings=1) == [(18, 14), (16, 12), (14, 10)]
    assert sizes(downsample=downsample, kernel_size=5, padding=1) == [(18, 14), (8, 6), (3, 2)]


def test_the_size_of_a_variant_follows_from_its_deepest_stage():
    convolutions = 3 * 4 * 9 + 4 + 4 * 8 * 9 + 8 + 8 * 8 * 9 + 8 + 2 * (4 + 8)  # and their norms
    mirrored = 8 * 8 * 9 + 8 + 8 * 4 * 9 + 4 + 4 * 3 * 9 + 3 + 2 * (8 + 4)
    for options, side in (
        ({}, 4),
        ({"halvings": 1}, 16),
        ({"padding": 0}, 3),
        ({"downsample": "avg_pool"}, 4),
    ):
        numbers = 8 * side * side
        linear = numbers * 5 + 5 + 5 * numbers + numbers
        assert small(**options).size == convolutions + mirrored + linear


@pytest.mark.parametrize(
    ("downsample", "pool"), [("max_pool", F.max_pool2d), ("avg_pool", F.avg_pool2d)], ids=["max", "mean"]
)
def test_pooling_is_behind_norm_and_activation(downsample, pool):
    model, images = small(downsample=downsample).eval(), torch.rand(2, 3, 32, 32)
    first, second, third = (stage[0] for stage in model.encoder)
    scale = (1 + 1e-5) ** -0.5  # batch norm of untouched statistics
    x = pool((F.conv2d(images, first.weight, first.bias, padding=1) * scale).relu(), 2)
    x = pool((F.conv2d(x, second.weight, second.bias, padding=1) * scale).relu(), 2)
    deepest = pool(F.conv2d(x, third.weight, third.bias, padding=1), 2)
    torch.testing.assert_close(model.encode(images).z, model.to_latent(deepest.flatten(1)))


def test_pooling_averages_at_an_edge_what_there_is():
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    pool = small(downsample="avg_pool").encoder[0][-1]
    assert pool(x).flatten().tolist() == [2.0, 3.5, 6.5, 8.0]


def test_children_have_the_options_too():
    options = {"channels": (4, 8, 8, 8), "halvings": 2, "padding": 0, "downsample": "avg_pool"}
    for model in (Improved, ImprovedSkip, HonestSkip):
        net = small(model, **options)
        assert net.deepest == (8, 3, 3)
        assert net(torch.rand(2, 3, 32, 32)).shape == (2, 3, 32, 32)
    for stages in (2, 3):
        budgeted = small(HonestSkip, skip_levels=[1, 2, 3], padding=0, halvings=stages, budget=700)
        numbers = budgeted.encode(torch.rand(2, 3, 32, 32)).numbers
        assert numbers == 700


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
        ({"halvings": -1}, "halvings must be at least 0, got -1"),
        ({"halvings": None}, "halvings must be a whole number, got None"),
        ({"padding": 2}, "padding must be at most 1, half of kernel_size, got 2"),
        ({"padding": -1}, "padding must be at least 0, got -1"),
        ({"padding": "same"}, "padding must be a whole number, got 'same'"),
        ({"downsample": "pool"}, "downsample must be stride or max_pool or avg_pool, got 'pool'"),
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
    with pytest.raises(ValueError, match="with 3, a side must be at least 15$"):
        Base((1, 14, 32), padding=0)
    assert small(shape=(1, 15, 32), padding=0)(torch.rand(2, 1, 15, 32)).shape == (2, 1, 15, 32)
