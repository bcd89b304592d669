"""Spreads that are told ahead: bits against SciPy, tables against whole numbers, and what comes back."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from caelab.bottlenecks.entropy import Entropy
from caelab.bottlenecks.hyperprior import Hyperprior

NUMBERS, PLACES = 6, 4


def bottleneck(seed=0, numbers=NUMBERS, **options):
    torch.manual_seed(seed)
    made = Hyperprior(numbers * PLACES, **{"price": 0.1, "step": 1.0, "ahead": 3} | options)
    made.at_places(numbers)
    return made


def latents(n, seed=0):
    """Places of a large or a small spread, (n, PLACES * NUMBERS)."""
    generator = torch.Generator().manual_seed(seed)
    spread = torch.where(torch.rand(n, PLACES, 1, generator=generator) < 0.5, 8.0, 0.3)
    return (spread * torch.randn(n, PLACES, NUMBERS, generator=generator)).flatten(1)


def steps(made, h):
    with torch.no_grad():
        return made.whole(made.eval()(h).z).int().numpy()


@pytest.fixture
def started():
    made = bottleneck()
    made.start_from(latents(200))
    return made.eval()


def test_bits_are_those_of_what_comes_ahead_and_of_the_spreads_that_it_tells(started):
    """Also with noise, of which what comes ahead knows nothing, as it will not when pictures are coded."""
    whole = torch.from_numpy(steps(started, latents(5))).float()
    with torch.no_grad():
        ahead = started.tell(torch.log2(whole.abs() + 0.3)).round()
        spread = 2 ** started.hear(ahead)
        y = whole + torch.rand(whole.shape) - 0.5
        found, first = started.cost(y, whole, None), started.density.bits(ahead).sum(1)
    logistic = stats.logistic(scale=spread.double().numpy() * math.sqrt(3) / math.pi)
    shares = logistic.cdf(y.numpy() + 0.5) - logistic.cdf(y.numpy() - 0.5)
    expected = first - torch.from_numpy(np.log2(shares).sum(1)).float()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-2)


def test_the_pull_is_minus_half_the_gradient_of_the_price_of_what_comes_behind(started):
    h = latents(5)
    with torch.no_grad():
        y = h.reshape(-1, NUMBERS) - started.median
        spread = 2 ** started.hear(started.tell(torch.log2(y.round().abs() + 0.3)).round())
    y, logistic = y.double().numpy(), stats.logistic(scale=spread.double().numpy() * math.sqrt(3) / math.pi)
    bits = [-np.log2(logistic.cdf(at + 0.5) - logistic.cdf(at - 0.5)) for at in (y + 1e-4, y - 1e-4)]
    expected = torch.from_numpy(-0.1 / 2 * (bits[0] - bits[1]) / 2e-4).float().reshape(h.shape)
    torch.testing.assert_close(started.pull(h).detach(), expected, rtol=1e-2, atol=1e-3)


def test_it_starts_by_telling_which_places_are_of_a_large_spread(started):
    whole = torch.from_numpy(steps(started, latents(300))).float()
    ahead, large = started.first(whole.int().numpy()), whole.abs().amax(1) > 3
    assert ahead[large, 0].min() != ahead[~large, 0].min()
    assert abs(np.corrcoef(ahead[:, 0], large)[0, 1]) > 0.9
    plain = Entropy(NUMBERS * PLACES, price=0.1, step=1.0)
    plain.at_places(NUMBERS)
    plain.start_from(latents(200))
    with torch.no_grad():
        assert started.cost(whole, whole, None).mean() < plain.cost(whole, whole, None).mean() - 1


def test_the_tables_are_those_of_exact_arithmetic(started):
    first = started.first(steps(started, latents(50)))
    first[0] = [2**15, -(2**15), 2**15]
    weight, bias = (
        np.rint(one.detach().double().numpy() * 65536).astype(int).astype(object)
        for one in (started.hear.weight, started.hear.bias)
    )
    whole = first.astype(object) @ weight.T + bias  # octaves, in parts of 2^-16
    expected = [[min(max(round(x / 2**13) + 32, 0), 112) for x in row] for row in whole]
    assert np.array_equal(started.tables(first), expected)
    assert np.array_equal(started.tables(first[7:8]), started.tables(first)[7:8])


def test_what_was_coded_comes_back_in_as_many_bits_as_the_densities_say(started):
    whole = steps(started, latents(400))
    stream = started.coder().encode(whole)
    assert np.array_equal(started.coder().decode(stream, len(whole)), whole)
    with torch.no_grad():
        y = torch.from_numpy(whole).float()
        bits = float(started.cost(y, y, None).sum())
    assert 0.99 * bits < 8 * stream.nbytes < 1.01 * bits + 64


@pytest.mark.parametrize("count", [0, 1, 9])
def test_numbers_beyond_the_tables_and_few_places(started, count):
    whole = steps(started, latents(9))[:count]
    whole[:1, :2] = [10**6, -(2**31)]
    coder = started.coder()
    assert np.array_equal(coder.decode(coder.encode(whole), count), whole)


def test_damage_is_no_result(started):
    coder, whole = started.coder(), steps(started, latents(40))
    stream = coder.encode(whole)
    words = stream.words.copy()
    words[1] ^= 1
    for damaged in (stream._replace(words=words), stream._replace(check=stream.check ^ 1)):
        with pytest.raises(ValueError, match="not those that were coded|invalid|compressed"):
            coder.decode(damaged, len(whole))


def test_the_digest_is_of_both_kinds_of_tables(started):
    found = {started.coder().digest}
    for density in (started.density, started.form):
        density.weights[0].data[0, 0, 0] += 0.1
        found.add(started.coder().digest)
    assert len(found) == 3


@pytest.mark.parametrize("ahead", [0, 1.5])
def test_what_is_refused(ahead):
    with pytest.raises(ValueError, match=f"ahead must be a whole number, at least 1, got {ahead}"):
        Hyperprior(4, ahead=ahead)
