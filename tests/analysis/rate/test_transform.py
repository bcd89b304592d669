"""Transform coding by PCA: closed forms of rounding, and images whose components are known."""

import math

import pytest
import torch
from toys import SHAPE, images

from caelab.analysis.rate import transform
from caelab.analysis.rate.transform import curve
from caelab.bottlenecks.range_coder import RangeCoder
from caelab.data.datamodule import Split

NUMBERS = math.prod(SHAPE)


def split(pixels):
    return Split(pixels, torch.zeros(len(pixels), dtype=torch.int64), torch.arange(len(pixels)))


def grey(levels, n, seed):
    """Images of one grey each, drawn from ``levels``."""
    drawn = torch.tensor(levels)[torch.randint(len(levels), (n,), generator=torch.manual_seed(seed))]
    return split(drawn.byte().reshape(-1, 1, 1, 1).expand(-1, *SHAPE).contiguous())


def test_error_and_rate_of_white_noise_are_those_of_theory():
    step = 0.05
    (one,) = curve(split(images(4_000)), split(images(700, seed=1)), [step])
    # the mean of logarithms is above the logarithm of the mean, here by 0.07; clamping saves a little more
    assert one.psnr == pytest.approx(10 * math.log10(12 / step**2) + 0.1, abs=0.1)
    # its axes are sums of uniform numbers, nearly Gaussian
    expected = NUMBERS * (0.5 * math.log2(2 * math.pi * math.e / 12) - math.log2(step))
    assert one.rate == pytest.approx(expected, rel=0.05)


def test_components_that_do_not_vary_cost_nothing_and_steps_are_decoded_as_their_mean():
    coarse, fine = curve(grey([40, 60, 180, 200], 4_000, 0), grey([40, 60, 180, 200], 500, 1), [2.0, 0.2])
    assert fine.rate == pytest.approx(2, abs=0.1)  # four greys, as often each
    assert fine.psnr == 100
    assert coarse.rate == pytest.approx(1, abs=0.1)  # dark and bright, each decoded as the mean of two greys
    assert coarse.psnr == pytest.approx(20 * math.log10(255 / 10), abs=0.1)


def test_a_step_beyond_all_components_leaves_the_mean_image():
    (one,) = curve(grey([100, 140], 1_000, 0), grey([100, 140], 500, 1), [10.0])
    assert one.rate == 0
    assert one.psnr == pytest.approx(20 * math.log10(255 / 20), abs=0.1)


def test_images_beyond_the_range_of_the_training_images_are_clipped_to_it():
    (one,) = curve(grey([100, 140], 1_000, 0), grey([255], 500, 1), [0.01])
    # with a quarter of the range beyond it: 150 is the brightest grey there is
    assert one.psnr == pytest.approx(20 * math.log10(255 / 105), abs=0.1)


def test_large_images_have_no_curve(monkeypatch):
    monkeypatch.setattr(transform, "LARGEST", NUMBERS - 1)
    assert curve(grey([1], 10, 0), grey([1], 10, 0)) == []


def test_components_that_do_not_come_back_are_no_result(monkeypatch):
    decode = RangeCoder.decode
    monkeypatch.setattr(RangeCoder, "decode", lambda *args: decode(*args) ^ 1)
    with pytest.raises(RuntimeError, match="decoded symbols are not those that were coded, at a step of 0.2"):
        curve(grey([40, 200], 100, 0), grey([40, 200], 100, 1), [0.2])
