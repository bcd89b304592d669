"""PSNR and SSIM of single images of any size, errors of batches; SSIM of batches is in test_metrics.py."""

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from caelab.metrics import quality


def pair(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    noise = torch.randint(-20, 21, shape, generator=generator)
    return (x + noise).clamp(0, 255).to(torch.uint8), x


@pytest.mark.parametrize("shape", [(3, 70, 50), (1, 11, 11), (3, 33, 90), (1, 64, 12)])
@pytest.mark.parametrize("numbers", [1, 1_000, 1 << 21])
def test_bands_give_what_scikit_image_gives_of_the_whole(shape, numbers, monkeypatch):
    monkeypatch.setattr(quality, "_NUMBERS", numbers)
    x_hat, x = pair(shape)
    psnr, ssim = quality.of_one(x_hat, x)
    whole = [one.movedim(0, -1).double().numpy() / 255 for one in (x, x_hat)]
    assert psnr == pytest.approx(peak_signal_noise_ratio(*whole, data_range=1), abs=1e-4)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    assert ssim == pytest.approx(structural_similarity(*whole, channel_axis=-1, **options), abs=1e-4)
    floats = quality.of_one(x_hat.float() / 255, x.float() / 255)
    assert floats == pytest.approx((psnr, ssim), abs=1e-6)


@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 10, 40), (3, 40, 10)])
def test_an_image_below_the_window_has_no_ssim(shape):
    x_hat, x = pair(shape)
    mse = np.square(x_hat.numpy() / 255 - x.numpy() / 255).mean()
    assert quality.of_one(x_hat, x) == (pytest.approx(-10 * np.log10(mse), abs=1e-4), None)
    assert quality.of_one(x, x) == (100.0, None)


def test_errors_of_a_batch_are_those_of_numpy_on_clamped_images():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(4, 3, 5, 6, generator=generator)
    x_hat = x + 0.5 * torch.randn(4, 3, 5, 6, generator=generator)
    expected = np.square(x_hat.numpy().astype(np.float64).clip(0, 1) - x.numpy()).mean((1, 2, 3))
    found = quality.mse(x_hat, x)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_errors_of_other_shapes_and_of_bytes_are_refused():
    x = torch.rand(4, 3, 5, 6)
    with pytest.raises(ValueError, match=r"got \(4, 3, 5, 5\) and \(4, 3, 5, 6\)"):
        quality.mse(x[..., :5], x)
    with pytest.raises(ValueError, match="got torch.uint8 and torch.float32"):
        quality.mse(x.byte(), x)
