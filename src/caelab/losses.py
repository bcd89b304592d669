"""The losses that torch.nn lacks.

L1, MSE and BCE (equations 3 to 5 of the report) are ``torch.nn.L1Loss``, ``MSELoss`` and ``BCELoss``: means
over all pixels, named by their YAML. Every loss takes ``(x_hat, x)``, both (N, C, H, W) float32 in [0, 1],
and returns a scalar; call it outside autocast, where torch refuses BCE on a GPU.
"""

import math

import torch
from torch import Tensor, nn

from caelab.metrics import perceptual, quality
from caelab.metrics.measures.ms_ssim import ms_ssim


class WeightedSum(nn.Module):
    """``alpha * first(x_hat, x) + beta * second(x_hat, x)``: equation 6 of the report, for any two losses.

    With two losses that are at least 0, so is the sum. Either may be a ``WeightedSum`` itself, which makes
    a sum of any length.

    Args:
        first: loss that ``alpha`` weighs.
        second: loss that ``beta`` weighs.
        alpha: finite, at least 0.
        beta: finite, at least 0, and not 0 together with ``alpha``.

    Raises:
        ValueError: a weight that cannot be; the message starts with its name.
    """

    def __init__(self, first: nn.Module, second: nn.Module, alpha: float, beta: float) -> None:
        super().__init__()
        for name, weight in (("alpha", alpha), ("beta", beta)):
            if isinstance(weight, bool) or not isinstance(weight, int | float):
                raise ValueError(f"{name} must be a number, got {weight!r}")
            if not 0 <= weight < math.inf:
                raise ValueError(f"{name} must be finite and at least 0, got {weight}")
        if alpha == beta == 0:
            raise ValueError("alpha must be above 0 if beta is 0, or nothing is left to train on")
        self.first = first
        self.second = second
        self.alpha = alpha
        self.beta = beta

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """Compare ``x_hat`` with ``x``, both (N, C, H, W) float32 in [0, 1]; returns a scalar."""
        loss: Tensor = self.alpha * self.first(x_hat, x) + self.beta * self.second(x_hat, x)
        return loss


class Charbonnier(nn.Module):
    """The mean of ``sqrt((x_hat - x)^2 + epsilon^2)`` over all pixels: L1, rounded off near zero.

    Charbonnier et al., "Two Deterministic Half-Quadratic Regularization Algorithms for Computed Imaging"
    (1994); as a loss of networks Lai et al., "Deep Laplacian Pyramid Networks" (2017), eq. 5.

    Args:
        epsilon: finite, above 0.

    Raises:
        ValueError: a value that cannot be; the message starts with its name.
    """

    def __init__(self, epsilon: float = 1e-3) -> None:
        super().__init__()
        if isinstance(epsilon, bool) or not isinstance(epsilon, int | float) or not 0 < epsilon < math.inf:
            raise ValueError(f"epsilon must be a finite number above 0, got {epsilon!r}")
        self.epsilon = epsilon

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """Compare ``x_hat`` with ``x``, both (N, C, H, W) float32 in [0, 1]; returns a scalar."""
        return ((x_hat - x).square() + self.epsilon**2).sqrt().mean()


class SSIM(nn.Module):
    """``1 - SSIM``, the mean over images: Wang et al., "Image Quality Assessment" (2004).

    Between 0 and 2; see ``caelab.metrics.quality.ssim``.
    """

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """Compare ``x_hat`` with ``x``, both (N, C, H, W) float32 in [0, 1]; returns a scalar."""
        return 1 - quality.ssim(x_hat, x).mean()


class MultiScaleSSIM(nn.Module):
    """``1 - MS-SSIM``, the mean over images: Wang et al., "Multiscale Structural Similarity" (2003).

    Between 0 and 1; see ``caelab.metrics.measures.ms_ssim``, also for how small images have fewer scales.
    """

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """Compare ``x_hat`` with ``x``, both (N, C, H, W) float32 in [0, 1]; returns a scalar."""
        return 1 - ms_ssim(x_hat, x).mean()


class LPIPS(nn.Module):
    """LPIPS, the mean over images: Zhang et al. (2018); see ``caelab.metrics.perceptual.lpips``.

    Raises:
        UserError: the weights of VGG16 are not there.
    """

    def __init__(self) -> None:
        super().__init__()
        perceptual.stages(torch.device("cpu"))  # no part of the module, so of no checkpoint

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """Compare ``x_hat`` with ``x``, both (N, C, H, W) float32 in [0, 1]; returns a scalar."""
        return perceptual.lpips(x_hat, x).mean()


class DISTS(nn.Module):
    """DISTS, the mean over images: Ding et al. (2020); see ``caelab.metrics.perceptual.dists``.

    Raises:
        UserError: the weights of VGG16 are not there.
    """

    def __init__(self) -> None:
        super().__init__()
        perceptual.stages(torch.device("cpu"))

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """Compare ``x_hat`` with ``x``, both (N, C, H, W) float32 in [0, 1]; returns a scalar."""
        return perceptual.dists(x_hat, x).mean()
