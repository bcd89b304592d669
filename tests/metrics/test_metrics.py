"""PSNR and SSIM against scikit-image and NumPy, over any split into batches."""

import math

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from caelab.metrics.image_quality import ImageQuality, published_protocol
from caelab.metrics.measures.ms_ssim import ms_ssim, scales
from caelab.metrics.quality import psnr, ssim


def photos(side, colour):
    """Twelve crops of real photographs, (12, C, side, side) float64 in [0, 1]."""
    names = ["astronaut", "coffee", "chelsea"] if colour else ["camera", "coins", "brick"]
    crops = []
    for name in names:
        photo = getattr(skimage.data, name)()
        image = photo.reshape(*photo.shape[:2], -1).transpose(2, 0, 1) / 255
        crops += [image[:, top : top + side, 97 : 97 + side] for top in (0, 60, 120, 180)]
    return torch.from_numpy(np.stack(crops))


def noisy(x, amount, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (x + amount * torch.randn(x.shape, generator=generator, dtype=x.dtype)).clamp(0, 1)


def smooth(channels, height, width):
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    waves = [0.5 + 0.4 * torch.sin(3 * y + k * x) * torch.cos(x - k) for k in range(4 * channels)]
    return torch.stack(waves).view(4, channels, height, width).double()


def reference_ssim(x_hat, x):
    return [
        structural_similarity(
            a.numpy(),
            b.numpy(),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1,
            channel_axis=0,
        )
        for a, b in zip(x_hat.double(), x.double(), strict=True)
    ]


def reference_psnr(x_hat, x):
    return [
        peak_signal_noise_ratio(b.numpy(), a.numpy(), data_range=1) for a, b in zip(x_hat, x, strict=True)
    ]


def flat_pictures():
    """Black, white and grey pictures, where the variances are nothing but rounding errors."""
    return torch.tensor([0.0, 1.0, 0.5, 0.99]).double().view(4, 1, 1, 1).expand(4, 3, 20, 20).clone()


def random_pictures(channels, height, width):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(5, channels, height, width, generator=generator, dtype=torch.float64)


PICTURES = {
    "random grey": random_pictures(1, 28, 28),
    "random colour": random_pictures(3, 32, 32),
    "random odd": random_pictures(3, 37, 29),
    "one window": random_pictures(2, 11, 12),
    "smooth grey": smooth(1, 28, 28),
    "smooth odd": smooth(3, 29, 41),
    "real grey": photos(28, colour=False),
    "real colour": photos(32, colour=True),
    "real large": photos(96, colour=True),
    "flat": flat_pictures(),
}


@pytest.mark.parametrize("noise", [0.3, 0.05, 1e-3, 1e-4, 1e-5, 1e-6])
@pytest.mark.parametrize("name", PICTURES)
def test_ssim_is_that_of_scikit_image(name, noise):
    x = PICTURES[name].float()
    x_hat = noisy(x, noise)
    value = ssim(x_hat, x)
    assert value.dtype == torch.float32
    np.testing.assert_allclose(value.numpy(), reference_ssim(x_hat, x), atol=1e-5)


def test_ssim_of_unrelated_and_opposite_pictures_is_that_of_scikit_image():
    x = PICTURES["real colour"].float()
    for x_hat in (x.flip(0), 1 - x, torch.zeros_like(x), torch.full_like(x, 0.5)):
        np.testing.assert_allclose(ssim(x_hat, x).numpy(), reference_ssim(x_hat, x), atol=1e-5)


def test_ssim_does_not_care_how_many_images_come_at_once():
    x = torch.rand(100, 3, 32, 32, generator=torch.Generator().manual_seed(0))  # more than fit into a cache
    x_hat = x.roll(1, 0)
    alone = torch.cat([ssim(*pair) for pair in zip(x_hat.split(1), x.split(1), strict=True)])
    assert torch.equal(ssim(x_hat, x), alone)
    assert ssim(x[:0], x[:0]).shape == (0,)


def test_ssim_of_a_picture_with_itself_is_exactly_1():
    for x in PICTURES.values():
        assert (ssim(x.float(), x.float()) == 1).all()


def test_ssim_does_not_care_how_precisely_matrices_are_multiplied():
    x = PICTURES["real colour"].float()
    x_hat = noisy(x, 0.05)
    expected = ssim(x_hat, x)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            quality = ImageQuality()
            quality.update(x_hat, x)
    finally:
        torch.set_float32_matmul_precision("highest")
    torch.testing.assert_close(quality.per_image()["ssim"], expected.double(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("noise", [0.3, 0.05, 1e-3])
@pytest.mark.parametrize("name", PICTURES)
def test_averages_are_those_of_scikit_image_and_numpy(name, noise):
    x = PICTURES[name].float()
    x_hat = noisy(x, noise)
    quality = ImageQuality()
    quality.update(x_hat, x)
    result = quality.compute()
    a, b = x_hat.double().numpy(), x.double().numpy()
    mse = ((a - b) ** 2).mean((1, 2, 3))
    assert result == pytest.approx(
        {
            "psnr": np.mean(reference_psnr(x_hat.double(), x.double())),
            "psnr_pooled": 10 * np.log10(1 / mse.mean()),
            "ssim": np.mean(reference_ssim(x_hat, x)),
            "mse": mse.mean(),
            "l1": np.abs(a - b).mean(),
            "perfect": 0,
        },
        rel=1e-5,
        abs=1e-9,
    )


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 24), max_size=8))
def test_any_split_into_batches_gives_the_same(cuts):
    x = PICTURES["real colour"].repeat(2, 1, 1, 1).float()
    x_hat = torch.cat([noisy(x[:12], 0.1), noisy(x[12:], 0.01)])
    whole, parts = ImageQuality(), ImageQuality()
    whole.update(x_hat, x)
    edges = [0, *sorted(set(cuts) - {0, 24}), 24]
    for start, stop in zip(edges, edges[1:], strict=False):
        parts.update(x_hat[start:stop], x[start:stop])
    assert parts.compute() == pytest.approx(whole.compute(), rel=1e-6)
    for name, values in whole.per_image().items():
        torch.testing.assert_close(parts.per_image()[name], values, rtol=1e-6, atol=1e-9)


def test_per_image_psnr_and_pooled_psnr_are_two_figures():
    x = torch.full((2, 1, 16, 16), 0.5)
    x_hat = x + torch.tensor([0.1, 0.01]).view(2, 1, 1, 1)
    quality = ImageQuality()
    quality.update(x_hat, x)
    result = quality.compute()
    assert quality.per_image()["psnr"].tolist() == pytest.approx([20, 40], abs=1e-4)
    assert result["psnr"] == pytest.approx(30, abs=1e-4)
    assert result["psnr_pooled"] == pytest.approx(10 * math.log10(1 / 0.00505), abs=1e-4)


def test_images_are_clamped_before_they_are_compared():
    x = torch.rand(2, 1, 16, 16)
    quality = ImageQuality()
    quality.update(x + 2, torch.ones_like(x))
    quality.update(x - 2, torch.zeros_like(x))
    assert quality.compute() == {"psnr": 100, "psnr_pooled": 100, "ssim": 1, "mse": 0, "l1": 0, "perfect": 4}


def test_perfect_images_are_capped_and_counted():
    x = torch.full((3, 1, 16, 16), 0.5)
    x_hat = x + torch.tensor([0.0, 9e-6, 1e-2]).view(3, 1, 1, 1)
    quality = ImageQuality()
    quality.update(x_hat, x)
    result = quality.compute()
    assert result["perfect"] == 2
    assert result["psnr"] == pytest.approx((100 + 100 + 40) / 3, abs=1e-3)
    assert result["psnr_pooled"] == pytest.approx(40 + 10 * math.log10(3), abs=1e-3)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.bfloat16, 1e-2), (torch.float16, 1e-2)]
)
def test_any_floating_point_is_compared_in_float32(dtype, tolerance):
    x = PICTURES["real colour"]
    x_hat = noisy(x, 0.1)
    low, high = ImageQuality(), ImageQuality()
    low.update(x_hat.to(dtype), x.to(dtype))
    high.update(x_hat.to(dtype).float(), x.to(dtype).float())
    assert low.compute() == high.compute()
    exact = np.mean(reference_psnr(x_hat, x))
    assert low.compute()["psnr"] == pytest.approx(exact, rel=tolerance)


def test_a_reconstruction_that_is_no_number_is_not_a_good_one():
    quality = ImageQuality()
    quality.update(torch.full((1, 1, 16, 16), math.nan), torch.rand(1, 1, 16, 16))
    result = quality.compute()
    assert result["perfect"] == 0
    assert math.isnan(result["psnr"])
    assert math.isnan(result["ssim"])


def test_reset_forgets():
    x = PICTURES["real colour"].float()
    quality = ImageQuality()
    quality.update(x, x)
    quality.reset()
    quality.update(noisy(x, 0.1), x)
    assert quality.per_image()["psnr"].shape == (12,)
    assert quality.compute()["perfect"] == 0


def test_two_processes_together_measure_what_one_does():
    x = PICTURES["real colour"].float()
    x_hat = noisy(x, 0.1)
    whole, there = ImageQuality(), ImageQuality()
    whole.update(x_hat, x)
    there.update(x_hat[5:], x[5:])
    states = iter([torch.cat(there.mse), torch.cat(there.l1), torch.cat(there.ssim)])
    here = ImageQuality(
        dist_sync_fn=lambda value, group: [value, next(states)], distributed_available_fn=lambda: True
    )
    here.update(x_hat[:5], x[:5])
    assert here.compute() == pytest.approx(whole.compute(), rel=1e-6)
    assert here.per_image()["psnr"].shape == (5,)


def published_reference(x_hat, x):
    grey = x.shape[1] == 1
    values = []
    for a, b in zip(x_hat.double().numpy(), x.double().numpy(), strict=True):
        options = {"win_size": 11} if grey else {"win_size": 7, "channel_axis": -1}
        a, b = (i[0] if grey else i.transpose(1, 2, 0) for i in (a, b))
        values.append(structural_similarity(b, a, data_range=b.max() - b.min(), **options))
    return np.mean(values)


@pytest.mark.parametrize("name", ["random grey", "random colour", "real grey", "real colour", "smooth odd"])
def test_published_protocol_is_scikit_image_with_its_defaults(name):
    x = PICTURES[name].float()
    x_hat = noisy(x, 0.1)
    result = published_protocol(x_hat, x)
    assert result == pytest.approx(
        {
            "psnr": np.mean(reference_psnr(x_hat.double(), x.double())),
            "ssim": published_reference(x_hat, x),
        },
        rel=1e-6,
    )


def test_the_two_protocols_measure_two_things():
    x = PICTURES["real colour"].float()
    x_hat = noisy(x, 0.1)
    assert abs(published_protocol(x_hat, x)["ssim"] - ssim(x_hat, x).mean().item()) > 0.01


def test_published_protocol_gives_an_image_without_range_the_range_1():
    x = torch.full((1, 1, 28, 28), 0.5)
    x_hat = noisy(x, 0.1)
    expected = structural_similarity(
        x[0, 0].double().numpy(), x_hat[0, 0].double().numpy(), win_size=11, data_range=1
    )
    assert published_protocol(x_hat, x)["ssim"] == pytest.approx(expected, rel=1e-6)
    assert published_protocol(x, x) == {"psnr": 100, "ssim": 1}


@pytest.mark.parametrize("measure", [ImageQuality().update, published_protocol])
def test_what_cannot_be_compared_is_refused(measure):
    x = torch.rand(2, 1, 16, 16)
    with pytest.raises(ValueError, match=r"^x_hat must have the \(N, C, H, W\) of x, got \(1, 1, 16, 16\)"):
        measure(x[:1], x)
    with pytest.raises(ValueError, match=r"^x_hat must have the \(N, C, H, W\) of x, got \(1, 16, 16\)"):
        measure(x[0], x[0])
    with pytest.raises(
        ValueError, match=r"^x_hat and x must be floating point in \[0, 1\], got torch.float32"
    ):
        measure(x, x.mul(255).byte())
    with pytest.raises(ValueError, match="^image_size must be at least 11 for SSIM, got 16x10$"):
        measure(x[..., :10], x[..., :10])


@pytest.mark.parametrize(
    ("mse", "decibels"), [(1.0, 0), (0.1, 10), (0.025, 16.0206), (1e-10, 100), (0.0, 100)]
)
def test_psnr_in_closed_form(mse, decibels):
    assert psnr(torch.tensor(mse, dtype=torch.float64)).item() == pytest.approx(decibels, abs=1e-4)


SCALES = {176: (5, 11), 88: (4, 11), 87: (3, 11), 44: (3, 11), 43: (3, 7), 28: (3, 7), 27: (2, 7), 7: (1, 7)}


@pytest.mark.parametrize(("side", "expected"), SCALES.items())
def test_small_images_have_fewer_scales(side, expected):
    assert scales(side) == expected
    x = torch.rand(2, 1, side, side + 3, generator=torch.Generator().manual_seed(0))
    assert ms_ssim(x, x).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert all(0 <= value < 0.5 for value in ms_ssim(x, x.flip(0)).tolist())


def test_images_below_the_smallest_window_have_no_scale():
    with pytest.raises(ValueError, match=r"^image_size must be at least 7 for MS-SSIM, got 6"):
        scales(6)
