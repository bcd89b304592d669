"""HaarPSI: Reisenhofer et al., "A Haar Wavelet-Based Perceptual Similarity Index" (2018)."""

import math
from typing import TYPE_CHECKING

from caelab.metrics.measures import Measure

if TYPE_CHECKING:
    from torch import Tensor

_C, _ALPHA = 30.0, 4.2  # the paper's constants, for pixels in [0, 255]
_LEAST = 16  # pixels a side: the widest wavelet has 8 of an image of half the size


def haarpsi(x_hat: "Tensor", x: "Tensor") -> "Tensor":
    """Haar wavelet-based perceptual similarity of each image, with the paper's constants.

    Local similarities of the two finer scales of the luminance, in two directions, and of the colours, each
    weighed by the coarsest scale; of images at half the size, with zeros around them, as in the authors'
    program. Where that scale is empty in both images, they have nothing to tell apart, and get 1.

    Args:
        x_hat: (N, C, H, W) in [0, 1], float32, grey or RGB.
        x: of the same shape.

    Returns:
        (N,) float32 in [0, 1].

    Raises:
        ValueError: the images are neither grey nor RGB, or have a side below 16.
    """
    import torch
    from torch.nn.functional import avg_pool2d, pad

    from caelab.metrics.quality import halved, yiq

    if min(x.shape[-2:]) < _LEAST:
        raise ValueError(f"image_size must be at least {_LEAST} for HaarPSI, got {min(x.shape[-2:])}")
    pair = [halved(yiq(255 * images)) for images in (x_hat, x)]
    similarities, weights = [], []
    for turned in (False, True):
        fine, middle, coarse = ([_haar(images[:, 0], size, turned) for images in pair] for size in (2, 4, 8))
        similarities.append((_similar(*fine) + _similar(*middle)) / 2)
        weights.append(torch.maximum(*coarse))
    if pair[0].shape[1] == 3:
        i, q = (
            [avg_pool2d(pad(images[:, channel], (0, 1, 0, 1)), 2, 1).abs() for images in pair]
            for channel in (1, 2)
        )
        similarities.append((_similar(*i) + _similar(*q)) / 2)
        weights.append((weights[0] + weights[1]) / 2)
    weight = torch.stack(weights, 1)
    local = (_ALPHA * torch.stack(similarities, 1)).sigmoid()  # (N, 2 or 3, H / 2, W / 2)
    total = weight.sum((1, 2, 3))
    mean = (local * weight).sum((1, 2, 3)) / total.clamp(min=1e-12)
    most = 1 / (1 + math.exp(-_ALPHA))
    return (torch.where(total > 0, mean, most).logit() / _ALPHA).square().clamp(max=1)


def _haar(y: "Tensor", size: int, turned: bool) -> "Tensor":
    """Magnitude of the coefficients of Haar's wavelet of that size, images and result (N, H, W)."""
    from torch.nn.functional import avg_pool2d, pad

    y = y.mT if turned else y
    half = size // 2
    means = avg_pool2d(pad(y, (half - 1, half, half - 1, half)), (half, size), 1)
    coefficients = half * (means[:, half:] - means[:, :-half]).abs()
    return coefficients.mT if turned else coefficients


def _similar(a: "Tensor", b: "Tensor") -> "Tensor":
    return (2 * a * b + _C) / (a.square() + b.square() + _C)


MEASURE = Measure(
    haarpsi,
    "HaarPSI",
    "perceptual similarity by Haar wavelets, at most 1",
    ".3f",
    higher=True,
    bounds=(0.0, 1.0),
)
