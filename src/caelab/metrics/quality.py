"""PSNR and SSIM as functions of tensors: the one definition of each, which ``docs/definitions`` gives."""

import torch
import torch.nn.functional as F
from torch import Tensor

from caelab.data.scale import unit

PSNR_CAP = 100.0
"""PSNR in dB of a perfect image, which would be infinite; an MSE of 1e-10 or less counts as perfect."""

WINDOW = 11
SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2  # SSIM's constants K1 and K2, squared, at data range 1
_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
_NUMBERS = 1 << 21  # of a band of a large image
_CACHED = 1 << 17  # numbers at a time that leave SSIM's maps in a processor's cache: 1.4 to 2.5 times as fast


def psnr(mse: Tensor) -> Tensor:
    """PSNR in dB of a mean squared error, at peak 1 and capped: equation 1 of the report."""
    return (-10 * mse.log10()).clamp(max=PSNR_CAP)


def mse(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean squared error of each image, (N,) float64 on the device of ``x``.

    Args:
        x_hat: (N, C, H, W), floating point; clamped to [0, 1].
        x: of the same shape.

    Raises:
        ValueError: the two differ in shape, or are not floating point.
    """
    x_hat, x = unit_range(x_hat.to(x.device), x)
    return (x_hat - x).square().mean((1, 2, 3)).double()


def ssim(x_hat: Tensor, x: Tensor) -> Tensor:
    """Structural similarity of each image: equation 2 of the report under a Gaussian window.

    Window 11x11, sigma 1.5, population (co)variances, data range 1, averaged over the channels and the
    pixels whose whole window lies within the image. Agrees within 1e-4 with scikit-image's
    ``structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1)``.

    Args:
        x_hat: (N, C, H, W) in [0, 1], float32.
        x: of the same shape.

    Returns:
        (N,) float32, at most 1.

    Raises:
        ValueError: the images are smaller than the window.
    """
    require_window(x, WINDOW)
    count = len(x) if x.device.type != "cpu" else _CACHED // x.shape[1:].numel()
    pairs = zip(*(torch.split(images, max(1, count)) for images in (x_hat, x)), strict=True)
    return torch.cat([similarity(*pair)[0] for pair in pairs])


def similarity(x_hat: Tensor, x: Tensor, window: int = WINDOW) -> tuple[Tensor, Tensor]:
    """SSIM of each image (N, C, H, W) in [0, 1], and its part without the luminance, each (N,)."""
    # With d = x - x_hat, SSIM = (1 - mean(d)^2 / (mean(x)^2 + mean(x_hat)^2 + C1)) *
    # (1 - var(d) / (var(x) + var(x_hat) + C2)): what small differences say is not lost to rounding. Taking
    # the image's mean away first does the same for the variances.
    offset = x.mean((2, 3), keepdim=True)
    d, x, x_hat = x - x_hat, x - offset, x_hat - offset
    blurred = gaussian(torch.stack((x, d, x.square() + x_hat.square(), d.square())), window)
    mean_x, mean_d, mean_squares, mean_dd = blurred.unbind()
    mean_x_hat = mean_x - mean_d
    variances = mean_squares - mean_x.square() - mean_x_hat.square()
    variance_d = mean_dd - mean_d.square()
    luminance = mean_d.square() / ((mean_x + offset).square() + (mean_x_hat + offset).square() + C1)
    structure = variance_d / (variances + C2)
    whole: Tensor = (1 - luminance) * (1 - structure)  # (N, C, H - 10, W - 10)
    return whole.mean((1, 2, 3)), (1 - structure).mean((1, 2, 3))


def gaussian(images: Tensor, window: int = WINDOW) -> Tensor:
    """Blur (..., H, W) with SSIM's window where all of it fits: (..., H - 10, W - 10).

    Another window has the same form, its sigma in proportion.

    Sums of shifted images, not a convolution or a matrix product: as fast at this size, and out of reach of
    autocast and of TF32, whose ten bits would show in SSIM's second decimal place.
    """
    half, sigma = window // 2, SIGMA * window / WINDOW
    weights = torch.exp(-0.5 * (torch.arange(half + 1, dtype=torch.float64) / sigma) ** 2)
    centre, *wings = (weights / (2 * weights.sum() - weights[0])).tolist()
    for dim in (-2, -1):
        length = images.shape[dim] - 2 * half
        blurred = images.narrow(dim, half, length) * centre
        for shift, weight in enumerate(wings, start=1):
            pair = images.narrow(dim, half - shift, length) + images.narrow(dim, half + shift, length)
            blurred = blurred.add_(pair, alpha=weight)
        images = blurred
    return images


def yiq(x: Tensor) -> Tensor:
    """Luminance and colours (N, 3, H, W) of RGB images, by NTSC's matrix; grey ones (N, 1, H, W) stay.

    Raises:
        ValueError: they are neither.
    """
    if x.shape[1] not in (1, 3):
        raise ValueError(f"it takes grey or RGB images, got {x.shape[1]} channels")
    if x.shape[1] == 1:
        return x
    red, green, blue = x.unbind(1)  # sums, no matrix product: out of reach of autocast and of TF32
    return torch.stack([r * red + g * green + b * blue for r, g, b in _YIQ], 1)


def halved(x: Tensor) -> Tensor:
    """Means of 2x2 pixels of (N, C, H, W): half the size, rounded up, with zeros beyond an odd side."""
    return F.avg_pool2d(F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2)), 2)


def unit_range(x_hat: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return both as float32 clamped to [0, 1].

    Raises:
        ValueError: they are not two (N, C, H, W) of one shape, or not floating point.
    """
    if x_hat.shape != x.shape or x.ndim != 4:
        got = f"{tuple(x_hat.shape)} and {tuple(x.shape)}"
        raise ValueError(f"x_hat must have the (N, C, H, W) of x, got {got}")
    if not (x_hat.is_floating_point() and x.is_floating_point()):
        raise ValueError(f"x_hat and x must be floating point in [0, 1], got {x_hat.dtype} and {x.dtype}")
    return x_hat.detach().float().clamp(0, 1), x.detach().float().clamp(0, 1)


def require_window(x: Tensor, window: int) -> None:
    """Refuse images that SSIM's window does not fit into.

    Raises:
        ValueError: a side of ``x`` is below ``window``.
    """
    height, width = x.shape[-2:]
    if min(height, width) < window:
        raise ValueError(f"image_size must be at least {window} for SSIM, got {height}x{width}")


def of_one(x_hat: Tensor, x: Tensor) -> tuple[float, float | None]:
    """PSNR (dB) and SSIM of one image of any size, band by band, so that a large one needs little memory.

    Args:
        x_hat: (C, H, W), uint8 in [0, 255] or floating point in [0, 1].
        x: of the same shape.

    Returns:
        Both; None for SSIM where a side is below its window of 11.
    """
    channels, height, width = x.shape
    rows = max(1, _NUMBERS // (channels * width))
    windows = height - WINDOW + 1 if width >= WINDOW else 0  # rows of the image of similarities
    squares, total = 0.0, 0.0
    for top in range(0, height, rows):
        # with what the last rows' windows reach of the next band
        pair = [unit(image[None, :, top : top + rows + WINDOW - 1]) for image in (x_hat, x)]
        squares += (pair[0] - pair[1])[:, :, :rows].square().sum(dtype=torch.float64).item()
        if (here := min(rows, windows - top)) > 0:
            total += here * ssim(*pair).item()
    error = torch.tensor(squares / x.numel(), dtype=torch.float64)
    return psnr(error).item(), total / windows if windows > 0 else None
