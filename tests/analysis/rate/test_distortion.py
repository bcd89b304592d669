"""Rate and distortion of networks small enough to know what comes out."""

import math

import pytest
import torch
from toys import SHAPE, Linear, Skipping, images

from caelab.analysis.rate import distortion
from caelab.bottlenecks.range_coder import RangeCoder
from caelab.data.datamodule import Split
from caelab.errors import UserError
from caelab.models.autoencoder import Code
from caelab.models.pca import PCA

NUMBERS = math.prod(SHAPE)


def split(n, seed=0):
    return Split(images(n, seed=seed), torch.zeros(n, dtype=torch.int64), torch.arange(n))


TRAIN, TEST = split(4_000), split(700, seed=1)


@pytest.fixture(scope="module")
def identity():
    """Curve of a network whose code is the turned image."""
    return distortion.measure(Linear(latent=NUMBERS), TRAIN, TEST, [3, 6, 8])


def test_the_error_of_an_identity_is_that_of_its_quantiser(identity):
    assert identity.psnr == 100  # it is perfect
    assert (identity.numbers, identity.training) == (NUMBERS, 4_000)
    for point in identity.points[1:]:
        step = 8 / 2**point.bits / math.sqrt(12)
        expected = -10 * math.log10(step**2 / 12)
        # the mean of logarithms is above the logarithm of the mean, here by 0.07
        assert point.psnr == pytest.approx(expected + 0.07, abs=0.08)


def test_the_rate_is_the_entropy_and_that_of_theory(identity):
    for point in identity.points:
        # axes of white noise are sums of 24 uniform numbers: nearly Gaussian
        expected = NUMBERS * (0.5 * math.log2(2 * math.pi * math.e) - 3 + point.bits)
        assert point.rate == pytest.approx(expected, rel=0.06)
        assert point.entropy < point.rate < 1.1 * point.entropy
    assert identity.clipped < 1e-3


def test_skips_are_rounded_and_counted_too():
    net = Skipping(latent=5)
    curve = distortion.measure(net, TRAIN, TEST, [2, 8])
    alone = distortion.measure(Linear(latent=5), TRAIN, TEST, [2, 8])
    assert curve.numbers == 5 + NUMBERS
    for both, own in zip(curve.points, alone.points, strict=True):
        assert both.rate / curve.numbers == pytest.approx(own.rate / 5, rel=0.05)  # all of it is white noise
    coarse, fine = curve.points
    assert coarse.psnr < curve.psnr - 0.1
    assert fine.psnr == pytest.approx(curve.psnr, abs=0.01)


def test_a_constant_code_takes_no_bits():
    net = Linear(latent=5)
    net.matrix.zero_()
    curve = distortion.measure(net, TRAIN, TEST, [1, 8])
    assert [(point.rate, point.entropy) for point in curve.points] == [(0, 0), (0, 0)]
    assert {point.psnr for point in curve.points} == {curve.psnr}


def test_a_code_without_numbers_is_refused():
    net = PCA(SHAPE, 0)
    net.initialise(TRAIN)
    with pytest.raises(UserError, match="^its code has no numbers, so there is nothing to round"):
        distortion.measure(net, TRAIN, TEST, [2])


def test_statistics_come_from_training_images_and_from_a_part_where_they_are_many(monkeypatch):
    monkeypatch.setattr(distortion, "STATISTICS", 5 * 1_000)
    seen = []
    curve = distortion.measure(
        Linear(latent=5), TRAIN, TEST, [4], lambda batches: seen.append(batches) or batches
    )
    assert curve.training == 1_000
    assert [batches[-1] for batches in seen] == [500, 500]  # of 1,000 training and of 700 test images


def test_a_code_that_does_not_come_back_is_no_result(monkeypatch):
    decode = RangeCoder.decode
    monkeypatch.setattr(RangeCoder, "decode", lambda *args: decode(*args) ^ 1)
    with pytest.raises(RuntimeError, match="decoded symbols are not those that were coded, at 4 bits"):
        distortion.measure(Linear(latent=5), TRAIN, TEST, [4])


def test_a_code_that_is_not_finite_is_named():
    class Broken(Linear):
        def encode(self, x):
            return Code(super().encode(x).z.log())

        def decode(self, code):
            return super().decode(Code(code.z.nan_to_num(0, 0, 0)))

    with pytest.raises(UserError, match="a code holds NaN or infinity"):
        distortion.measure(Broken(latent=5), TRAIN, TEST, [4])
