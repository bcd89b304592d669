"""The codes of images: what the lab relies on in a model, how much of its code is used, and along what."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caelab.errors import UserError
from caelab.models.autoencoder import Autoencoder, Code

BATCH = 250

DEAD = 1e-4
"""Variance below which a coordinate is dead, as a part of the largest: a hundredth of its deviation."""

_SAME = 1e-3  # a quarter of a grey level; batches of other sizes round otherwise by far less
_TINY = 1e-12  # eigenvalues below that part of the largest are rounding

Floats = NDArray[np.float64]


def pixels(net: Autoencoder, images: Tensor) -> Tensor:
    """Turn images (N, C, H, W) uint8 into what the network takes: in [0, 1], of its own type."""
    return (images.float() / 255).to(next(iter(net.state_dict().values())).dtype)


@torch.inference_mode()
def check_contract(net: Autoencoder, images: Tensor) -> None:
    """Make sure that what ``encode`` returns is all that ``decode`` gets.

    Encodes one image, then another one, and decodes the first code: a decoder that remembers what its encoder
    saw, or a ``forward`` that does more than the two, gives itself away.

    Args:
        net: in eval mode.
        images: (N, C, H, W) uint8, at least two.

    Raises:
        UserError: the model does not keep the contract of ``Code``.
    """
    name = type(net).__name__
    first, second = pixels(net, images[:1]), pixels(net, images[1:2])
    code = net.encode(first)
    if not isinstance(code, Code):
        raise UserError(
            f"model {name}: encode returns {type(code).__name__}, not Code(z, skips); what it does not say "
            "cannot be shown"
        )
    if tuple(code.z.shape) != (1, net.latent):
        raise UserError(
            f"model {name}: for one image encode returns z of shape {tuple(code.z.shape)}; "
            f"with latent={net.latent} it must be (1, {net.latent})"
        )
    expected = net(first)
    net.encode(second)
    found = net.decode(code)
    if tuple(found.shape) != tuple(first.shape):
        raise UserError(
            f"model {name}: decode returns {tuple(found.shape)} for an image of {tuple(first.shape)}"
        )
    if not torch.allclose(found.float(), expected.float(), atol=_SAME):
        raise UserError(
            f"model {name}: decode(encode(x)) is another image than {name}(x); something beside the Code "
            "reaches its decoder, put it into Code.skips"
        )


@torch.inference_mode()
def encode(net: Autoencoder, images: Tensor) -> Code:
    """Map images (N, C, H, W) uint8 to their code."""
    return net.encode(pixels(net, images))


@torch.inference_mode()
def latents(net: Autoencoder, images: Tensor) -> Floats:
    """Map images (N, C, H, W) uint8 to the latents of their codes, (N, latent), in batches.

    Raises:
        UserError: a number is not finite, or no number differs from image to image.
    """
    parts = [encode(net, images[i : i + BATCH]).z.double().numpy() for i in range(0, len(images), BATCH)]
    z: Floats = np.concatenate(parts)
    name = type(net).__name__
    if not np.isfinite(z).all():
        raise UserError(f"model {name}: a code holds NaN or infinity; train the run anew")
    if not z.size or np.ptp(z, axis=0).max() <= 1e-6 * max(1.0, float(np.abs(z).max())):
        raise UserError(
            f"model {name}: its code is the same for all {len(z):,} images (latent={net.latent}); "
            "there is nothing to look at, take a run that learnt something"
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


def coordinates(z: Floats) -> Directions:
    """Return the coordinates of codes (N, latent) as directions."""
    return Directions(np.eye(z.shape[1]), z.std(0))


def principal_axes(z: Floats) -> Directions:
    """Return the principal axes of codes (N, latent), longest first; those without any variance are left out.

    The sign, which nothing determines, is the one that makes an axis' largest component positive.
    """
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(z, rowvar=False, bias=True)))
    kept = np.flatnonzero(values > _TINY * values[-1])[::-1]
    axes = vectors.T[kept]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(1)[:, None], axis=1)
    return Directions(axes * np.sign(largest), np.sqrt(values[kept]))


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
