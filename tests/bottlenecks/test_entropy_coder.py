"""Rounded numbers as bytes: what comes back, how many bytes it takes, and what is refused."""

import numpy as np
import pytest
import torch

from caelab.bottlenecks.density import Density
from caelab.bottlenecks.entropy_coder import EntropyCoder

pytest.importorskip("constriction")

SPREADS = (0.05, 1.0, 30.0, 2000.0)


@pytest.fixture
def density():
    torch.manual_seed(0)
    density = Density(len(SPREADS))
    density.spread.copy_(torch.tensor(SPREADS))
    for one in density.parameters():
        one.data += 0.2 * torch.randn_like(one)
    return density


def numbers(n, seed=0):
    random = np.random.default_rng(seed)
    return np.rint(random.normal(size=(n, len(SPREADS))) * SPREADS).astype(np.int32)


def test_what_was_coded_comes_back_in_as_many_bits_as_the_density_says(density):
    coder, whole = EntropyCoder(density), numbers(3000)
    stream = coder.encode(whole)
    assert np.array_equal(coder.decode(stream, 3000), whole)
    with torch.no_grad():
        bits = float(density.bits(torch.from_numpy(whole).float()).sum())
    assert bits - 64 < 8 * stream.nbytes < 1.01 * bits + 64


def test_numbers_beyond_the_tables_take_their_own_words(density):
    coder, whole = EntropyCoder(density), numbers(50)
    whole[3] = [10**6, -(10**9), 70_000, 2**31 - 1]
    whole[7, 1] = 5000
    stream = coder.encode(whole)
    assert {10**6, -(10**9), 70_000, 2**31 - 1, 5000} <= {*stream.far.tolist()}
    assert np.array_equal(coder.decode(stream, 50), whole)


def test_one_image_and_none(density):
    coder = EntropyCoder(density)
    for count in (0, 1):
        assert np.array_equal(coder.decode(coder.encode(numbers(count)), count), numbers(count))


def test_the_digest_is_of_the_tables(density):
    first = EntropyCoder(density).digest
    assert EntropyCoder(density).digest == first
    density.biases[0].data[2, 0, 0] += 0.01
    assert EntropyCoder(density).digest != first


def test_a_damaged_stream_is_no_result(density):
    coder, whole = EntropyCoder(density), numbers(40)
    stream = coder.encode(whole)
    words = stream.words.copy()
    words[1] ^= 1
    with pytest.raises(ValueError, match="not those that were coded|invalid|compressed"):
        coder.decode(stream._replace(words=words), 40)
    with pytest.raises(ValueError, match="not those that were coded"):
        coder.decode(stream._replace(check=stream.check ^ 1), 40)
    with pytest.raises(ValueError, match="not those that were coded"):
        coder.decode(stream._replace(far=np.array([1], np.int32)), 40)
