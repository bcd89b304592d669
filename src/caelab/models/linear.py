"""The best linear answer to a corruption: what a network must beat before it has undone anything."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from caelab.data.prefetch import require_fit
from caelab.data.scale import unit
from caelab.models.autoencoder import Autoencoder, Code, Images

_RIDGES = torch.logspace(-7, 0, 29, dtype=torch.float64)  # the least is a tenth of the variance of rounding
_BATCH = 1000
_MATRICES = 7  # of float64 that the fit has at a time


class Linear(Autoencoder):
    """Linear regression of clean images on corrupted ones; its code is the whole image.

    ::

        x     (C, H, W)                                     x_hat (C, H, W)
              |                                                   ^
              | flatten                                           | @ matrix^T, + bias, clamp, unflatten
              v                                                   |
              z C*H*W ----------------- Code(z) ------------------+

    Each number of the clean image is predicted from all of the corrupted one, by least squares over the
    training images: ``matrix = cov(clean, corrupted) (cov(corrupted) + ridge)^-1``, the Wiener filter of
    images of a fixed size (Wiener, "Extrapolation, Interpolation, and Smoothing of Stationary Time Series",
    1949). The ridge, one for all numbers, is that of the least error by generalized cross-validation (Golub,
    Heath and Wahba, 1979): no image but those of training is looked at. Fitted exactly by
    ``initialise_from``, in float64, with no gradient step; before it, all its numbers are 0.

    Args:
        shape: (C, H, W) of one image.
    """

    matrix: Tensor
    bias: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__(shape, prod(shape))
        self.register_buffer("matrix", torch.zeros(self.latent, self.latent))  # (D, D)
        self.register_buffer("bias", torch.zeros(self.latent))  # (D,)

    @property
    def size(self) -> int:
        """Numbers learnt from data, none of them by gradient."""
        return self.matrix.numel() + self.bias.numel()

    def initialise(self, images: Images) -> None:
        """Become what changes no image."""
        self.matrix.copy_(torch.eye(self.latent))

    def initialise_from(self, images: Images, corrupted: Images) -> None:
        """Fit matrix and bias to images (N, C, H, W), of a split and float32 in [0, 1], in float64.

        Raises:
            UserError: so many numbers an image take too much memory.
        """
        n = len(images)
        size = f"{self.latent:,} x {self.latent:,}"
        require_fit(f"model=linear: a regression of {size} numbers", _MATRICES * 8 * self.latent**2)
        clean, given, square = torch.zeros(3, self.latent, dtype=torch.float64)
        squares, products = torch.zeros(2, self.latent, self.latent, dtype=torch.float64)
        for start in range(0, n, _BATCH):
            x = unit(images[start : start + _BATCH].flatten(1).cpu(), torch.float64)  # (n, D)
            y = corrupted[start : start + _BATCH].flatten(1).cpu().double()
            clean += x.sum(0) / n
            given += y.sum(0) / n
            square += x.square().sum(0) / n
            squares += y.T @ y / n
            products += y.T @ x / n
        variances, axes = torch.linalg.eigh(squares - given.outer(given))
        shares = axes.T @ (products - given.outer(clean))  # (D, D): of each axis in each clean number
        inverse = _inverse(variances.clamp(min=0), shares, (square - clean.square()).sum(), n)
        matrix = (axes @ (inverse[:, None] * shares)).T
        self.matrix.copy_(matrix)
        self.bias.copy_(clean - matrix @ given)

    def encode(self, x: Tensor, key: Tensor | None = None) -> Code:
        """Map images ``x`` (N, C, H, W) in [0, 1] to ``Code(z)``, z (N, C*H*W)."""
        return Code(x.flatten(1))

    def decode(self, code: Code) -> Tensor:
        """Map a code to ``x_hat`` (N, C, H, W), float32 in [0, 1]."""
        with torch.autocast(code.z.device.type, enabled=False):
            x = code.z.float() @ self.matrix.float().T + self.bias.float()
        return x.clamp(0, 1).reshape(-1, *self.shape)  # (N, C, H, W)


def _inverse(variances: Tensor, shares: Tensor, total: Tensor, n: int) -> Tensor:
    """``1 / (variance + ridge)`` of each axis, (D,), with the ridge of the least generalized error.

    Args:
        variances: of the corrupted images along their axes, (D,).
        shares: covariance of each axis with each number of the clean images, (D, D).
        total: variance of the clean images, summed over their numbers.
        n: images.
    """
    inverses = 1 / (variances + _RIDGES[:, None])  # (ridges, D)
    power = shares.square().sum(1)
    errors = total + (inverses * (inverses * variances - 2) * power).sum(1)
    free = 1 - (1 + (inverses * variances).sum(1)) / n  # of the images' degrees of freedom, what is left
    return inverses[torch.where(free > 0, errors / free.square(), torch.inf).argmin()]
