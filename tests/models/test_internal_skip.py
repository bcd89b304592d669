"""What is InternalSkip's own: where its skips start and end, how they are reshaped, and what they cost."""

import itertools

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from torch import nn
from torch.nn import functional as F

from caelab.composition import compose
from caelab.config.build import instantiate
from caelab.config.check import check
from caelab.errors import UserError
from caelab.models.autoencoder import Code
from caelab.models.base import Base
from caelab.models.improved import Improved
from caelab.models.internal_skip import (
    RESAMPLERS,
    InternalSkip,
    Interpolate,
    Pad,
    ResidualBlock,
    conv_resampler,
)

SHAPES = [(1, 28, 28), (3, 32, 32), (3, 37, 29)]
PAIRS = list(itertools.combinations(range(4), 2))
EVERYWHERE = {"encoder_skips": PAIRS, "decoder_skips": PAIRS}
NOWHERE = {"encoder_skips": [], "decoder_skips": []}
VARIANTS = [
    {},
    EVERYWHERE,
    {"resample": "conv"},
    {"resample": "pad"},
    EVERYWHERE | {"resample": "conv"},
    EVERYWHERE | {"resample": "pad"},
    EVERYWHERE | {"resample": "conv", "padding": 0},
    EVERYWHERE | {"resample": "conv", "halvings": 1, "downsample": "avg_pool"},
    NOWHERE | {"residual": True},
    EVERYWHERE | {"resample": "conv", "residual": True},
]
DEEP = {"channels": (16, 32, 64, 128), "hidden": (), "activation": "LeakyReLU"}


def build(model=InternalSkip, shape=(3, 32, 32), **options):
    torch.manual_seed(0)
    return model(shape, **options)


def pictures(shape=(3, 32, 32), count=4):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(3))


def latent_of(model):
    return nn.Sequential(nn.Flatten(), model.to_latent)


def fitted(x, channels, size):
    """The report's first way, by hand: bilinear, then channels of zeros, or fewer channels."""
    x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)[:, :channels]
    zeros = torch.zeros(len(x), channels - x.shape[1], *size)
    return torch.cat([x, zeros], dim=1)


@pytest.mark.parametrize("options", [{}, DEEP], ids=["base", "improved"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_without_skips_it_is_base(shape, options):
    model, base = build(shape=shape, **options, **NOWHERE), build(Base, shape, **options)
    assert list(model.state_dict()) == list(base.state_dict())
    assert model.size == base.size
    x = pictures(shape)
    torch.testing.assert_close(model(x), base(x), rtol=0, atol=0)
    if options:
        torch.testing.assert_close(model(x), build(Improved, shape)(x), rtol=0, atol=0)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_under_one_seed_the_weights_of_base_are_those_of_base(options):
    weights = build(**options).state_dict()
    plain = {key: options[key] for key in ("padding", "halvings", "downsample") if key in options}
    for key, weight in build(Base, **plain).state_dict().items():
        torch.testing.assert_close(weights[key], weight, rtol=0, atol=0)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shape_stays_and_gradient_reaches_every_parameter(shape, options):
    model, x = build(shape=shape, latent=8, **options), pictures(shape)
    x_hat = model(x)
    assert x_hat.shape == x.shape
    (x_hat - x).square().mean().backward()
    still = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # Batch norm takes any constant away, so the bias before it has a gradient of rounding errors only.
    assert [key for key in still if not key.endswith(".0.bias")] == []


@pytest.mark.parametrize("resample", ["interpolate", "pad"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_neither_interpolation_nor_zeros_add_a_parameter(shape, resample):
    model = build(shape=shape, **EVERYWHERE, resample=resample)
    assert model.size == build(Base, shape).size
    assert list(model.state_dict()) == list(build(Base, shape).state_dict())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("start", "to"), list(itertools.combinations(range(5), 2)))
def test_a_convolution_adds_its_own_parameters(start, to, shape):
    depths, strides = [shape[0], 16, 32, 64, 128], [2, 2, 2, 1]
    stride = torch.tensor(strides[start:to]).prod().item()
    weights = depths[start] * depths[to] * (2 * stride - 1) ** 2
    base = build(Base, shape, **DEEP).size
    down = build(shape=shape, **DEEP, resample="conv", encoder_skips=[[start, to]])
    up = build(shape=shape, **DEEP, resample="conv", encoder_skips=[], decoder_skips=[[4 - to, 4 - start]])
    assert down.size == base + weights + depths[to]
    assert up.size == base + weights + depths[start]


def test_size_is_that_of_the_header():
    assert build().size == 376_515
    assert build(resample="conv").size == 376_515 + (3 * 32 * 7 * 7 + 32) + (16 * 64 * 7 * 7 + 64) == 431_491


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_encoder_skip_is_added_after_norm_and_activation(shape, start):
    model, x = build(shape=shape, encoder_skips=[[start, 2]]).eval(), pictures(shape)
    first = model.encoder[0](x)
    second = model.encoder[1](first)
    assert second.min() == 0  # ReLU is behind it
    second = second + fitted((x, first)[start], 32, second.shape[2:])
    z = latent_of(model)(model.encoder[2](second))
    torch.testing.assert_close(model.encode(x).z, z)


def test_bilinear_from_32_to_8_is_the_mean_of_the_four_pixels_in_the_middle():
    x = pictures()
    small = Interpolate((5, 8, 8))(x)
    expected = sum(x[:, :, i::4, j::4] for i in (1, 2) for j in (1, 2)) / 4
    torch.testing.assert_close(small[:, :3], expected)
    assert small.shape == (4, 5, 8, 8)
    assert not small[:, 3:].any()


def test_padding_puts_zeros_on_all_sides_and_cuts_the_middle_out():
    x = pictures((3, 5, 4))
    large = Pad((3, 5, 4), (4, 8, 9))(x)
    expected = torch.zeros(4, 4, 8, 9)
    expected[:, :3, 1:6, 2:6] = x
    torch.testing.assert_close(large, expected, rtol=0, atol=0)
    small = Pad((3, 5, 4), (2, 2, 1))(x)
    torch.testing.assert_close(small, x[:, :2, 2:4, 2:3], rtol=0, atol=0)


def test_a_padded_skip_is_its_picture_added():
    model, x = build(encoder_skips=[[0, 2]], decoder_skips=[[0, 2]], resample="pad").eval(), pictures()
    second = model.encoder[1](model.encoder[0](x))
    second[:, :3] += x[:, :, 12:20, 12:20]
    z = latent_of(model)(model.encoder[2](second))
    torch.testing.assert_close(model.encode(x).z, z)

    deepest = model.from_latent(z).unflatten(1, (64, 4, 4))
    carried = model.decoder[1](model.decoder[0](deepest))
    carried[:, :, 6:10, 6:10] += deepest[:, :16]
    torch.testing.assert_close(model.decode(Code(z)), model.decoder[2](carried).sigmoid())


def test_encoder_skip_may_end_at_what_becomes_the_latent():
    model, x = build(encoder_skips=[[1, 3]]).eval(), pictures()
    first = model.encoder[0](x)
    deepest = model.encoder[2](model.encoder[1](first)) + fitted(first, 64, (4, 4))
    torch.testing.assert_close(model.encode(x).z, latent_of(model)(deepest))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_decoder_skip_drops_channels_and_may_end_before_the_sigmoid(shape):
    model = build(shape=shape, encoder_skips=[], decoder_skips=[[0, 1], [1, 3]]).eval()
    z = torch.randn(4, 256, generator=torch.Generator().manual_seed(1))
    deepest = model.from_latent(z).unflatten(1, (64, -1, (shape[2] + 7) // 8))
    first = model.decoder[0](deepest)
    first = first + fitted(deepest, 32, first.shape[2:])
    last = model.decoder[2](model.decoder[1](first)) + fitted(first, shape[0], shape[1:])
    torch.testing.assert_close(model.decode(Code(z)), 1 / (1 + torch.exp(-last)))


def test_a_skip_carries_what_an_earlier_skip_added():
    model, x = build(encoder_skips=[[0, 1], [1, 2]]).eval(), pictures()
    first = model.encoder[0](x) + fitted(x, 16, (16, 16))
    second = model.encoder[1](first) + fitted(first, 32, (8, 8))
    torch.testing.assert_close(model.encode(x).z, latent_of(model)(model.encoder[2](second)))


def test_a_convolutional_skip_is_its_convolution_added():
    model, x = build(encoder_skips=[[0, 2]], resample="conv", decoder_skips=[[0, 2]]).eval(), pictures()
    (down,), (up,) = model.encoder_resamplers, model.decoder_resamplers
    second = model.encoder[1](model.encoder[0](x)) + F.conv2d(x, down.weight, down.bias, stride=4, padding=3)
    z = latent_of(model)(model.encoder[2](second))
    torch.testing.assert_close(model.encode(x).z, z)

    deepest = model.from_latent(z).unflatten(1, (64, 4, 4))
    carried = F.conv_transpose2d(deepest, up.weight, up.bias, stride=4, padding=3, output_padding=3)
    last = model.decoder[2](model.decoder[1](model.decoder[0](deepest)) + carried)
    torch.testing.assert_close(model.decode(Code(z)), last.sigmoid())


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
@pytest.mark.parametrize(("height", "width"), [(28, 28), (32, 32), (37, 29), (5, 9), (33, 40)])
def test_a_convolution_fits_any_size_and_sees_every_pixel(height, width, stride):
    large, small = (2, height, width), (3, -(-height // stride), -(-width // stride))
    for source, target in ((large, small), (small, large)):
        x = torch.ones(1, *source, requires_grad=True)
        fit = conv_resampler(source, target, stride)
        nn.init.ones_(fit.weight)
        nn.init.zeros_(fit.bias)
        y = fit(x)
        assert y.shape == (1, *target)
        y.sum().backward()
        assert x.grad.min() > 0
        assert y.min() > 0


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("cut", [1, 2, 5])
def test_a_convolution_fits_what_stages_cut_from_the_edges(stride, cut):
    large = (2, 33, 30)
    small = (3, *(-(-(side - 2 * cut) // stride) for side in large[1:]))
    for source, target in ((large, small), (small, large)):
        fit = conv_resampler(source, target, stride, cut)
        assert fit(torch.ones(1, *source)).shape == (1, *target)
        assert fit.kernel_size[0] >= 2 * stride - 1


def test_residual_block_by_hand():
    torch.manual_seed(0)
    block = ResidualBlock(3, nn.ReLU).eval()
    first, _, _, second, _ = block.body
    x = pictures()
    scale = (1 + 1e-5) ** -0.5  # batch norm of untouched statistics
    inner = (F.conv2d(x, first.weight, padding=1) * scale).clamp_min(0)
    torch.testing.assert_close(block(x), x + F.conv2d(inner, second.weight, padding=1) * scale)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_residual_ends_each_stage_but_the_last(shape):
    model = build(shape=shape, **NOWHERE, residual=True)
    for stages in (model.encoder, model.decoder):
        assert [type(stage[-1]) is ResidualBlock for stage in stages] == [True, True, False]
    blocks = 2 * sum(2 * 9 * c * c + 4 * c for c in (16, 32))
    assert model.size == build(Base, shape).size + blocks


def test_a_skip_is_added_behind_the_residual_block():
    model, x = build(encoder_skips=[[0, 1]], residual=True).eval(), pictures()
    conv, norm, act, block = model.encoder[0]
    first = block(act(norm(conv(x)))) + fitted(x, 16, (16, 16))
    z = latent_of(model)(model.encoder[2](model.encoder[1](first)))
    torch.testing.assert_close(model.encode(x).z, z)


@pytest.mark.parametrize("resample", ["interpolate", "conv", "pad"])
def test_every_choice_of_skips_is_another_network(resample):
    choices = [
        {"encoder_skips": encoder, "decoder_skips": decoder}
        for encoder, decoder in [
            *[([pair], []) for pair in PAIRS],
            *[([], [pair]) for pair in PAIRS],
            ([(0, 2), (1, 3)], []),
            (PAIRS, []),
            ([], PAIRS),
            (PAIRS, PAIRS),
        ]
    ]
    choices += [NOWHERE, NOWHERE | {"residual": True}, EVERYWHERE | {"residual": True}]
    x = pictures()
    outputs = [build(**choice, resample=resample, latent=8)(x) for choice in choices]
    distances = [(a - b).abs().max().item() for a, b in itertools.combinations(outputs, 2)]
    assert len(distances) == 19 * 18 // 2
    assert min(distances) > 1e-3


@pytest.mark.parametrize("side", ["encoder_skips", "decoder_skips"])
def test_the_three_ways_to_reshape_are_three_networks(side):
    x = pictures()
    options = NOWHERE | {side: [[0, 2], [1, 3]], "latent": 8}
    outputs = [build(resample=resample, **options)(x) for resample in RESAMPLERS]
    distances = [(a - b).abs().max() for a, b in itertools.combinations(outputs, 2)]
    assert len(distances) == 3
    assert min(distances) > 1e-3


def test_the_order_of_pairs_is_no_matter():
    x = pictures()
    pairs = [[0, 2], [1, 3]]
    outputs = [build(encoder_skips=order, resample="conv")(x) for order in (pairs, pairs[::-1])]
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=0)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_nothing_goes_around_the_latent(options):
    model = build(latent=8, **options).eval()
    x = pictures().requires_grad_()
    code = model.encode(x)
    assert code.skips == ()
    assert code.numbers == 8
    x_hat = model(x)
    assert torch.autograd.grad(x_hat.sum(), x, retain_graph=True)[0].abs().sum() > 0
    model(torch.zeros_like(x))  # another image in between leaves no trace
    alone = model.decode(Code(code.z.detach()))
    torch.testing.assert_close(alone, x_hat, rtol=0, atol=0)
    assert torch.autograd.grad(alone.sum(), x, allow_unused=True) == (None,)


RULE = r"must be pairs \[from, to\] of stages within 0\.\.3 with from < to, got "
WRONG = [
    ([[2, 2]], RULE + r"\[2, 2\]"),
    ([[0, 2], [3, 1]], RULE + r"\[3, 1\]"),
    ([[1, 4]], RULE + r"\[1, 4\]"),
    ([[-1, 2]], RULE + r"\[-1, 2\]"),
    ([[0, 1, 2]], RULE + r"\[0, 1, 2\]"),
    ([[0, 1.5]], RULE + r"\[0, 1\.5\]"),
    ([[False, 2]], RULE + r"\[False, 2\]"),
    (["02"], RULE + "'02'"),
    ([0, 2], RULE + "0"),
    ("02", RULE + "'02'"),
    (None, RULE + "None"),
    ([[0, 2], [0, 2]], r"must name each pair once, got \[\[0, 2\], \[0, 2\]\]"),
]


@pytest.mark.parametrize(("pairs", "message"), WRONG, ids=str)
@pytest.mark.parametrize("name", ["encoder_skips", "decoder_skips"])
def test_pairs_that_cannot_be_are_named(name, pairs, message):
    with pytest.raises(ValueError, match=f"^{name} {message}$"):
        build(**{name: pairs})


def test_pairs_follow_the_depth():
    with pytest.raises(ValueError, match=r"^encoder_skips must be pairs .* within 0\.\.2 .*, got \(1, 3\)$"):
        build(channels=[8, 8])
    assert build(channels=[8, 8], encoder_skips=[[0, 2]])(pictures()).shape == (4, 3, 32, 32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resample": "linear"}, "resample must be one of interpolate, conv, pad, got 'linear'"),
        ({"resample": None}, "resample must be one of interpolate, conv, pad, got None"),
        ({"residual": "false"}, "residual must be true or false, got 'false'"),
        ({"residual": 1}, "residual must be true or false, got 1"),
    ],
)
def test_an_option_that_cannot_be_is_named(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        build(**options, **NOWHERE)


def commanded(*overrides):
    """The model that a command line describes, checked as a run would do it."""
    cfg, choices = compose.config(["model=internal_skip", "logger=none", *overrides])
    check(compose.plain(cfg), choices)
    return instantiate(cfg.model, "model", shape=(3, 32, 32))


@pytest.mark.parametrize("resample", ["interpolate", "conv"])
def test_pairs_can_be_given_on_the_command_line(resample):
    model = commanded(
        "model.encoder_skips=[[0,2]]", "model.decoder_skips=[[1,3],[0,1]]", f"model.resample={resample}"
    )
    assert model.encoder_skips == ((0, 2),)
    assert model.decoder_skips == ((0, 1), (1, 3))
    assert {type(fit) is Interpolate for fit in model.decoder_resamplers} == {resample == "interpolate"}


def test_no_pair_and_residual_can_be_given_on_the_command_line():
    model = commanded("model.encoder_skips=[]", "model.residual=true")
    assert model.encoder_skips == model.decoder_skips == ()
    assert isinstance(model.encoder[0][-1], ResidualBlock)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.encoder_skips=[0,2]", r"model\.encoder_skips=\[0,2\]: expected a list, as in"),
        ("model.encoder_skips=2", r"model\.encoder_skips=2: expected a list, as in"),
        ("model.decoder_skips=[[1,1]]", rf"model\.decoder_skips {RULE}\[1, 1\]$"),
        ("model.residual=1", r"model\.residual=1: expected true or false"),
        ("model.resample=bicubic", r"model\.resample must be one of interpolate, conv, pad, got 'bicubic'$"),
    ],
)
def test_a_mistake_on_the_command_line_is_told(override, message):
    with pytest.raises(UserError, match=f"^{message}"):
        commanded(override)


def test_a_slope_can_be_given_on_the_command_line_though_the_yaml_has_none():
    model = commanded("model.activation=LeakyReLU", "model.negative_slope=0.2")
    assert {m.negative_slope for m in model.modules() if isinstance(m, nn.LeakyReLU)} == {0.2}


def test_lists_of_pairs_can_be_swept():
    (override,) = OverridesParser.create().parse_overrides(
        ["model.encoder_skips=[],[[0,2]],[[1,3]],[[0,2],[1,3]]"]
    )
    assert override.is_choice_sweep()
    swept = list(override.sweep_string_iterator())
    assert swept == ["[]", "[[0,2]]", "[[1,3]]", "[[0,2],[1,3]]"]
