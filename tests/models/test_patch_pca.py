"""Patch PCA: that of another library on patches cut by hand, and pictures of odd sizes."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from caelab.models.patch_pca import PatchPCA, joined, patches


def pictures(count=20, shape=(3, 8, 12), seed=0):
    rng = np.random.default_rng(seed)
    smooth = rng.normal(size=(count, *shape)).cumsum(2).cumsum(3)
    return torch.from_numpy((127 + 8 * smooth).clip(0, 255).astype(np.uint8))


def by_hand(images, factor):
    """Patches, row by row, cut by loops; a patch's numbers in the order (C, row, column)."""
    return np.stack(
        [
            [
                image[:, y : y + factor, x : x + factor].flatten()
                for y in range(0, image.shape[1], factor)
                for x in range(0, image.shape[2], factor)
            ]
            for image in images.numpy()
        ]
    )


def test_patches_are_squares_in_order_and_come_together_again():
    images = pictures(3).float()
    assert np.array_equal(patches(images, 4), by_hand(images, 4))
    assert torch.equal(joined(patches(images, 4), (3, 8, 12), 4), images)


@pytest.mark.parametrize("shape", [(1, 7, 9), (3, 5, 4)])
def test_odd_sides_are_continued_and_cut(shape):
    images = pictures(2, shape).float()
    parts = patches(images, 4)
    assert parts.shape == (2, -(-shape[1] // 4) * -(-shape[2] // 4), shape[0] * 16)
    assert torch.equal(joined(parts, shape, 4), images)
    last = parts[:, -1].reshape(2, shape[0], 4, 4)
    assert torch.equal(last[..., -1, -1], images[..., -1, -1])


def test_it_is_the_pca_of_all_patches():
    images = pictures()
    net = PatchPCA((3, 8, 12), latent_channels=5, factor=4)
    net.initialise(images)
    cut = by_hand(images, 4) / 255
    fitted = PCA(5).fit(cut.reshape(-1, 48))
    code = net.encode(images / 255)
    assert code.z.shape == (20, net.latent) == (20, 6 * 5)
    expected = fitted.transform(cut.reshape(-1, 48)).reshape(20, 30)
    assert code.z.abs().numpy() == pytest.approx(np.abs(expected), abs=1e-4)
    rebuilt = fitted.inverse_transform(expected.reshape(-1, 5)).reshape(20, 6, 48)
    whole = joined(torch.from_numpy(rebuilt).float(), (3, 8, 12), 4).clamp(0, 1)
    torch.testing.assert_close(net.decode(code), whole, rtol=0, atol=1e-5)


def test_with_all_components_nothing_is_lost():
    images = pictures()
    net = PatchPCA((3, 8, 12), latent_channels=48, factor=4)
    net.initialise(images)
    torch.testing.assert_close(net(images / 255), images / 255, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"factor": 0}, "factor must be at least 1, got 0"),
        ({"latent_channels": 49}, "latent_channels must be at most 48, the numbers in a patch, got 49"),
        ({"latent_channels": 0}, "latent_channels must be at least 1, got 0"),
    ],
)
def test_mistakes(words, message):
    with pytest.raises(ValueError, match=message):
        PatchPCA((3, 8, 12), **{"factor": 4} | words)
