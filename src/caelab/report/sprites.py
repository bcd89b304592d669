"""Pictures that a page compares: those that runs left, side by side in one small image a row."""

import io
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import Image

from caelab.plotting.embed import data_uri
from caelab.plotting.strips import COLUMNS, Images
from caelab.texts import visible

_SIDE = 16_383  # pixels that WebP holds
_LARGEST = 24_000  # bytes of the originals in a page


def sprites(pictures: Mapping[str, Images]) -> dict[str, Any]:
    """Return rows of pictures (N, C, H, W) as plain data, the originals first.

    Where pictures are large there are fewer of them, at last one of lower resolution, so that the originals
    take at most 24 kB, and what networks make of them, which is smoother, mostly less.

    Returns:
        ``count`` pictures of ``width`` x ``height``, and ``rows``, each a ``name`` and its ``uri``.
    """
    originals = next(iter(pictures.values()))[:COLUMNS]
    count, scale = _fitting(originals)
    _, _, height, width = originals.shape
    return {
        "count": count,
        "width": max(1, width // scale),
        "height": max(1, height // scale),
        "rows": [
            {"name": visible(name), "uri": data_uri(_encoded(images[:count], scale), "image/webp")}
            for name, images in pictures.items()
        ],
    }


def _fitting(originals: Images) -> tuple[int, int]:
    """How many pictures, and how many times smaller, are small enough for the page and for WebP."""
    _, _, height, width = originals.shape
    return next(
        (count, scale)
        for count, scale in _smaller(len(originals))
        if max(count * (width // scale), height // scale) <= _SIDE
        and len(_encoded(originals[:count], scale)) <= _LARGEST
    )


def _smaller(count: int) -> Iterator[tuple[int, int]]:
    while count > 1:
        yield count, 1
        count //= 2
    scale = 1
    while True:
        yield 1, scale
        scale *= 2


def _encoded(images: Images, scale: int) -> bytes:
    """WebP without loss of pictures (N, C, H, W) side by side."""
    _, c, h, w = images.shape
    strip = images.transpose(2, 0, 3, 1).reshape(h, -1, c)  # (H, N*W, C)
    drawn = Image.fromarray(strip[..., 0] if c == 1 else strip)
    if scale > 1:
        drawn = drawn.resize((len(images) * max(1, w // scale), max(1, h // scale)), Image.Resampling.BOX)
    file = io.BytesIO()
    drawn.save(file, "WEBP", lossless=True)
    return file.getvalue()
