"""Quantiser, models and coder: closed forms of rounding, known sources, and what comes back from a stream."""

import math
import sys

import numpy as np
import pytest
import torch

from caelab.analysis.rate import quantisation
from caelab.analysis.rate.quantisation import coder, entropy, fit, flat, unflat
from caelab.bottlenecks.range_coder import library
from caelab.errors import UserError
from caelab.models.autoencoder import Code


def noise(n, numbers, kind="normal"):
    random = np.random.default_rng(5)
    drawn = random.normal(size=(n, numbers)) if kind == "normal" else random.uniform(size=(n, numbers))
    return torch.from_numpy(drawn.astype(np.float32))


def rounded(quantiser, x, bits):
    cells, _ = quantiser.cells(x)
    alphabet = quantiser.alphabet(bits)
    return quantiser.decoded(alphabet.symbols(cells) + alphabet.low, bits)


def sizes_of(quantiser, x, bits):
    """Measured bits an image, and their entropy, of codes that the models were fitted to."""
    cells, _ = quantiser.cells(x)
    alphabet = quantiser.alphabet(bits)
    counts = alphabet.counts(cells)
    words = coder(alphabet, counts).encode(alphabet.symbols(cells))
    return 32 * len(words) / len(x), entropy(counts, len(x), x.shape[1])


@pytest.mark.parametrize("bits", [6, 7, 8])
def test_error_of_a_uniform_code_is_the_step_squared_by_twelve(bits):
    x = 3 + 10 * noise(20_000, 1, "uniform")
    step = 8 / 2**bits * 10 / math.sqrt(12)  # standard deviation of a uniform number
    error = (rounded(fit(x, [1]), x, bits) - x).numpy()
    assert np.square(error).mean() == pytest.approx(step**2 / 12, rel=0.04)
    assert np.abs(error).max() <= step / 2 * 1.01


@pytest.mark.parametrize("bits", [6, 8])
def test_a_bit_is_six_decibels_whatever_the_scales_and_correlations(bits):
    mixed = noise(8_000, 4) @ torch.tensor([[3.0, 1, 0, 0], [0, 1, 0.5, 0], [0, 0, 0.2, 0.1], [1, 1, 1, 1]])
    x = torch.cat([mixed, 100 * noise(8_000, 2) - 7], 1)
    error = (rounded(fit(x, [4, 2]), x, bits) - x).double()
    for part in (slice(0, 4), slice(4, 6)):
        snr = 10 * math.log10(x[:, part].var(0).sum() / error[:, part].square().mean(0).sum())
        assert snr == pytest.approx(6.02 * bits - 7.27, abs=0.25)


def test_bits_of_a_known_source_are_its_entropy():
    random = np.random.default_rng(0)
    p = [1 / 2, 1 / 4, 1 / 8, 1 / 8]  # 1.75 bits
    x = torch.from_numpy(random.choice(4, size=(40_000, 2), p=p).astype(np.float32))
    measured, bound = sizes_of(fit(x, [1, 1]), x, 8)
    assert bound == pytest.approx(3.5, rel=0.01)
    assert measured == pytest.approx(3.5, rel=0.02)


def test_bits_of_a_gaussian_source_are_those_of_theory():
    measured, bound = sizes_of(fit(noise(40_000, 1), [1]), noise(40_000, 1), 5)
    expected = 0.5 * math.log2(2 * math.pi * math.e) - math.log2(8 / 2**5)
    assert bound == pytest.approx(expected, rel=0.01)
    assert measured == pytest.approx(expected, rel=0.02)


def test_a_repeated_number_costs_nothing_more():
    one = noise(20_000, 1)
    single, _ = sizes_of(fit(one, [1]), one, 6)
    twice = torch.cat([one, 2 * one], 1)
    # the only axis along which the pair varies has twice the mean variance: half a bit less of each step
    both, _ = sizes_of(fit(twice, [2]), twice, 6)
    assert both == pytest.approx(single + 0.5, abs=0.05)
    apart, _ = sizes_of(fit(twice, [1, 1]), twice, 6)
    assert apart == pytest.approx(2 * single, rel=0.01)


@pytest.mark.parametrize("bits", range(1, 9))
def test_what_was_coded_comes_back_also_of_codes_that_training_never_showed(bits):
    train, test = noise(300, 5), 3 * noise(200, 5).flip(1)
    train[:, 4] = 1.5
    quantiser = fit(train, [3, 2])
    cells, clipped = quantiser.cells(test)
    alphabet = quantiser.alphabet(bits)
    one = coder(alphabet, alphabet.counts(quantiser.cells(train)[0]))
    symbols = alphabet.symbols(cells)
    assert symbols.min() >= 0
    assert (symbols < alphabet.levels).all()
    assert np.array_equal(one.decode(one.encode(symbols), 200), symbols)
    assert clipped > 200 * 0.5  # the constant coordinate, and what lies beyond a range and a quarter


def test_grids_are_nested_and_round_half_a_step_up():
    x = noise(500, 3)
    quantiser = fit(x, [1, 1, 1])
    y = (x.double() - x.double().mean(0)) / x.double().std(0, correction=0)
    cells, _ = quantiser.cells(x)
    for bits in (1, 3, 8):
        alphabet = quantiser.alphabet(bits)
        expected = np.floor(y.numpy() * 2**bits / 8 + 0.5)
        same = alphabet.symbols(cells) + alphabet.low == expected
        assert same.mean() > 0.998  # the others lie at the edge of a step


def test_a_constant_code_takes_no_bits_and_stays():
    x = torch.full((400, 3), 4.25)
    quantiser = fit(x, [2, 1])
    assert sizes_of(quantiser, x, 8) == (0, 0)
    assert torch.equal(rounded(quantiser, x, 2), x)


def test_only_parts_of_a_size_that_can_be_turned_are(monkeypatch):
    x = noise(40, 12)
    assert [part.axes is None for part in fit(x, [10, 2]).parts] == [False, False]
    assert [part.axes is None for part in fit(x, [11, 1]).parts] == [True, False]  # 40 images for 11 numbers
    monkeypatch.setattr(quantisation, "AXES", 9)
    assert [part.axes is None for part in fit(x, [10, 2]).parts] == [True, False]


def test_a_code_becomes_numbers_and_back():
    code = Code(noise(6, 4), (noise(6, 12).reshape(6, 3, 2, 2), noise(6, 5)))
    x = flat(code)
    assert x.shape == (6, code.numbers)
    back = unflat(x, [part.shape[1:] for part in (code.z, *code.skips)])
    assert torch.equal(back.z, code.z)
    assert all(torch.equal(a, b) for a, b in zip(back.skips, code.skips, strict=True))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused(value):
    x = noise(10, 2)
    x[3, 1] = value
    with pytest.raises(UserError, match="a code holds NaN or infinity, which no quantiser can round"):
        fit(x, [2])


def test_the_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "constriction", None)
    with pytest.raises(UserError, match=r"constriction is not installed; pip install 'caelab\[rate\]'"):
        library()
