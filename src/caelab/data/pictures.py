"""One picture of a user, of any format that Pillow reads, as plain pixels."""

import numpy as np
from PIL import Image, ImageOps

MODES = {1: "L", 3: "RGB"}
"""Pillow's name for 8-bit pixels of so many channels."""

DEEP = "F"
"""Pillow's name for grey pixels that are floats; here from 0 to 1."""


def upright(image: Image.Image) -> Image.Image:
    """Return a picture as plain pixels, loaded: turned as its EXIF says, on white where it is transparent.

    Of several frames it is the one that is open. Colours are Pillow's conversion, without colour profiles.

    Returns:
        Mode ``L`` or ``RGB``; or ``F`` from 0 to 1 where the file has more than 8 bits of grey: whole numbers
        are taken as 16 bits, floats as from 0 to 1.

    Raises:
        ValueError: the values are not in that range, so that it is not known what is white.
    """
    turned = ImageOps.exif_transpose(image)
    if turned.mode.startswith("I"):
        return _deep(turned, 65_535)
    if turned.mode == DEEP:
        return _deep(turned, 1)
    if turned.has_transparency_data:
        colours = turned.convert("RGBA")
        turned = Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours)
    return turned.convert("L" if turned.mode in ("1", "L") else "RGB")


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
