"""What codecs of pictures make of the same images: bytes with and without headers, and PSNR."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFile, features
from torch import Tensor

from caelab.data.datamodule import EVALUATION_BATCH, Split
from caelab.data.scale import unit
from caelab.metrics.quality import mse, psnr
from caelab.metrics.reliance import starts

Pixels = NDArray[np.uint8]

_HALF, _WHOLE = {"subsampling": "4:2:0"}, {"subsampling": "4:4:4"}  # of the resolution of colour
_AVIF = {"speed": 7, "max_threads": 1}  # images are coded side by side as it is
_SETTINGS: dict[str, list[dict[str, Any]]] = {
    # at few bytes a codec does better on small images with colour at half the resolution, then with all of it
    "JPEG": [{"quality": quality} | _HALF for quality in (1, 5, 20)]
    + [{"quality": quality} | _WHOLE for quality in (50, 75, 88, 95)],
    "WebP": [{"quality": quality, "method": 6} for quality in (0, 10, 25, 50, 80, 95)],
    "AVIF": [{"quality": quality} | _AVIF | _HALF for quality in (0, 20, 40)]
    + [{"quality": quality} | _AVIF | _WHOLE for quality in (60, 80, 93)],
}
_LOSSLESS: dict[str, dict[str, Any]] = {
    "WebP": {"lossless": True, "quality": 100},
    "PNG": {"optimize": True},
}
NAMES = tuple(_SETTINGS)
LOSSLESS = tuple(_LOSSLESS)

_WEBP_HEADERS = {b"VP8 ": 10, b"VP8L": 5}  # of a key frame, and of a lossless image
_ZLIB = 2 + 4  # header and checksum
_SEQUENCE, _DELIMITER = 1, 2  # units of AV1 that are the same for all images of a size and quality
_CHANNELS = (1, 3)
_ROOM = 4  # bytes of a JPEG file for each of the image, more than any takes

SIDE = 16_383
"""Pixels of a side, at most: WebP has no more."""


class Size(NamedTuple):
    """Mean bytes of the images.

    Attributes:
        file: of a whole file.
        payload: of what is left without the headers that a decoder could know.
    """

    file: float
    payload: float


class Setting(NamedTuple):
    """A codec at one quality, means over the images.

    Attributes:
        quality: as Pillow takes it.
        file: bytes of a whole file.
        payload: bytes of what is left without the headers that a decoder could know.
        psnr: in dB.
    """

    quality: int
    file: float
    payload: float
    psnr: float


def missing() -> list[str]:
    """Codecs that this Pillow was built without."""
    return [name for name in NAMES if name.lower() in ("avif", "webp") and not features.check(name.lower())]


def payload(file: bytes) -> int:
    """Bytes of a file, as Pillow writes it, without headers.

    Of JPEG the entropy-coded scan counts: the tables, which are the standard's at each quality, and the sizes
    could be known to the decoder, as in the standard's abbreviated format. Of WebP it is the image's chunk
    without what says its size, of PNG the deflated stream, of AVIF all of the coded frame's units but the
    sequence header.
    """
    if file[:4] == b"RIFF":
        return int.from_bytes(file[16:20], "little") - _WEBP_HEADERS[file[12:16]]
    if file[:4] == b"\x89PNG":
        return sum(size for kind, size in _chunks(file) if kind == b"IDAT") - _ZLIB
    if file[4:8] == b"ftyp":
        return sum(size for kind, size in _units(_media(file)) if kind not in (_SEQUENCE, _DELIMITER))
    scan, size = _segments(file)[b"\xda"]
    return len(file) - scan - size - 2  # the last 2 end the image


def tables(file: bytes) -> int:
    """Bytes of the Huffman tables in a JPEG file, which are its own where it was optimised."""
    return _segments(file)[b"\xc4"][1]


def _segments(file: bytes) -> dict[bytes, tuple[int, int]]:
    """Marker of a JPEG file -> where its first segment starts, after the marker, and bytes of all of them."""
    found: dict[bytes, tuple[int, int]] = {}
    place, marker = 2, b""
    while marker != b"\xda":  # start of scan: the last whose length is written
        marker, size = file[place + 1 : place + 2], int.from_bytes(file[place + 2 : place + 4], "big")
        start, before = found.get(marker, (place + 2, 0))
        found[marker] = start, before + size
        place += 2 + size
    return found


def _chunks(file: bytes) -> Iterator[tuple[bytes, int]]:
    """Kind and bytes of each chunk of a PNG file."""
    place = 8
    while place < len(file):
        size = int.from_bytes(file[place : place + 4], "big")
        yield file[place + 4 : place + 8], size
        place += 12 + size


def _media(file: bytes) -> bytes:
    """The media data of an AVIF file."""
    place = 0
    while file[place + 4 : place + 8] != b"mdat":
        place += int.from_bytes(file[place : place + 4], "big")
    return file[place + 8 : place + int.from_bytes(file[place : place + 4], "big")]


def _units(data: bytes) -> Iterator[tuple[int, int]]:
    """Kind of each unit of an AV1 stream, and its bytes with those that say its kind and size."""
    place = 0
    while place < len(data):
        head = place + 1 + (data[place] >> 2 & 1)
        size, shift = 0, 0
        while True:  # seven bits in a byte, the least first
            size |= (data[head] & 127) << shift
            head, shift = head + 1, shift + 7
            if data[head - 1] < 128:
                break
        yield data[place] >> 3 & 15, head + size - place
        place = head + size


def encode(pixels: Pixels, codec: str, **options: Any) -> bytes:
    """The file of one image (H, W) or (H, W, 3)."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, codec, **options)
    return buffer.getvalue()


def _decode(file: bytes, codec: str, channels: int) -> Pixels:
    """Image (H, W, C) of a file."""
    image = Image.open(BytesIO(file), formats=(codec.upper(),))
    mode = "RGB" if channels == 3 else "L"  # WebP has no grey images: it keeps them in colour
    pixels: Pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    return pixels.reshape(*pixels.shape[:2], channels)


def curve(test: Split, codec: str, tick: Callable[[], object] = lambda: None) -> list[Setting]:
    """Write and read all images at each quality.

    Args:
        test: images; of such as are not ``known`` to codecs the curve is empty.
        codec: one of ``NAMES``; of one that is ``missing`` the curve is empty.
        tick: called after each of the ``ticks(test)``, from several threads.
    """
    found = ((options, _measured(test, codec, options, tick)) for options in _settings(test, codec))
    return [Setting(options["quality"], *size, decibels) for options, (size, decibels) in found]


def lossless(test: Split, codec: str, tick: Callable[[], object] = lambda: None) -> Size | None:
    """Bytes of the images without any loss, by one of ``LOSSLESS``; None of images that it does not know."""
    if not known(test):
        return None
    size, _ = _measured(test, codec, _LOSSLESS[codec], tick)
    return size


def known(test: Split) -> bool:
    """Whether these are images that codecs know: 8 bits, of 1 or 3 channels, of no side above ``SIDE``."""
    channels, *sides = test.images.shape[1:]
    return test.images.dtype == torch.uint8 and channels in _CHANNELS and max(sides) <= SIDE


def ticks(test: Split) -> int:
    """How many batches the curves of all codecs go through, and those without loss."""
    settings = sum(len(_settings(test, codec)) for codec in NAMES)
    return len(starts(test)) * (settings + len(LOSSLESS) * known(test))


def _settings(test: Split, codec: str) -> list[dict[str, Any]]:
    return _SETTINGS[codec] if known(test) and codec not in missing() else []


def _measured(
    test: Split, codec: str, options: Mapping[str, Any], tick: Callable[[], object]
) -> tuple[Size, float]:
    """Mean bytes, and mean PSNR (dB), with these options."""

    def batch(start: int) -> tuple[int, int, Tensor]:
        found = _batch(test[start : start + EVALUATION_BATCH], codec, options)
        tick()
        return found

    room = _ROOM * test.images[0].numel() if codec == "JPEG" else 0
    with _buffer(room), ThreadPoolExecutor() as pool:  # Pillow codes outside of Python's lock
        files, payloads, psnrs = zip(*pool.map(batch, starts(test)), strict=True)
    return Size(sum(files) / len(test), sum(payloads) / len(test)), torch.cat(psnrs).mean().item()


@contextmanager
def _buffer(nbytes: int) -> Iterator[None]:
    """Let Pillow have a buffer of so many bytes or more.

    libjpeg needs one for the whole file where it makes tables of its own, and Pillow guesses too little for
    noise. In files of PNG its size is seen, so theirs stays.
    """
    before = ImageFile.MAXBLOCK
    ImageFile.MAXBLOCK = max(before, nbytes)
    try:
        yield
    finally:
        ImageFile.MAXBLOCK = before


def _batch(images: Tensor, codec: str, options: Mapping[str, Any]) -> tuple[int, int, Tensor]:
    """Bytes of all files, and of their payloads, and the PSNR (dB) of each image, (n,) float64."""
    channels = images.shape[1]
    pixels = images.permute(0, 2, 3, 1).numpy()  # (n, H, W, C)
    files = _files(pixels, codec, **options)
    decoded = torch.from_numpy(np.stack([_decode(file, codec, channels) for file in files]))
    errors = mse(unit(decoded.permute(0, 3, 1, 2)), unit(images))
    sizes = [(len(file), payload(file)) for file in files]
    if codec == "JPEG":
        own = _files(pixels, codec, optimize=True, **options)
        sizes = [_smaller(*pair) for pair in zip(files, own, strict=True)]
    whole, bare = zip(*sizes, strict=True)
    return sum(whole), sum(bare), psnr(errors)


def _files(pixels: Pixels, codec: str, **options: Any) -> list[bytes]:
    """Files of images (n, H, W, C); grey ones have no colour to be coded, of which AVIF must be told."""
    if pixels.shape[3] == 3:
        return [encode(one, codec, **options) for one in pixels]
    grey = {"subsampling": "4:0:0"} if codec == "AVIF" else {}
    return [encode(one[..., 0], codec, **options | grey) for one in pixels]


def _smaller(plain: bytes, own: bytes) -> tuple[int, int]:
    """Bytes of the smaller of two JPEG files, and of the smaller payload, with tables of its own."""
    return min(len(plain), len(own)), min(payload(plain), payload(own) + tables(own))
