"""What is ImprovedSkip's own: which outputs cross the bottleneck, where to, and what they cost."""

import itertools

import pytest
import torch

from caelab.models.improved import Improved
from caelab.models.improved_skip import ImprovedSkip

SUBSETS = [levels for n in range(5) for levels in itertools.combinations((1, 2, 3, 4), n)]
SKIPS = {1: (16, 16, 16), 2: (32, 8, 8), 3: (64, 4, 4), 4: (128, 4, 4)}


def build(model=ImprovedSkip, shape=(3, 32, 32), **options):
    torch.manual_seed(0)
    return model(shape, **options)


@pytest.mark.parametrize(("shape", "count"), [((3, 32, 32), 1_246_083), ((1, 28, 28), 1_245_505)])
def test_skips_add_no_parameter(shape, count):
    assert build(shape=shape).size == count
    assert build(shape=shape, skip_levels=[]).size == count


@pytest.mark.parametrize("levels", SUBSETS, ids=str)
def test_code_carries_the_levels_asked_for(levels):
    code = build(skip_levels=levels).encode(torch.rand(2, 3, 32, 32))
    assert [tuple(skip.shape[1:]) for skip in code.skips] == [SKIPS[level] for level in levels]


def test_effective_code_is_three_times_the_image():
    code = build().encode(torch.rand(2, 3, 32, 32))
    assert code.numbers == 256 + 9_216
    assert build(Improved).encode(torch.rand(2, 3, 32, 32)).numbers == 256


def test_every_subset_of_skips_is_another_network():
    x = torch.rand(4, 3, 32, 32)
    outputs = [build(skip_levels=levels, latent=8)(x) for levels in SUBSETS]
    distances = [(a - b).abs().max().item() for a, b in itertools.combinations(outputs, 2)]
    assert len(distances) == 120
    assert min(distances) > 1e-4


def test_no_skip_is_improved_and_the_order_of_levels_is_no_matter():
    x = torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(build(skip_levels=[])(x), build(Improved)(x), rtol=0, atol=0)
    torch.testing.assert_close(build(skip_levels=[4, 1])(x), build(skip_levels=[1, 4])(x), rtol=0, atol=0)


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_a_skip_is_added_to_the_decoder_input_of_its_size(level):
    model = build(skip_levels=[level]).eval()
    x = torch.rand(2, 3, 32, 32)
    inputs = {}
    for stage, module in enumerate(model.decoder):
        module.register_forward_hook(lambda _m, args, _out, at=4 - stage: inputs.update({at: args[0]}))
    code = model.encode(x)
    model.decode(code)
    with_skip = inputs[level]
    model.decode(code._replace(skips=(torch.zeros_like(code.skips[0]),)))
    torch.testing.assert_close(with_skip - inputs[level], code.skips[0])

    taken = x
    for module in model.encoder[:level]:
        taken = module(taken)
    torch.testing.assert_close(code.skips[0], taken, rtol=0, atol=0)


def test_the_decoder_takes_no_more_and_no_fewer_skips_than_it_has():
    model = build()
    code = model.encode(torch.rand(2, 3, 32, 32))
    with pytest.raises(ValueError, match="zip"):
        model.decode(code._replace(skips=code.skips[:3]))


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([1, 7], r"skip_levels must be within 1\.\.4, got 7"),
        ([0], "skip_levels must be at least 1, got 0"),
        ([-1], "skip_levels must be at least 1, got -1"),
        ([1, 1], r"skip_levels must name each level once, got \[1, 1\]"),
        ([1.5], "skip_levels must be a whole number, got 1.5"),
        (2, "skip_levels must be a list of whole numbers, got 2"),
    ],
)
def test_a_level_that_cannot_be_is_named(levels, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        build(skip_levels=levels)


def test_levels_follow_the_depth():
    with pytest.raises(ValueError, match=r"^skip_levels must be within 1\.\.2, got 3$"):
        build(channels=[8, 8])
    assert build(channels=[8, 8], skip_levels=[1, 2]).encode(torch.rand(2, 3, 32, 32)).numbers == 256 + 2_560
