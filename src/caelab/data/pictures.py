"""One picture of a user, of any format that Pillow reads, as plain pixels."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps

MODES = {1: "L", 3: "RGB"}
"""Pillow's name for 8-bit pixels of so many channels."""

DEEP = "F"
"""Pillow's name for grey pixels that are floats; here from 0 to 1."""

MOST_PIXELS = 89_478_485
"""Pixels of the largest picture that is decoded: where Pillow begins to warn of a decompression bomb."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How a picture of each EXIF orientation is turned upright."""


class _Room:
    """Pixels that may be decoded at once, shared by threads: a file of few bytes can claim many pixels."""

    def __init__(self, pixels: int) -> None:
        self._free, self._changed = pixels, threading.Condition()

    @contextmanager
    def of(self, pixels: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()


_room = _Room(MOST_PIXELS)


def read(file: Path, channels: int, size: int) -> npt.NDArray[np.uint8]:
    """Decode a picture's middle square: (channels, size, size), as ``to_uint8``.

    Raises:
        ValueError: it claims more than ``MOST_PIXELS``, which are not decoded.
        Exception: almost any other one of Pillow's readers, on a damaged file.
    """
    with Image.open(file) as image:
        # a JPEG is decoded at a fraction of its size if that does
        image.draft(MODES[channels], (2 * size, 2 * size))
        require_decodable(image)
        with _room.of(image.width * image.height):
            return to_uint8(image, channels, size)


def require_decodable(image: Image.Image) -> None:
    """Refuse an open picture that is too large.

    Raises:
        ValueError: it claims more than ``MOST_PIXELS``.
    """
    if image.width * image.height > MOST_PIXELS:
        size = f"{image.width:,}x{image.height:,}"
        raise ValueError(f"it claims {size} pixels; at most {MOST_PIXELS:,} are decoded")


def to_uint8(image: Image.Image, channels: int, size: int) -> npt.NDArray[np.uint8]:
    """One picture as (channels, size, size): upright, on white where transparent, its middle square scaled.

    Values of more than 8 bits are rounded to them; see ``upright`` for what else becomes of a picture.
    """
    picture = upright(image)
    if picture.mode == DEEP:
        picture = Image.fromarray((255 * np.asarray(picture)).round().astype(np.uint8))
    square = ImageOps.fit(picture.convert(MODES[channels]), (size, size), Image.Resampling.BICUBIC)
    return np.asarray(square).reshape(size, size, channels).transpose(2, 0, 1)


def upright(image: Image.Image) -> Image.Image:
    """Return a picture as plain pixels, loaded: turned as its EXIF says, on white where it is transparent.

    Of several frames it is the one that is open. Colours are Pillow's conversion, without colour profiles.
    Where the EXIF is damaged, the orientation is taken from it if it can be had, and the pixels in any case.

    Returns:
        Mode ``L`` or ``RGB``; or ``F`` from 0 to 1 where the file has more than 8 bits of grey: whole numbers
        are taken as 16 bits, floats as from 0 to 1.

    Raises:
        ValueError: the values are not in that range, so that it is not known what is white.
    """
    image.load()
    turn = _TURNS.get(_orientation(image))
    turned = image.transpose(turn) if turn is not None else image
    if turned.mode.startswith("I"):
        return _deep(turned, 65_535)
    if turned.mode == DEEP:
        return _deep(turned, 1)
    if turned.has_transparency_data:
        colours = turned.convert("RGBA")
        turned = Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours)
    return turned.convert("L" if turned.mode in ("1", "L") else "RGB")


def _orientation(image: Image.Image) -> int:
    with suppress(Exception):  # Pillow raises almost anything on damaged EXIF
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    return 1


def _deep(image: Image.Image, white: int) -> Image.Image:
    values = np.asarray(image, np.float32)
    least, most = values.min(), values.max()
    if not 0 <= least <= most <= white:  # nor NaN
        raise ValueError(f"its values go from {least:g} to {most:g}; they must be within 0 and {white:,}")
    return Image.fromarray(values / np.float32(white))


def remarks(image: Image.Image) -> list[str]:
    """Say what ``upright`` loses of an open picture, whoever may not expect it."""
    frames = getattr(image, "n_frames", 1)
    found = [] if frames == 1 else ["several frames: the first is taken"]
    if image.has_transparency_data:
        found.append("transparency: put on white")
    if image.mode == "CMYK":
        found.append("CMYK: turned to RGB without its colour profile")
    return found
