"""A look as one HTML file that opens offline: pictures, and a map that shows the image behind each mark."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from caelab import durable
from caelab.analysis.look.codes import Floats
from caelab.analysis.look.figures import class_style
from caelab.analysis.look.parts import Part, Sight
from caelab.inference.images import to_bytes
from caelab.plotting.bands import shown
from caelab.plotting.embed import Picture, data_uri, environment

MAP_SIZE = (900.0, 640.0)
"""Width and height of the map in its own units."""

_MARGIN = 12.0
_THUMBNAIL = 32  # pixels of its longer side, at most


@dataclass(frozen=True)
class Sprite:
    """Small copies of images in one picture.

    Attributes:
        uri: the picture itself.
        columns: images in a row of it.
        rows: of images in it.
        width: of one image in pixels.
        height: of one image in pixels.
    """

    uri: str
    columns: int
    rows: int
    width: int
    height: int


@dataclass(frozen=True)
class Page:
    """What a look says beside its parts.

    Attributes:
        title: model and dataset.
        command: that wrote it.
        about: name and text of what identifies run, checkpoint and images, in order.
        notes: what holds for all parts.
        rows: (N,), places of the images in the test split.
    """

    title: str
    command: str
    about: dict[str, str]
    notes: Sequence[str]
    rows: Sequence[int]


def sprite(images: Tensor) -> Sprite:
    """Put images (N, C, H, W) of a split into one picture, row by row; large ones are made smaller."""
    images = to_bytes(shown(images))
    n, channels, height, width = images.shape
    shrink = min(1.0, _THUMBNAIL / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    columns = math.ceil(math.sqrt(n))
    lines = math.ceil(n / columns)
    mode = "L" if channels == 1 else "RGB"
    sheet = Image.new(mode, (columns * size[0], lines * size[1]), "white")
    for place, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        small = Image.fromarray(image[..., 0] if channels == 1 else image, mode).resize(size)
        sheet.paste(small, (place % columns * size[0], place // columns * size[1]))
    stream = io.BytesIO()
    sheet.save(stream, "WEBP", quality=80)
    return Sprite(data_uri(stream.getvalue(), "image/webp"), columns, lines, *size)


def on_the_map(places: Floats) -> Floats:
    """Fit points (N, 2) into the map, (N, 2) with y downwards; one scale for both, so that distances stay."""
    low, high = places.min(0), places.max(0)
    span = np.where(high > low, high - low, 1)
    room = np.array(MAP_SIZE) - 2 * _MARGIN
    moved = (places - (low + high) / 2) * (room / span).min()
    fitted: Floats = np.round(np.array(MAP_SIZE) / 2 + moved * [1, -1], 1)
    return fitted


def write(page: Page, sight: Sight, parts: dict[str, Part], out: Path) -> Path:
    """Write each picture, and ``index.html`` that needs none of them, into ``out``; return its path."""
    pictures = {}
    for name, part in parts.items():
        if part.figure is not None:
            with durable.file(out / f"{name}.png") as file:
                part.figure.savefig(file, metadata={"Software": None})
            pictures[name] = Picture(f"{part.title}. {part.how}", out / f"{name}.png")
    template = environment(".html", Path(__file__).parent).get_template("look.html.j2")
    text = template.render(
        page=page,
        parts=parts,
        pictures=pictures,
        points=_points(page, sight),
        classes={label: {"name": name, **_mark(label)} for label, name in sight.classes.items()},
        sprite=sprite(sight.portrait.images[: len(sight.places)]),
        names=sight.classes,
        size=MAP_SIZE,
    )
    path = out / "index.html"
    durable.write(path, text)
    return path


def _points(page: Page, sight: Sight) -> list[dict[str, Any]]:
    places = on_the_map(sight.places).tolist()
    labels, decibels = sight.portrait.labels.tolist(), sight.portrait.decibels.tolist()
    return [
        {"x": x, "y": y, "label": labels[i], "row": int(page.rows[i]), "psnr": round(decibels[i], 1)}
        for i, (x, y) in enumerate(places)
    ]


def _mark(label: int) -> dict[str, str]:
    """Colour of a class, and the path of its mark around (0, 0)."""
    style = class_style(label)
    return {"colour": style["color"], "path": _PATHS[style["marker"]]}


_PATHS = {
    "o": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z",
    "s": "M-3.5 -3.5H3.5V3.5H-3.5Z",
    "^": "M0 -4.6L4.4 3.4H-4.4Z",
    "D": "M0 -4.8L4.8 0L0 4.8L-4.8 0Z",
    "v": "M0 4.6L4.4 -3.4H-4.4Z",
    "P": "M-1.6 -4.4H1.6V-1.6H4.4V1.6H1.6V4.4H-1.6V1.6H-4.4V-1.6H-1.6Z",
    "X": "M-4.2 -2L-2 -4.2L0 -2.2L2 -4.2L4.2 -2L2.2 0L4.2 2L2 4.2L0 2.2L-2 4.2L-4.2 2L-2.2 0Z",
    "<": "M-4.6 0L3.4 -4.4V4.4Z",
}
"""matplotlib's name of a marker -> its outline."""
