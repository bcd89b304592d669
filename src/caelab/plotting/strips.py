"""Equally large pictures side by side, in strips below each other."""

from collections.abc import Iterator, Sequence
from textwrap import fill
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from caelab.plotting.bands import shown
from caelab.plotting.style import DPI, WIDTH, sheet, styled
from caelab.texts import visible

Images = NDArray[np.uint8]


COLUMNS = 12
"""Pictures side by side, at most: more have no room for the text below each."""


_CELL = 0.8  # inches of a picture, at most


_TITLED = 3.0  # inches that a title needs


_GAP = 2  # white pixels between pictures


TEXT = 0.18  # inches for a line of text below a picture


_LINE = 0.14  # inches of a line of a name


SPACE = 0.06  # inches between strips


class Strip(NamedTuple):
    """Pictures side by side.

    Attributes:
        name: stands at their left; may have several lines.
        images: (N, C, H, W).
        texts: N, one below each picture; a text may have several lines.
    """

    name: str
    images: Images
    texts: Sequence[str]


@styled
def strips(title: str, rows: Sequence[Strip]) -> Figure:
    """Draw strips of equally many, equally large pictures below each other.

    The first ``COLUMNS`` of each are drawn; where there are more, the name of the first strip says so.
    """
    count, _, h, w = rows[0].images.shape
    n = min(count, COLUMNS)
    shown = [Strip(wrapped(row.name), row.images[:n], row.texts[:n]) for row in rows]
    if count > n:
        shown[0] = shown[0]._replace(name=f"{shown[0].name}\n(first {n} of {count:,})")
    margin = margin_of([row.name for row in shown])
    cell = min(_CELL, (WIDTH - margin - SPACE) / n)
    heights = [height_of(row, cell * h / w) for row in shown]
    figure = sheet(title, sum(heights), max(margin + cell * n + SPACE, _TITLED))
    for top, row in zip(tops(figure, heights), shown, strict=True):
        draw_strip(panel(figure, margin, top, cell * n, cell * h / w), *row)
    return figure


def tops(figure: Figure, heights: Sequence[float]) -> Iterator[float]:
    """Fix the layout of a figure with a title above rows of these heights; inches from the foot to each."""
    figure.set_layout_engine(None)
    figure.suptitle(figure.get_suptitle(), y=1 - 0.05 / figure.get_figheight(), va="top")
    left = sum(heights)
    for height in heights:
        yield left
        left -= height


def panel(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes of that size (inches) at a place that counts from the left and from the foot."""
    w, h = figure.get_size_inches()
    return figure.add_axes((left / w, (top - height) / h, width / w, height / h))


def wrapped(name: str) -> str:
    """Break a name into lines that fit at the left."""
    return "\n".join(fill(line, 22) for line in name.split("\n"))


def height_of(row: Strip, picture: float) -> float:
    """Inches of a strip whose pictures are so high, with the text below and a gap."""
    texts = TEXT * max(bool(text) + text.count("\n") for text in row.texts)
    return max(picture, _LINE * (1 + row.name.count("\n"))) + texts + SPACE


def margin_of(names: Sequence[str]) -> float:
    """Inches for the widest of the names at the left."""
    paper = Figure(dpi=DPI)
    widths = (paper.text(0, 0, name, fontsize=8).get_window_extent().width for name in names)
    return max(widths) / DPI + 0.25


def draw_strip(axes: Axes, name: str, images: Images, texts: Sequence[str]) -> None:
    """Show pictures side by side, the name at their left and a text below each."""
    padded = np.pad(shown(images), ((0, 0), (0, 0), (0, 0), (0, _GAP)), constant_values=255)
    n, c, h, w = padded.shape
    strip = padded.transpose(2, 0, 3, 1).reshape(h, n * w, c)[:, :-_GAP]  # (H, N*W + gaps, C)
    axes.imshow(strip[..., 0] if c == 1 else strip, cmap="gray", vmin=0, vmax=255, interpolation="none")
    axes.set_xticks(np.arange(n) * w + (w - _GAP - 1) / 2, texts)
    axes.set_yticks([])
    axes.set_ylabel(visible(name), rotation=0, ha="right", va="center", fontsize=8)
    axes.tick_params(length=0, pad=1, labelsize=7)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
