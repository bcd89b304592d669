"""Datasets that give one sample at a time, an image or an image and its label, as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from torch import Tensor

from caelab.data.datamodule import whole_number
from caelab.data.pictures import DEEP, MODES, upright
from caelab.data.stack import Stack, images_of
from caelab.errors import UserError
from caelab.terminal import one_line, tracked

Size = tuple[int, int]
"""Height and width."""

ONE_SIZE = "dataset.image_size=64, or [HEIGHT, WIDTH], makes them one size"
"""What mends pictures of several sizes where a dataset has that key."""


def size_of(image_size: object) -> Size | None:
    """Height and width of ``dataset.image_size``: one number, or two; None leaves images as they are.

    Raises:
        UserError: it is neither.
    """
    if image_size is None:
        return None
    pair = list(image_size) if isinstance(image_size, Sequence) else [image_size, image_size]
    if len(pair) != 2:
        raise UserError(f"dataset.image_size={image_size}: give a number, or [HEIGHT, WIDTH]")
    height, width = (whole_number("image_size", side, 1) for side in pair)
    return height, width


def channels_of(channels: int | None) -> int | None:
    """Return ``dataset.channels``; None leaves them as they are.

    Raises:
        UserError: it is neither 1 nor 3.
    """
    if channels is not None and channels not in MODES:
        raise UserError(f"dataset.channels={channels}: must be 1 (grey), 3 (colour) or null (as they are)")
    return channels


def collected(
    samples: Iterable[Any],
    count: int,
    where: str,
    size: Size | None = None,
    channels: int | None = None,
    mend: str = ONE_SIZE,
) -> Stack:
    """Read every sample: an image, or a tuple of an image and what belongs to it, first its label.

    Images are Pillow images, arrays (H, W) or (H, W, C), or tensors (C, H, W) or (H, W). Labels are kept
    where each is one whole number or one text.

    Args:
        samples: in their order.
        count: how many there are.
        where: whose they are, as a message begins.
        size: to which pictures are scaled, their middle of these proportions; None leaves them as they are.
        channels: 1 or 3; None is those of the first for pictures, where no colour follows grey, and leaves
            arrays as they are.
        mend: what to do about several sizes.

    Raises:
        UserError: a sample that is no image, cannot be read, or has another size or type than the first.
    """
    images: npt.NDArray[Any] | None = None
    first = channels
    labels: list[Any] = []
    for row, sample in enumerate(_read(samples, count, where)):
        image, label = (*sample, None)[:2] if isinstance(sample, tuple | list) else (sample, None)
        try:
            pixels = _pixels(image, f"{where}: sample {row}", size, channels, first)
        except UserError:
            raise
        except Exception as error:  # Pillow's readers raise almost anything on a damaged file
            raise UserError(f"{where}: sample {row} cannot be read: {one_line(error)}") from error
        if images is None:
            first = channels or pixels.shape[0]
            images = np.empty((count, *pixels.shape), pixels.dtype)
        if (pixels.shape, pixels.dtype) != (images.shape[1:], images.dtype):
            sized = pixels.shape[1:] == images.shape[2:]
            raise UserError(
                f"{where}: sample 0 is {_kind(images[0])}, sample {row} is {_kind(pixels)}; "
                + ("give images of one kind" if sized else mend)
            )
        images[row] = pixels
        labels.append(label)
    if images is None or len(labels) < count:
        raise UserError(f"{where}: {len(labels):,} samples, but {max(count, 1):,} were expected")
    return Stack(images_of(images, "NCHW", where), _labels(labels))


def _read(samples: Iterable[Any], count: int, where: str) -> Iterable[Any]:
    try:
        yield from tracked(samples, "reading images", count)
    except UserError:
        raise
    except Exception as error:  # whatever the dataset's own code raises
        raise UserError(f"{where}: a sample cannot be read: {one_line(error)}") from error


def _kind(pixels: npt.NDArray[Any]) -> str:
    return f"{'x'.join(map(str, pixels.shape))} {pixels.dtype}"


def _pixels(
    image: Any, where: str, size: Size | None, channels: int | None, first: int | None
) -> npt.NDArray[Any]:
    """One image as (C, H, W); a picture without ``channels`` gets those of the first image."""
    if isinstance(image, Tensor):
        values = image.detach().cpu().numpy()
        values = values if values.ndim != 3 else values.transpose(1, 2, 0)
    elif isinstance(image, np.ndarray):
        values = image
    elif isinstance(image, Image.Image):
        picture = upright(image)
        if channels is None and first == 1 and picture.mode == MODES[3]:
            raise UserError(
                f"{where} is in colour, and those before it are grey; give dataset.channels=3, or 1"
            )
        values = _picture(picture, size, first)
    else:
        raise UserError(f"{where} is of type {type(image).__name__}; give Pillow images, arrays or tensors")
    if values.ndim not in (2, 3):
        raise UserError(f"{where} is an array of shape {values.shape}; give (H, W), or with channels")
    bands = (*values.shape, 1)[2]
    if size not in (None, values.shape[:2]) or channels not in (None, bands):
        values = _picture(_as_picture(values, where), size, first)
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)


def _as_picture(values: npt.NDArray[Any], where: str) -> Image.Image:
    """An array (H, W) or (H, W, 1 or 3) of bytes as a picture, which can be scaled."""
    if values.dtype != np.uint8 or values.shape[2:] not in ((), (1,), (3,)):
        raise UserError(
            f"{where}: dataset.image_size and channels take pictures and 8-bit arrays of 1 or 3 channels only"
        )
    return Image.fromarray(values[..., 0] if values.shape[2:] == (1,) else values)


def _picture(picture: Image.Image, size: Size | None, channels: int | None) -> npt.NDArray[Any]:
    """Pixels (H, W) or (H, W, 3) of a plain picture: uint8, or float32 in [0, 1] of over 8 bits of grey."""
    if picture.mode != DEEP and channels in MODES:
        picture = picture.convert(MODES[channels])
    if size is not None:
        picture = ImageOps.fit(picture, (size[1], size[0]), Image.Resampling.BICUBIC)
    pixels = np.asarray(picture)
    if picture.mode != DEEP:
        return pixels
    pixels = pixels.clip(0, 1)  # which scaling may leave
    return np.stack([pixels] * 3, -1) if channels == 3 else pixels


def _labels(labels: Sequence[Any]) -> npt.NDArray[Any] | None:
    """Labels (N,) where each is one whole number or one text."""
    plain = [one.item() if isinstance(one, Tensor | np.ndarray) and one.size == 1 else one for one in labels]
    if not all(isinstance(one, str | int | np.integer) for one in plain):
        return None
    return np.asarray(plain)
