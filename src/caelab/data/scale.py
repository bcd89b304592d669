"""The values of images: as they are stored, and as networks take them, in [0, 1].

Imports nothing of the lab, so that a trained network needs no more than torch.
"""

import torch
from torch import Tensor

Range = tuple[float, float]
"""Least and largest value that images can have."""

BYTES: Range = (0, 255)
"""Range of uint8 images."""


def white(images: Tensor) -> int:
    """Return what white is in a batch: 255 in uint8, 1 in floating point."""
    return 255 if images.dtype == torch.uint8 else 1


def unit(images: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Turn a batch of a split, of any shape, into floating point in [0, 1].

    Args:
        images: uint8 in [0, 255], or floating point in [0, 1].
        dtype: of the result; None is float32 for uint8, and leaves floating point as it is.
    """
    if images.dtype == torch.uint8:
        return images.to(dtype or torch.float32).div_(255)  # a copy in any case
    return images.to(dtype or images.dtype)


def scaled(values: Tensor, between: Range) -> Tensor:
    """Scale values of any type from a range to [0, 1], float32; uint8 stays as it is."""
    if values.dtype == torch.uint8:
        return values
    low, high = between
    return (values.float() - low) / (high - low)


def restored(x: Tensor, dtype: torch.dtype, between: Range) -> Tensor:
    """Scale ``x`` in [0, 1] back to a range; whole numbers are rounded."""
    low, high = between
    values = low + (high - low) * x.float().clamp(0, 1)
    return values.to(dtype) if dtype.is_floating_point else values.round().to(dtype)
