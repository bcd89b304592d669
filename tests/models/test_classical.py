"""What image processing does without training, against the libraries that do it."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from caelab.models.classical import Classical


def noisy():
    drawn = np.random.default_rng(0)
    clean = np.zeros((2, 3, 24, 24), np.float32)
    clean[:, :, 6:18, 6:18] = 0.8
    return torch.from_numpy(clean), torch.from_numpy(
        clean + drawn.normal(0, 0.1, clean.shape).astype(np.float32)
    )


def test_none_gives_back_what_it_gets_within_range():
    _, x = noisy()
    assert torch.equal(Classical((3, 24, 24), "none").reconstruct(x), x.clamp(0, 1))


def test_median_is_that_of_each_channel():
    _, x = noisy()
    expected = [[ndimage.median_filter(c, 3) for c in image] for image in x.numpy()]
    found = Classical((3, 24, 24), "median").reconstruct(x)
    np.testing.assert_allclose(found.numpy(), np.clip(expected, 0, 1))


@pytest.mark.parametrize("channels", [1, 3])
def test_non_local_means_takes_noise_away(channels):
    clean, x = (images[:, :channels] for images in noisy())
    found = Classical((channels, 24, 24), "non_local_means", 0.1).reconstruct(x)
    assert (found - clean).square().mean() < 0.5 * (x.clamp(0, 1) - clean).square().mean()
    flat = torch.full((1, channels, 24, 24), 0.5)
    torch.testing.assert_close(Classical((channels, 24, 24), "non_local_means").reconstruct(flat), flat)


def test_the_code_is_the_image():
    _, x = noisy()
    net = Classical((3, 24, 24), "none")
    assert net.encode(x).numbers == 3 * 24 * 24
    assert net.size == 0
    with pytest.raises(
        ValueError, match="filter must be one of none, median, non_local_means, got 'sharpen'"
    ):
        Classical((3, 24, 24), "sharpen")
    with pytest.raises(ValueError, match="noise must be a number above 0, got 0"):
        Classical((3, 24, 24), "non_local_means", 0)
