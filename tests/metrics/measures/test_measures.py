"""The measures against a second library or NumPy, and what is found by a name."""

import subprocess
import sys

import numpy as np
import piq
import pytest
import skimage.data
import torch

from caelab.metrics.image_quality import ImageQuality
from caelab.metrics.measures import ALWAYS, asked, measures

PEER = {"gmsd": piq.gmsd, "haarpsi": piq.haarpsi, "ms_ssim": piq.multi_scale_ssim}
SIZES = [(28, 28), (32, 32), (33, 40), (29, 17), (96, 61)]
PERCEPTUAL = {"lpips", "dists"}  # which need weights: test_perceptual.py
NAMES = sorted(measures().keys() - PERCEPTUAL)


def crop(channels, height, width):
    """Four crops of a photograph, (4, C, H, W) float32 in [0, 1]."""
    photo = torch.from_numpy(skimage.data.astronaut() / 255.0).movedim(-1, 0).float()
    photo = photo if channels == 3 else photo.mean(0, keepdim=True)
    return torch.stack([photo[:, top : top + height, 97 : 97 + width] for top in (0, 60, 120, 180)])


def noisy(x, amount=0.2):
    generator = torch.Generator().manual_seed(0)
    return (x + amount * torch.randn(x.shape, generator=generator)).clamp(0, 1)


def faint(x):
    return noisy(x, 0.01)


def blurred(x):
    return torch.nn.functional.avg_pool2d(x, 5, 1, padding=2, count_include_pad=False)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["gmsd", "haarpsi"])
def test_it_is_what_a_second_library_measures(name, channels, size):
    x = crop(channels, *size)
    for change in (noisy, faint, blurred, torch.zeros_like):
        found = measures()[name].of(change(x), x)
        assert found.shape == (4,)
        assert found.dtype == torch.float32
        expected = PEER[name](change(x), x, reduction="none")
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("change", [noisy, faint, blurred])
def test_ms_ssim_is_what_a_second_library_measures_of_grey_images(change):
    """Which raises each channel to the weights for itself, where ours takes their mean before."""
    x = crop(1, 192, 176)
    found = measures()["ms_ssim"].of(change(x), x)
    torch.testing.assert_close(found, PEER["ms_ssim"](change(x), x, reduction="none"), atol=1e-4, rtol=0)


def energy(x):
    x = x.double().numpy()
    parts = [np.square(np.diff(x, axis=axis)).mean((1, 2, 3)) for axis in (2, 3)]
    return parts[0] + parts[1] + 1 / 255**2


@pytest.mark.parametrize("change", [noisy, blurred])
def test_sharpness_is_that_of_numpy(change):
    x = crop(3, 32, 28)
    found = measures()["sharpness"].of(change(x), x).numpy()
    np.testing.assert_allclose(found, energy(change(x)) / energy(x), rtol=1e-5)


def test_blur_is_not_sharp_and_noise_is_more_than_sharp():
    x = crop(3, 32, 32)
    sharpness = measures()["sharpness"].of
    assert (sharpness(blurred(x), x) < 0.5).all()
    assert (sharpness(noisy(x), x) > 1.5).all()


@pytest.mark.parametrize("name", NAMES)
def test_an_image_and_itself_have_the_best_value_also_where_it_is_flat(name):
    flat = torch.tensor([0.0, 1.0, 0.5]).view(3, 1, 1, 1).expand(3, 3, 32, 32)
    of, best = measures()[name].of, 0.0 if measures()[name].higher is False else 1.0
    for x in (crop(3, 32, 32), flat):
        assert of(x, x).tolist() == pytest.approx([best] * len(x), abs=1e-5)
    values = torch.cat([of(crop(3, 32, 32).flip(0), crop(3, 32, 32)), of(flat.flip(0), flat)])
    low, high = measures()[name].bounds
    assert values.isfinite().all()
    assert (low <= values.min()).all()
    assert (values.max() <= high).all()


@pytest.mark.parametrize("name", [name for name in NAMES if measures()[name].higher is not None])
def test_more_noise_is_worse(name):
    x = crop(3, 48, 48)
    faint_, strong = (measures()[name].of(noisy(x, amount), x).mean() for amount in (0.02, 0.3))
    assert (faint_ > strong) == measures()[name].higher


@pytest.mark.parametrize("name", NAMES)
def test_it_is_measured_image_by_image_whatever_surrounds_it(name):
    x = crop(3, 32, 32)
    x_hat = noisy(x)
    expected = torch.cat(
        [measures()[name].of(*pair) for pair in zip(x_hat.split(1), x.split(1), strict=True)]
    )
    quality = ImageQuality(asked([name]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        quality.update(x_hat[:3], x[:3])
    quality.update(x_hat[3:], x[3:])
    torch.testing.assert_close(quality.per_image()[name].float(), expected, atol=1e-6, rtol=0)
    assert quality.compute()[name] == pytest.approx(expected.double().mean().item(), abs=1e-6)


@pytest.mark.parametrize("name", ["gmsd", "haarpsi"])
def test_other_channels_than_those_of_grey_and_rgb_are_refused(name):
    with pytest.raises(ValueError, match="grey or RGB images, got 2 channels"):
        measures()[name].of(torch.zeros(1, 2, 32, 32), torch.zeros(1, 2, 32, 32))


def test_images_that_the_widest_wavelet_does_not_fit_into_are_refused():
    with pytest.raises(ValueError, match="^image_size must be at least 16 for HaarPSI, got 15$"):
        measures()["haarpsi"].of(torch.zeros(1, 1, 15, 40), torch.zeros(1, 1, 15, 40))


def test_what_is_always_measured_is_none_of_the_further_ones():
    assert asked(["psnr", "ssim"]) == {}
    assert list(asked(["haarpsi", "psnr", "gmsd", "gmsd"])) == ["gmsd", "haarpsi"]
    assert not ALWAYS.keys() & measures().keys()
    with pytest.raises(ValueError, match=r"^there is no measure 'harpsi'; did you mean 'haarpsi'\?$"):
        asked(["psnr", "harpsi"])


def test_a_list_of_measures_needs_no_torch():
    code = (
        "import sys, caelab.runs.columns as c; print(c.COLUMNS['gmsd'].path, c.COLUMNS['val_gmsd'].path, "
        "[m for m in ('torch', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "test/gmsd val/gmsd []\n"
