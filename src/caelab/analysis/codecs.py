"""What JPEG and WebP make of the same images: bytes with and without headers, and PSNR."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from caelab.data.datamodule import EVALUATION_BATCH, Split
from caelab.quality import mse, psnr

Pixels = NDArray[np.uint8]

_HALF, _WHOLE = 2, 0  # Pillow's names of 4:2:0 and 4:4:4
_SETTINGS: dict[str, list[dict[str, Any]]] = {
    # at few bytes JPEG does better on small images with colour at half the resolution, then with all of it
    "JPEG": [{"quality": quality, "subsampling": _HALF} for quality in (1, 5, 20)]
    + [{"quality": quality, "subsampling": _WHOLE} for quality in (50, 75, 88, 95)],
    "WebP": [{"quality": quality} for quality in (0, 10, 40, 80, 95)],
}
NAMES = tuple(_SETTINGS)

_START_OF_SCAN = b"\xff\xda"
_WEBP_HEADERS = 12 + 8 + 10  # of RIFF, of the chunk VP8, and of a key frame
_CHANNELS = (1, 3)


class Setting(NamedTuple):
    """A codec at one quality, means over the images.

    Attributes:
        quality: as Pillow takes it.
        file: bytes of a whole file.
        payload: bytes of what is left without the headers that are the same for all of these images.
        psnr: in dB.
    """

    quality: int
    file: float
    payload: float
    psnr: float


def payload(file: bytes) -> int:
    """Bytes of a JPEG or WebP file, as Pillow writes them, without headers.

    Of JPEG the entropy-coded scan counts: the tables, which are the standard's at each quality, and the sizes
    could be known to the decoder, as in the standard's abbreviated format. Of WebP the first 30 bytes do not.
    """
    if file[:4] == b"RIFF":
        return int.from_bytes(file[16:20], "little") + 20 - _WEBP_HEADERS
    scan = file.index(_START_OF_SCAN) + 2
    return len(file) - scan - int.from_bytes(file[scan : scan + 2], "big") - 2  # the last 2 end the image


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
        test: images with 1 or 3 channels; of others no codec knows a thing, and the curve is empty.
        codec: one of ``NAMES``.
        tick: called after each of the ``ticks(test)``, from several threads.
    """
    return [_measured(test, codec, options, tick) for options in _settings(test, codec)]


def ticks(test: Split) -> int:
    """How many batches the curves of all codecs go through."""
    return len(_starts(test)) * sum(len(_settings(test, codec)) for codec in NAMES)


def _settings(test: Split, codec: str) -> list[dict[str, Any]]:
    return _SETTINGS[codec] if test.images.shape[1] in _CHANNELS else []


def _measured(test: Split, codec: str, options: dict[str, Any], tick: Callable[[], object]) -> Setting:
    def batch(start: int) -> tuple[int, int, Tensor]:
        found = _batch(test[start : start + EVALUATION_BATCH], codec, options)
        tick()
        return found

    with ThreadPoolExecutor() as pool:  # Pillow codes outside of Python's lock
        files, payloads, psnrs = zip(*pool.map(batch, _starts(test)), strict=True)
    mean = torch.cat(psnrs).mean().item()
    return Setting(options["quality"], sum(files) / len(test), sum(payloads) / len(test), mean)


def _batch(images: Tensor, codec: str, options: dict[str, Any]) -> tuple[int, int, Tensor]:
    """Bytes of all files, and of their payloads, and the PSNR (dB) of each image, (n,) float64."""
    channels = images.shape[1]
    pixels = images.permute(0, 2, 3, 1).numpy()  # (n, H, W, C)
    files = [encode(one if channels == 3 else one[..., 0], codec, **options) for one in pixels]
    decoded = torch.from_numpy(np.stack([_decode(file, codec, channels) for file in files]))
    errors = mse(decoded.permute(0, 3, 1, 2).float() / 255, images.float() / 255)
    return sum(map(len, files)), sum(map(payload, files)), psnr(errors)


def _starts(test: Split) -> range:
    return range(0, len(test), EVALUATION_BATCH)
