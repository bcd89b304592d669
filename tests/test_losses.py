"""Every loss against its formula in NumPy, and finite where images are exactly black or white."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scipy import signal
from torch import nn

from caelab import losses
from caelab.losses import WeightedSum

CONF = Path(__file__).parents[1] / "conf" / "loss"
PERCEPTUAL = {"lpips", "dists"}  # which need weights: tests/metrics/test_perceptual.py
NAMES = sorted({path.stem for path in CONF.glob("*.yaml")} - PERCEPTUAL)


def l1(x_hat, x):
    return np.mean(np.abs(x_hat - x))


def mse(x_hat, x):
    return np.mean((x_hat - x) ** 2)


def bce(x_hat, x):
    return -np.mean(x * np.log(x_hat) + (1 - x) * np.log(1 - x_hat))


def ssim(x_hat, x, window=11):
    """Similarity and contrast of images (N, C, H, W) over the windows that fit, each (N,)."""
    places = np.arange(window) - window // 2
    weights = np.exp(-0.5 * (places / (1.5 * window / 11)) ** 2)
    kernel = np.outer(weights, weights)[None, None] / weights.sum() ** 2

    def blurred(images):
        return signal.convolve(images, kernel, mode="valid")

    m, n = blurred(x_hat), blurred(x)
    variances = blurred(x_hat**2) - m**2 + blurred(x**2) - n**2
    contrast = (2 * (blurred(x_hat * x) - m * n) + 0.03**2) / (variances + 0.03**2)
    luminance = (2 * m * n + 0.01**2) / (m**2 + n**2 + 0.01**2)
    return (luminance * contrast).mean((1, 2, 3)), contrast.mean((1, 2, 3))


def halved(x):
    return x.reshape(*x.shape[:2], x.shape[2] // 2, 2, -1, 2).mean((3, 5))


def ms_ssim(x_hat, x):
    """Three scales and a window of 7, as images of 32 pixels have them."""
    betas = np.array([0.0448, 0.2856, 0.3001]) / (0.0448 + 0.2856 + 0.3001)
    product = np.ones(len(x))
    for scale, beta in enumerate(betas):
        similarity, contrast = ssim(x_hat, x, 7)
        product *= np.maximum(similarity if scale == 2 else contrast, 0) ** beta
        x_hat, x = (halved(one) for one in (x_hat, x))
    return np.mean(product)


FORMULAS = {
    "charbonnier": lambda x_hat, x: np.mean(np.sqrt((x_hat - x) ** 2 + 1e-6)),
    "ssim": lambda x_hat, x: 1 - ssim(x_hat, x)[0].mean(),
    "ms_ssim": lambda x_hat, x: 1 - ms_ssim(x_hat, x),
    "l1_ms_ssim": lambda x_hat, x: 0.84 * (1 - ms_ssim(x_hat, x)) + 0.16 * l1(x_hat, x),
    "mse": mse,
    "l1": l1,
    "bce": bce,
    "l1_mse": lambda x_hat, x: 0.1 * l1(x_hat, x) + mse(x_hat, x),
    "l1_bce": lambda x_hat, x: 0.1 * l1(x_hat, x) + bce(x_hat, x),
}


def load(name, **overrides):
    return instantiate(OmegaConf.load(CONF / f"{name}.yaml"), **overrides)


def images(dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    x_hat, noise = torch.rand(2, 4, 3, 32, 32, generator=generator, dtype=torch.float64) * 0.98 + 0.01
    return x_hat.to(dtype), (0.6 * x_hat + 0.4 * noise).to(dtype)


def test_each_yaml_has_its_formula_here():
    assert sorted(FORMULAS) == NAMES


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("name", NAMES)
def test_value_is_that_of_the_formula(name, dtype, tolerance):
    x_hat, x = images(dtype)
    value = load(name)(x_hat, x)
    assert value.shape == ()
    assert value.dtype == dtype
    expected = FORMULAS[name](x_hat.double().numpy(), x.double().numpy())
    assert value.item() == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize(("alpha", "beta"), [(0.1, 1), (0.5, 1), (0, 2), (3, 0), (1e-3, 1e3)])
@pytest.mark.parametrize(("name", "first", "second"), [("l1_mse", l1, mse), ("l1_bce", l1, bce)])
def test_weights_weigh_their_own_part(name, first, second, alpha, beta):
    x_hat, x = images()
    value = load(name, alpha=alpha, beta=beta)(x_hat, x).item()
    a, b = x_hat.numpy(), x.numpy()
    assert value == pytest.approx(alpha * first(a, b) + beta * second(a, b), rel=1e-12)


def test_sums_nest():
    x_hat, x = images()
    inner = WeightedSum(nn.L1Loss(), nn.MSELoss(), 0.3, 0.7)
    value = WeightedSum(inner, nn.BCELoss(), 2, 0.5)(x_hat, x).item()
    a, b = x_hat.numpy(), x.numpy()
    assert value == pytest.approx(2 * (0.3 * l1(a, b) + 0.7 * mse(a, b)) + 0.5 * bce(a, b), rel=1e-12)


def test_the_names_are_different_losses():
    x_hat, x = images()
    values = [load(name)(x_hat, x).item() for name in NAMES]
    assert len({round(value, 6) for value in values}) == len(NAMES)


@pytest.mark.parametrize(
    ("name", "derivative"),
    [
        ("l1", lambda p, t: np.sign(p - t)),
        ("mse", lambda p, t: 2 * (p - t)),
        ("bce", lambda p, t: (p - t) / (p * (1 - p))),
        ("l1_mse", lambda p, t: 0.1 * np.sign(p - t) + 2 * (p - t)),
        ("l1_bce", lambda p, t: 0.1 * np.sign(p - t) + (p - t) / (p * (1 - p))),
    ],
)
def test_gradient_is_that_of_the_formula(name, derivative):
    x_hat, x = images()
    x_hat.requires_grad_()
    load(name)(x_hat, x).backward()
    expected = derivative(x_hat.detach().numpy(), x.numpy()) / x.numel()
    np.testing.assert_allclose(x_hat.grad.numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("epsilon", [0, -1.0, math.inf, True])
def test_an_epsilon_that_cannot_be_is_named(epsilon):
    with pytest.raises(ValueError, match=r"^epsilon must be a finite number above 0, got "):
        losses.Charbonnier(epsilon)


@pytest.mark.parametrize("name", NAMES)
def test_black_and_white_give_a_finite_value_and_gradient(name):
    x_hat = torch.tensor([0.0, 0.0, 1.0, 1.0, 0.0, 1.0]).repeat(1, 1, 36, 6).requires_grad_()
    x = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.5, 0.5]).repeat(1, 1, 36, 6)
    value = load(name)(x_hat, x)
    value.backward()
    assert 0 < value.item() <= 100.1
    assert x_hat.grad.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_a_bfloat16_network_trains_with_a_float32_loss(name):
    torch.manual_seed(0)
    layer = nn.Linear(6 * 144, 6 * 144)
    x = torch.tensor([0.0, 1.0, 0.5, 0.25, 1.0, 0.0]).repeat(4, 144)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = layer(x * 1e3)
    assert logits.dtype == torch.bfloat16
    x_hat = logits.float().sigmoid()
    x_hat, x = (images.view(4, 1, 24, 36) for images in (x_hat, x))
    value = load(name)(x_hat, x)
    value.backward()
    expected = load(name)(x_hat.detach().double(), x.double()).item()
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected, rel=1e-5)
    assert layer.weight.grad.isfinite().all()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"alpha": -0.1}, "alpha must be finite and at least 0, got -0.1"),
        ({"beta": float("nan")}, "beta must be finite and at least 0, got nan"),
        ({"beta": float("inf")}, "beta must be finite and at least 0, got inf"),
        ({"alpha": "abc"}, "alpha must be a number, got 'abc'"),
        ({"alpha": True}, "alpha must be a number, got True"),
        ({"alpha": 0, "beta": 0}, "alpha must be above 0 if beta is 0"),
    ],
)
def test_a_weight_that_cannot_be_is_named(weights, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        WeightedSum(nn.L1Loss(), nn.MSELoss(), **{"alpha": 0.1, "beta": 1, **weights})
