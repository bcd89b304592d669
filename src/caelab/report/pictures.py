"""Originals above their reconstructions, from the 8-bit pictures that runs left: no model is loaded."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from caelab import arrays, screen
from caelab.config.fingerprint import CLEAN
from caelab.report.rows import Row, Section
from caelab.report.style import DPI, WIDTH, heading, sheet, styled
from caelab.texts import visible

Images = NDArray[np.uint8]

COLUMNS = 12
"""Pictures side by side, at most: more have no room for the text below each."""

_CELL = 0.8  # inches of a picture, at most
_TITLED = 3.0  # inches that a title needs
_AUDITED = 5  # pictures of a path
_GAP = 2  # white pixels between pictures
_TEXT = 0.18  # inches for a line of text below a picture
_LINE = 0.14  # inches of a line of a name
_SPACE = 0.06  # inches between strips
_MIDDLE = 0.15  # inches between two panels


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
    shown = [Strip(_wrapped(row.name), row.images[:n], row.texts[:n]) for row in rows]
    if count > n:
        shown[0] = shown[0]._replace(name=f"{shown[0].name}\n(first {n} of {count:,})")
    margin = _margin([row.name for row in shown])
    cell = min(_CELL, (WIDTH - margin - _SPACE) / n)
    heights = [_height(row, cell * h / w) for row in shown]
    figure = sheet(title, sum(heights), max(margin + cell * n + _SPACE, _TITLED))
    for top, row in zip(_tops(figure, heights), shown, strict=True):
        _strip(_panel(figure, margin, top, cell * n, cell * h / w), *row)
    return figure


def _tops(figure: Figure, heights: Sequence[float]) -> Iterator[float]:
    """Fix the layout of a figure with a title above rows of these heights; inches from the foot to each."""
    figure.set_layout_engine("none")
    figure.suptitle(figure.get_suptitle(), y=1 - 0.05 / figure.get_figheight(), va="top")
    left = sum(heights)
    for height in heights:
        yield left
        left -= height


def _panel(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes of that size (inches) at a place that counts from the left and from the foot."""
    w, h = figure.get_size_inches()
    return figure.add_axes((left / w, (top - height) / h, width / w, height / h))


def _wrapped(name: str) -> str:
    return "\n".join(fill(line, 22) for line in name.split("\n"))


def _height(row: Strip, picture: float) -> float:
    """Inches of a strip whose pictures are so high, with the text below and a gap."""
    texts = _TEXT * max(bool(text) + text.count("\n") for text in row.texts)
    return max(picture, _LINE * (1 + row.name.count("\n"))) + texts + _SPACE


def _margin(names: Sequence[str]) -> float:
    """Inches for the widest of the names at the left."""
    paper = Figure(dpi=DPI)
    widths = (paper.text(0, 0, name, fontsize=8).get_window_extent().width for name in names)
    return max(widths) / DPI + 0.25


def grid(section: Section) -> Figure | None:
    """Draw originals above a line of reconstructions a row, a column a class: figures 6 to 14 of the report.

    The pictures are those of a row's lowest seed, below what it was given where those are not the originals.
    Below each stands its own PSNR in dB, at peak 255. A row without pictures, or with other originals than
    the first row's, is left out.

    Returns:
        None where no row has pictures.
    """
    kept = [(row, pictures) for row in section.rows if (pictures := _pictures(row)) is not None]
    found = {_name(row, pictures): pictures for row, pictures in kept}
    if not found:
        return None
    originals = next(iter(found.values()))[0]
    made = {name: (given, x) for name, (x0, given, x) in found.items() if np.array_equal(x0, originals)}
    rows = [Strip("original", originals, [""] * len(originals))]
    for name, images in below_the_given(originals, made).items():
        rows.append(Strip(name, images, _texts(images, originals)))
    return strips(heading(section), rows)


def below_the_given(originals: Any, made: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
    """Order rows of pictures, each set of those that networks were given above what they made of it.

    Args:
        originals: arrays or tensors, (N, C, H, W), like all others.
        made: name -> what a network was given, and what it made of it.

    Returns:
        Name -> pictures; originals are no row.
    """
    groups: list[tuple[Any, dict[str, Any]]] = []
    for name, (given, x_hat) in made.items():
        group = next((rows for images, rows in groups if np.array_equal(images, given)), None)
        if group is None:
            groups.append((given, group := {}))
        group[name] = x_hat
    rows: dict[str, Any] = {}
    for given, group in groups:
        if not np.array_equal(given, originals):
            rows["corrupted" if len(groups) == 1 else f"given to\n{next(iter(group))}"] = given
        rows |= group
    return rows


@styled
def paths(section: Section) -> Figure | None:
    """Draw what the latent alone (left) and the skips alone (right) reconstruct, a line a row.

    The pictures are those that the audit of a row's lowest seed left: first test images of five classes; all
    that is not alone is the mean over the training images. Below each stands its PSNR in dB, at peak 255.
    A row without skips, without an audit, or with other originals than the first row's, is left out.

    Returns:
        None where no row has such pictures.
    """
    found = {row.label: pictures for row in section.rows if (pictures := _alone(row)) is not None}
    if not found:
        return None
    originals = next(iter(found.values()))[0]
    none = [""] * len(originals)
    rows = [(Strip("original", originals, none), Strip("", originals, none))]
    for name, (x, *parts) in found.items():
        if np.array_equal(x, originals):
            both = [Strip(_wrapped(name), part, _texts(part, originals)) for part in parts]
            rows.append((both[0], both[1]._replace(name="")))
    margin = _margin([row.name for row, _ in rows])
    h, w = originals.shape[2:]
    width = (WIDTH - margin - _MIDDLE - _SPACE) / 2
    heights = [_height(row, width / len(originals) * h / w) for row, _ in rows]
    heights[0] += _TEXT  # for the heads of the columns
    figure = sheet(heading(section), sum(heights))
    panels = []
    for top, row in zip(_tops(figure, heights), rows, strict=True):
        for number, strip in enumerate(row):
            left, below = margin + number * (width + _MIDDLE), top - _TEXT * (row is rows[0])
            panels.append(_panel(figure, left, below, width, width / len(originals) * h / w))
            _strip(panels[-1], *strip)
    for axes, title in zip(panels, ("latent alone", "skips alone"), strict=False):
        axes.set_title(title, fontsize=9)
    return figure


def _alone(row: Row) -> list[Images] | None:
    """Originals, latent alone and skips alone of the lowest seed, each (n, C, H, W); None without them."""
    run = row.runs[min(row.runs)] if row.runs else None
    if run is None or "audit/psnr_mean_skips" not in run.figures:
        return None
    keys = ("originals", "latent", "skips")
    found = _read(run.path / "audit.npz", keys, "audit the run again")
    return None if found is None else [images[:_AUDITED] for images in found]


def _pictures(row: Row) -> list[Images] | None:
    """Originals, what was given, and reconstructions of the lowest seed; None where it kept none.

    Each is (N, C, H, W). Of a run from before ``corrupted`` was kept they are the originals twice.
    """
    run = row.runs[min(row.runs)] if row.runs else None
    if run is None or "images" not in run.record["artifacts"]:
        return None
    path = run.path / run.record["artifacts"]["images"]
    return _read(path, ("originals", "corrupted", "reconstructions"), "train with force=true to make it anew")


def _name(row: Row, pictures: Sequence[Images]) -> str:
    """Name a row; where its run was given corrupted images that it did not keep, it says so."""
    clean = row.runs[min(row.runs)].record.get("config", {}).get("corruption", CLEAN) == CLEAN
    kept = not np.array_equal(pictures[0], pictures[1])
    return row.label if clean or kept else f"{row.label}\n(given corrupted images)"


def _read(path: Path, names: Sequence[str], advice: str) -> list[Images] | None:
    """Arrays of a file of pictures; None where it is missing, or damaged, which is told."""
    try:
        found = arrays.load(path, names, {"corrupted": "originals"})
        for name, images in zip(names, found, strict=True):
            _require_pictures(name, images, found[0].shape)
        return found
    except FileNotFoundError:
        return None
    except arrays.DAMAGE as error:
        screen.error(f"{path} is damaged ({screen.one_line(error)}) and left out; {advice}")
        return None


def _require_pictures(name: str, images: Images, shape: tuple[int, ...]) -> None:
    drawable = images.ndim == 4 and images.dtype == np.uint8 and images.shape[1] in (1, 3) and images.size
    if not drawable or images.shape != shape:
        raise ValueError(f"{name} is an array {images.shape} of {images.dtype}")


def _strip(axes: Axes, name: str, images: Images, texts: Sequence[str]) -> None:
    """Show pictures side by side, the name at their left and a text below each."""
    padded = np.pad(images, ((0, 0), (0, 0), (0, 0), (0, _GAP)), constant_values=255)
    n, c, h, w = padded.shape
    strip = padded.transpose(2, 0, 3, 1).reshape(h, n * w, c)[:, :-_GAP]  # (H, N*W + gaps, C)
    axes.imshow(strip[..., 0] if c == 1 else strip, cmap="gray", vmin=0, vmax=255, interpolation="none")
    axes.set_xticks(np.arange(n) * w + (w - _GAP - 1) / 2, texts)
    axes.set_yticks([])
    axes.set_ylabel(visible(name), rotation=0, ha="right", va="center", fontsize=8)
    axes.tick_params(length=0, pad=1, labelsize=7)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _texts(x_hat: Images, x: Images) -> list[str]:
    return [_decibels(a, b) for a, b in zip(x_hat, x, strict=True)]


def _decibels(x_hat: Images, x: Images) -> str:
    mse = np.square(x_hat.astype(np.float64) - x).mean()
    return f"{20 * math.log10(255) - 10 * math.log10(mse):.1f} dB" if mse else "∞ dB"
