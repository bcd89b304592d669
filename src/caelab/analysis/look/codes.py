"""The codes of images: how much of its code is used, and along what."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caelab.errors import UserError
from caelab.models.autoencoder import Autoencoder, Code
from caelab.models.contract import pixels

BATCH = 250

DEAD = 1e-4
"""Variance below which a coordinate is dead, as a part of the largest: a hundredth of its deviation."""

_TINY = 1e-6  # deviations below that part of the largest are rounding

Floats = NDArray[np.float64]


@torch.inference_mode()
def encode(net: Autoencoder, images: Tensor) -> Code:
    """Map images (N, C, H, W) of a split to their code."""
    return net.encode(pixels(net, images))


@torch.inference_mode()
def latents(net: Autoencoder, images: Tensor) -> Floats:
    """Map images (N, C, H, W) of a split to the latents of their codes, (N, latent), in batches.

    Raises:
        UserError: a number is not finite, or no number differs from image to image.
    """
    parts = [encode(net, images[i : i + BATCH]).z.double().numpy() for i in range(0, len(images), BATCH)]
    z: Floats = np.concatenate(parts)
    name = type(net).__name__
    if not np.isfinite(z).all():
        raise UserError(f"model {name}: a code holds NaN or infinity; train the run again")
    if not z.size or np.ptp(z, axis=0).max() <= 1e-6 * max(1.0, float(np.abs(z).max())):
        raise UserError(
            f"model {name}: its code is the same for all {len(z):,} images (latent={net.latent}); "
            "there is nothing to show; choose a run that has learnt something"
        )
    return z


@dataclass(frozen=True)
class Directions:
    """Directions in the space of codes.

    Attributes:
        vectors: (K, latent), each of length 1.
        deviations: (K,), standard deviation of the codes along each.
    """

    vectors: Floats
    deviations: Floats


def coordinates(z: Floats, chosen: NDArray[np.int64]) -> Directions:
    """Return coordinates of codes (N, latent) as directions, those that are chosen, (K,)."""
    return Directions((chosen[:, None] == np.arange(z.shape[1])).astype(np.float64), z.std(0)[chosen])


def principal_axes(z: Floats) -> Directions:
    """Return the principal axes of codes (N, latent), longest first; those without any variance are left out.

    The sign, which nothing determines, is the one that makes an axis' largest component positive.
    """
    _, sizes, axes = np.linalg.svd(z - z.mean(0), full_matrices=False)
    kept = sizes > _TINY * sizes[0]
    axes = axes[kept]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(1)[:, None], axis=1)
    return Directions(axes * np.sign(largest), sizes[kept] / np.sqrt(len(z)))


def effective_dimension(variances: Floats) -> float:
    """Participation ratio ``sum(v)^2 / sum(v^2)`` of the variances along the principal axes.

    Between 1, where a single axis varies, and the number of axes, where all vary alike.
    """
    return float(variances.sum() ** 2 / np.square(variances).sum())


def dead(z: Floats) -> NDArray[np.bool_]:
    """Tell which coordinates of codes (N, latent) hardly vary, (latent,): see ``DEAD``."""
    variances = z.var(0)
    found: NDArray[np.bool_] = variances < DEAD * variances.max()
    return found
