"""What the lab relies on in a model: what ``encode`` returns is all that ``decode`` gets."""

from collections.abc import Iterator, Sized
from contextlib import contextmanager

import torch
from torch import Tensor

from caelab.data.datamodule import Split
from caelab.data.scale import unit
from caelab.errors import UserError
from caelab.models.autoencoder import Autoencoder, Code

LEAST_IMAGES = 2
"""Test images without which no image has another."""


def encoded(net: Autoencoder, images: Tensor) -> Code:
    """Encode images (N, C, H, W) of a split on the network's device.

    Raises:
        UserError: what comes back is no ``Code`` of these images.
    """
    code = net.encode(pixels(net, images))
    name = type(net).__name__
    if not isinstance(code, Code):
        raise UserError(f"{name}.encode must return a Code(z, skips), got {type(code).__name__}")
    if code.z.shape != (len(images), net.latent):
        want = f"({len(images)}, {net.latent})"
        raise UserError(f"{name}.encode: z must be (N, latent), here {want}, got {tuple(code.z.shape)}")
    for n, skip in enumerate(code.skips, start=1):
        if len(skip) != len(images):
            shape = tuple(skip.shape)
            raise UserError(f"{name}.encode: skip {n} must be ({len(images)}, ...), got {shape}")
    return code


def require_contract(net: Autoencoder, images: Split | Tensor) -> None:
    """Make sure that the decoder gets nothing but the code: what no code shows, nothing can replace or draw.

    Encodes one image, then another one, and decodes the first code: a decoder that remembers what its encoder
    saw, or a ``forward`` that does more than the two, gives itself away.

    Args:
        net: trained.
        images: of a split, at least two.

    Raises:
        UserError: ``encode`` returns no ``Code``, ``decode`` no image, or it depends on more than its code.
    """
    require_images(images)
    name = type(net).__name__
    with evaluating(net):
        x = pixels(net, images[:1])
        code, expected = encoded(net, images[:1]), net(x)
        encoded(net, images[1:2])  # what it leaves behind must not matter
        x_hat = net.decode(code)
    if x_hat.shape != x.shape:
        raise UserError(f"{name}.decode returns {tuple(x_hat.shape)} for an image of {tuple(x.shape)}")
    if not torch.allclose(x_hat, expected, atol=1e-5):
        raise UserError(
            f"{name}.decode depends on more than its code, or {name} on more than encode and decode; "
            "whatever reaches the decoder must be in Code(z, skips)"
        )


def require_images(test: Sized) -> None:
    """Refuse a split in which no image has another.

    Raises:
        UserError: it has fewer than 2 images.
    """
    if len(test) < LEAST_IMAGES:
        raise UserError(
            f"the test split has {len(test)} image; {LEAST_IMAGES} or more are needed, "
            "so that one can get the latent of another"
        )


@contextmanager
def evaluating(net: Autoencoder) -> Iterator[None]:
    """Turn gradients and training mode off."""
    training = net.training
    try:
        with torch.inference_mode():
            net.eval()
            yield
    finally:
        net.train(training)


def pixels(net: Autoencoder, images: Tensor) -> Tensor:
    """Turn images (N, C, H, W) of a split into what the network takes: in [0, 1], of its type and device."""
    return unit(images.to(net.weight.device)).to(net.weight.dtype)
