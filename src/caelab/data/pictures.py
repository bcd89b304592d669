"""One picture of a user, of any format that Pillow reads, as plain pixels."""

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

MODES = {1: "L", 3: "RGB"}
"""Pillow's name for 8-bit pixels of so many channels."""

AS_THEY_ARE = 4
"""Channels of pictures whose bands are taken as they are: red, green, blue, alpha, or inks."""

FITS = ("crop", "pad", "stretch")
"""Ways to another shape: the middle is kept; all of it, beside black; or it is drawn out."""

TYPES: dict[int, np.dtype[Any]] = {8: np.dtype(np.uint8), 16: np.dtype(np.uint16), 32: np.dtype(np.float32)}
"""Type of pixels of so many bits; floats are from 0 to 1."""

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


class Form(NamedTuple):
    """What all pictures of a dataset are turned into.

    Attributes:
        channels: 1, 3 or ``AS_THEY_ARE``.
        height: in pixels.
        width: in pixels.
        fit: one of ``FITS``.
        bits: of ``TYPES``.
    """

    channels: int
    height: int
    width: int
    fit: str = "crop"
    bits: int = 8


class UnfitError(ValueError):
    """A whole picture that does not fit a form."""


def read(file: Path, form: Form, look: Callable[[Image.Image], None] | None = None) -> npt.NDArray[Any]:
    """Decode a picture: (channels, height, width), as ``to_pixels``.

    Args:
        file: its path.
        form: of the result.
        look: gets a look at what the file holds, before anything is changed.

    Raises:
        UnfitError: it is whole, and does not fit the form.
        ValueError: it claims more than ``MOST_PIXELS``, which are not decoded.
        Exception: almost any other one of Pillow's readers, on a damaged file.
    """
    try:
        opened = Image.open(file)
    except UnidentifiedImageError:
        other = (
            "; dataset=array takes TIFF files of any bands"
            if file.suffix.lower() in (".tif", ".tiff")
            else ""
        )
        raise ValueError(f"not a picture that Pillow can read{other}") from None
    with opened as image:
        if image.format in ("JPEG", "MPO"):  # decoded at a fraction of its size if that does
            least = (2 * form.width, 2 * form.height)
            lies = _orientation(image) >= 5
            image.draft(MODES.get(form.channels, image.mode), least[::-1] if lies else least)
        require_decodable(image)
        if look:
            look(image)
        with _room.of(image.width * image.height):
            return to_pixels(image, form)


def size(file: Path) -> tuple[int, int]:
    """Height and width of a picture, upright; nothing is decoded.

    Raises:
        Exception: almost any one of Pillow's readers, on a damaged file.
    """
    with Image.open(file) as image:
        lies = _orientation(image) >= 5
        return (image.width, image.height) if lies else (image.height, image.width)


def require_decodable(image: Image.Image) -> None:
    """Refuse an open picture that is too large.

    Raises:
        ValueError: it claims more than ``MOST_PIXELS``.
    """
    if image.width * image.height > MOST_PIXELS:
        size = f"{image.width:,}x{image.height:,}"
        raise ValueError(f"it claims {size} pixels; at most {MOST_PIXELS:,} are decoded")


def to_pixels(image: Image.Image, form: Form) -> npt.NDArray[Any]:
    """One picture as (channels, height, width) of the type of a form: upright and scaled.

    See ``upright`` for what else becomes of one of 1 or 3 channels. Of 8 bits, higher values are rounded.

    Raises:
        UnfitError: it has other bands, or colours of 16 bits, of which Pillow would read 8.
    """
    if form.bits > 8 and not image.mode.startswith("I") and _stored_deep(image):
        raise UnfitError("its colours have 16 bits, but Pillow reads only 8; use dataset.bits=8")
    if form.channels == AS_THEY_ARE and len(bands := image.getbands()) != AS_THEY_ARE:
        raise UnfitError(f"its bands are {', '.join(bands)}; dataset.channels=4 takes pictures of four bands")
    picture = _turned(image) if form.channels == AS_THEY_ARE else upright(image)
    if form.bits == 8:
        if picture.mode == DEEP:
            picture = Image.fromarray((255 * np.asarray(picture)).round().astype(np.uint8))
        picture = picture.convert(MODES.get(form.channels, picture.mode))
        # the fourth band is no alpha, which Pillow would multiply the others by
        parts = picture.split() if form.channels == AS_THEY_ARE else (picture,)
        pixels = np.dstack([np.asarray(_sized(part, form)) for part in parts])
        return pixels.transpose(2, 0, 1)
    x = np.stack([np.asarray(_sized(band, form)) for band in _bands(picture, form.channels)]).clip(0, 1)
    return x if form.bits == 32 else (65_535 * x).round().astype(np.uint16)


def _stored_deep(image: Image.Image) -> bool:
    """Whether the file that is open has values of 16 bits."""
    return any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def _sized(picture: Image.Image, form: Form) -> Image.Image:
    size, bicubic = (form.width, form.height), Image.Resampling.BICUBIC
    if form.fit == "stretch":
        return picture.resize(size, bicubic)
    if form.fit == "pad":  # of which ImageOps.pad leaves nothing where a side is below half a pixel
        if picture.width >= 2 * form.width * picture.height:
            picture = picture.resize((form.width, 1), bicubic)
        elif picture.height >= 2 * form.height * picture.width:
            picture = picture.resize((1, form.height), bicubic)
    return (ImageOps.fit if form.fit == "crop" else ImageOps.pad)(picture, size, bicubic)


def _bands(picture: Image.Image, channels: int) -> list[Image.Image]:
    """Each band as floats from 0 to 1."""
    if picture.mode == DEEP:
        return [picture] * channels
    bands = picture.convert(MODES.get(channels, picture.mode)).split()
    return [Image.fromarray(np.asarray(band, np.float32) / np.float32(255)) for band in bands]


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
    turned = _turned(image)
    if turned.mode.startswith("I"):
        return _deep(turned, 65_535)
    if turned.mode == DEEP:
        return _deep(turned, 1)
    if turned.has_transparency_data:
        colours = turned.convert("RGBA")
        turned = Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours)
    return turned.convert("L" if turned.mode in ("1", "L") else "RGB")


def _turned(image: Image.Image) -> Image.Image:
    image.load()
    turn = _TURNS.get(_orientation(image))
    return image.transpose(turn) if turn is not None else image


def _orientation(image: Image.Image) -> int:
    with suppress(Exception):  # Pillow raises almost anything on damaged EXIF
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    return 1


def _deep(image: Image.Image, white: int) -> Image.Image:
    values = np.asarray(image, np.float32)
    if not np.isfinite(values).all():
        raise ValueError("it has values that are NaN or infinite")
    least, most = values.min(), values.max()
    if not 0 <= least <= most <= white:
        raise ValueError(f"its values go from {least:g} to {most:g}; they must be within 0 and {white:,}")
    return Image.fromarray(values / np.float32(white))


def remarks(image: Image.Image) -> list[str]:
    """Say what ``upright`` loses of an open picture, whoever may not expect it."""
    found = ["several frames: the first is taken"] if _several(image) else []
    if image.has_transparency_data:
        found.append("transparency: put on white")
    if image.mode == "CMYK":
        found.append("CMYK: turned to RGB without its colour profile")
    if (profile := _profile(image)) and image.mode != "CMYK":
        found.append(f"colour profile {profile}: its colours are taken as sRGB")
    return found


def _several(image: Image.Image) -> bool:
    """Whether a picture has frames behind that which is open, be they damaged."""
    here = image.tell()
    try:
        return getattr(image, "n_frames", 1) > 1
    except Exception:  # Pillow's readers raise almost anything on a damaged file
        image.seek(here)
        return True


def _profile(image: Image.Image) -> str:
    """Name of a colour profile that is not sRGB."""
    if not (content := image.info.get("icc_profile")):
        return ""
    from PIL import ImageCms  # which a picture without a profile does not need

    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(content))).strip()
    except (OSError, ImageCms.PyCMSError):
        return "that cannot be read"
    return "" if "srgb" in name.lower() else name or "without a name"
