"""Each augmentation against another way to compute it, and that its randomness belongs to the image alone."""

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms.v2 import functional

from caelab.augmentations import Colour, CropShift, Flip, Trivial
from caelab.draws import keys, uniform

EVERY = [Flip(), CropShift(4), Colour(0.3, 0.4, 0.5), Trivial()]


def images(n=64, channels=3, height=20, width=28):
    return torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("augmentation", EVERY, ids=lambda one: type(one).__name__)
def test_what_becomes_of_an_image_depends_on_its_key_alone(augmentation):
    x, key = images(12), keys(torch.arange(12), 0, 3)
    before, state = x.clone(), torch.get_rng_state()
    whole = augmentation(x, key)
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)
    order = torch.tensor([7, 2, 11])
    torch.manual_seed(5)
    assert torch.equal(augmentation(x[order], key[order]), whole[order])
    other = augmentation(x, keys(torch.arange(12), 0, 4))
    assert not torch.equal(other, whole)
    assert whole.shape == x.shape
    assert 0 <= whole.min() <= whole.max() <= 1


def test_flip_mirrors_half_of_the_images():
    x = images(400, 1, 4, 6)
    found = Flip()(x, keys(torch.arange(400), 0))
    mirrored = (found == torch.from_numpy(x.numpy()[..., ::-1].copy())).flatten(1).all(1)
    assert torch.equal(mirrored, ~(found == x).flatten(1).all(1))
    assert stats.binomtest(int(mirrored.sum()), 400, 0.5).pvalue > 1e-3


def test_crop_shift_is_a_crop_of_the_padded_image_and_every_shift_is_as_likely():
    x = images(2000, 2, 7, 6)
    found = CropShift(2)(x, keys(torch.arange(2000), 0)).numpy()
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    counts = np.zeros((5, 5), int)
    for image, whole in zip(found, padded, strict=True):
        at = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if np.array_equal(whole[:, top : top + 7, left : left + 6], image)
        ]
        assert len(at) == 1
        counts[at[0]] += 1
    assert stats.chisquare(counts.flatten()).pvalue > 1e-3


@pytest.mark.parametrize("channels", [1, 3])
def test_colour_is_torchvisions_with_factors_of_each_image(channels):
    x, key = images(20, channels), keys(torch.arange(20), 0)
    found = Colour(0.3, 0.4, 0.5)(x, key)
    draws = uniform(key, 3)
    for image, drawn, changed in zip(x, draws, found, strict=True):
        brightness, contrast, saturation = (
            1 + a * (2 * float(u) - 1) for a, u in zip((0.3, 0.4, 0.5), drawn, strict=True)
        )
        expected = functional.adjust_brightness(image, brightness)
        expected = functional.adjust_contrast(expected, contrast)
        if channels == 3:
            expected = functional.adjust_saturation(expected, saturation)
        assert torch.allclose(
            changed, expected, atol=2e-3
        )  # torchvision rounds its luma: 0.2989, 0.587, 0.114


def test_colour_of_nothing_changes_nothing_and_bands_have_no_saturation():
    x, key = images(6, 5), keys(torch.arange(6), 0)
    assert torch.allclose(Colour(0, 0, 0)(x, key), x, atol=1e-6)
    assert torch.equal(Colour(0.2, 0.2, 1.0)(x, key), Colour(0.2, 0.2, 0.0)(x, key))


def test_trivial_makes_each_of_its_changes():
    x = images(1, 3, 16, 16).expand(400, -1, -1, -1)
    found = Trivial()(x, keys(torch.arange(400), 0))
    same = (found == (255 * x).round() / 255).flatten(1).all(1)
    assert 400 / 14 * 0.4 < same.sum() < 400 / 14 * 3  # the identity, and strengths of zero
    assert len(found.flatten(1).unique(dim=0)) > 150


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CropShift(0), "pixels must be a whole number, at least 1, got 0"),
        (lambda: CropShift(6)(images(2, 1, 6, 9), keys(torch.arange(2), 0)), "pixels must be below 6"),
        (lambda: Colour(1.5, 0, 0), "brightness must be a number from 0 to 1, got 1.5"),
        (lambda: Trivial()(images(2, 5), keys(torch.arange(2), 0)), "1 or 3 channels, not of 5"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
