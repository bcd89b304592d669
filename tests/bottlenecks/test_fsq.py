import math

import pytest
import torch

from caelab.bottlenecks.fsq import FSQ

LEVELS = [8, 5, 3]


def by_hand(number, level):
    """Appendix A.1 of Mentzer et al.: place and value of a level."""
    half = (level - 1) * (1 + 1e-3) / 2
    offset = 0.5 if level % 2 == 0 else 0.0
    rounded = round(math.tanh(number + math.atanh(offset / half)) * half - offset)
    return rounded + level // 2, rounded / (level // 2)


def test_numbers_are_rounded_to_levels():
    h = 2 * torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    crossing = FSQ(6, levels=LEVELS)(h)
    for image in range(50):
        for token in range(2):
            pairs = [by_hand(float(h[image, 3 * token + n]), level) for n, level in enumerate(LEVELS)]
            values = crossing.z[image, 3 * token : 3 * token + 3]
            torch.testing.assert_close(values, torch.tensor([value for _, value in pairs]))
            place = pairs[0][0] + 8 * (pairs[1][0] + 5 * pairs[2][0])
            assert crossing.indices[image, token, 0] == place
    assert crossing.penalty is None


def test_a_codebook_that_no_index_holds_is_refused():
    with pytest.raises(ValueError, match=r"at most 2,147,483,647, got 4,000,000,000"):
        FSQ(4, levels=[1000, 1000, 1000, 4])


def test_entries_are_all_combinations():
    assert FSQ(6, levels=LEVELS).entries == 8 * 5 * 3


def test_indices_of_a_large_codebook_are_exact():
    bottleneck = FSQ(8, levels=[16, 16, 16, 16, 8, 8, 8, 8])  # 2^28 entries, beyond what float32 counts
    h = 3 * torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    trained, evaluated = bottleneck(h), bottleneck.eval()(h)
    assert torch.equal(trained.indices, evaluated.indices)
    assert torch.equal(trained.z, evaluated.z)
