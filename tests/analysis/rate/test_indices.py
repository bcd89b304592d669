"""Discrete codes as bits: frequencies and entropies by hand, and networks whose bits are known."""

import math

import numpy as np
import pytest
import torch
from toys import SHAPE, Linear, Skipping, images

from caelab.analysis.rate import indices
from caelab.bottlenecks.bottleneck import Discrete
from caelab.bottlenecks.range_coder import RangeCoder
from caelab.data.datamodule import Split
from caelab.errors import UserError
from caelab.models.autoencoder import Code

pytest.importorskip("constriction")


class Signs(Discrete):
    """Each number becomes -1 or 1."""

    learnt = False

    def __init__(self, latent):
        super().__init__(latent, 1, 2)

    def quantise(self, tokens):
        found = self.nearest(tokens)
        return self.lookup(found)[..., None], None, found

    def nearest(self, tokens):
        return (tokens > 0).long()

    def lookup(self, indices):
        return (2.0 * indices - 1).flatten(1)


def split(n, seed):
    return Split(images(n, seed=seed), torch.zeros(n, dtype=torch.int64), torch.arange(n))


TRAIN, TEST = split(2_000, 0), split(600, 1)


class Rounded(Linear):
    """Signs of a turned image."""

    def __init__(self, latent):
        super().__init__(latent=latent)
        self.bottleneck = Signs(latent)

    def encode(self, x, key=None):
        crossing = self.bottleneck(super().encode(x).z)
        return Code(crossing.z, indices=crossing.indices)


def test_frequencies_by_hand():
    symbols = np.array([[0, 1], [0, 2], [0, 1], [3, 1]])
    shares = indices.frequencies(symbols, 4)
    together = np.array([3.5, 3.5, 1.5, 1.5]) / 10
    assert shares[0] == pytest.approx((np.array([3, 0, 0, 1]) + 2 * together) / 6)
    assert shares[1] == pytest.approx((np.array([0, 3, 1, 0]) + 2 * together) / 6)
    first, second = indices.frequencies(symbols, 4, codebooks=2)  # which share nothing then
    assert first == pytest.approx((np.array([3, 0, 0, 1]) + 2 * np.array([3.5, 0.5, 0.5, 1.5]) / 6) / 6)
    assert [one.sum() for one in (first, second, *shares)] == pytest.approx([1] * 4)


def test_entropy_by_hand():
    symbols = np.array([[0, 5], [1, 5], [0, 5], [1, 5], [2, 5], [2, 5], [2, 5], [2, 5]])
    assert indices.entropy(symbols) == pytest.approx(1.5)


def test_the_coder_gives_back_what_it_got():
    random = np.random.default_rng(0)
    symbols = random.integers(0, 50, (300, 7)).astype(np.int32)
    symbols[:, 2] = 4
    coder = RangeCoder(indices.frequencies(symbols[:20], 50))  # it has not seen all of them
    words = coder.encode(symbols)
    assert (coder.decode(words, 300) == symbols).all()


def test_signs_of_noise_take_a_bit_each():
    net = Rounded(latent=20)
    curve = indices.measure(net, TRAIN, TEST)
    (point,) = curve.points
    assert (point.bits, curve.numbers, curve.training) == (0, 20, 2_000)
    assert 19.8 < point.entropy < point.rate < 20.5
    x = TEST[:].float() / 255
    with torch.no_grad():
        error = (net(x).clamp(0, 1) - x).double().square().mean((1, 2, 3))
    assert point.psnr == curve.psnr == pytest.approx(float((-10 * error.log10()).mean()), abs=1e-4)


def test_more_entries_than_a_table_holds_are_refused(monkeypatch):
    net = Rounded(latent=20)
    net.bottleneck.entries = indices.MOST + 1
    with pytest.raises(UserError, match="^its codebook has 10,000,001 entries; .* of 10,000,000 at most$"):
        indices.measure(net, TRAIN, TEST)
    monkeypatch.setattr(indices, "MOST", 2)
    assert indices.measure(Rounded(latent=20), TRAIN, TEST).numbers == 20


def test_numbers_around_the_latent_are_refused():
    class Both(Skipping):
        def __init__(self):
            super().__init__(latent=4)
            self.bottleneck = Signs(4)

    with pytest.raises(UserError, match=f"{math.prod(SHAPE):,} numbers go around its latent"):
        indices.measure(Both(), TRAIN, TEST)
