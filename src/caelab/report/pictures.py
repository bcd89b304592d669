"""Originals above their reconstructions, from the 8-bit pictures that runs left: no model is loaded."""

import math
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from caelab import arrays
from caelab.errors import UserError
from caelab.report.rows import Row, Section
from caelab.report.style import WIDTH, heading, sheet, styled
from caelab.screen import one_line

Images = NDArray[np.uint8]

_MARGIN = 1.5  # inches for the names at the left
_CELL = 0.8  # inches of a picture, at most
_COLUMNS = 5  # pictures of a path
_GAP = 2  # white pixels between pictures
_TEXT = 0.18  # inches for a line of text below a picture


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
    """Draw strips of equally many, equally large pictures below each other."""
    n, _, h, w = rows[0].images.shape
    cell = min(_CELL, (WIDTH - _MARGIN) / n)
    texts = sum(_TEXT * max(1 + text.count("\n") for text in row.texts) for row in rows)
    figure = sheet(title, cell * h / w * len(rows) + texts, _MARGIN + cell * n)
    figure.set_layout_engine(ConstrainedLayoutEngine(h_pad=0.03, w_pad=0.04, hspace=0, wspace=0))
    for axes, row in zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows, strict=True):
        _strip(axes, *row)
    return figure


def grid(section: Section) -> Figure | None:
    """Draw originals above a line of reconstructions a row, a column a class: figures 6 to 14 of the report.

    The pictures are those of a row's lowest seed. Below each stands its own PSNR in dB, at peak 255. A row
    without pictures, or with other originals than the first row's, is left out.

    Returns:
        None where no row has pictures.

    Raises:
        UserError: a file of pictures is damaged.
    """
    found = {row.label: pictures for row in section.rows if (pictures := _pictures(row)) is not None}
    if not found:
        return None
    originals, _ = next(iter(found.values()))
    rows = [Strip("original", originals, [""] * len(originals))]
    for name, (x, x_hat) in found.items():
        if np.array_equal(x, originals):
            texts = [_decibels(a, b) for a, b in zip(x_hat, originals, strict=True)]
            rows.append(Strip(name, x_hat, texts))
    return strips(heading(section), rows)


@styled
def paths(section: Section) -> Figure | None:
    """Draw what the latent alone (left) and the skips alone (right) reconstruct, a line a row.

    The pictures are those that the audit of a row's lowest seed left: first test images of five classes; all
    that is not alone is the mean over the training images. Below each stands its PSNR in dB, at peak 255.
    A row without skips, without an audit, or with other originals than the first row's, is left out.

    Returns:
        None where no row has such pictures.

    Raises:
        UserError: a file of pictures is damaged.
    """
    found = {row.label: pictures for row in section.rows if (pictures := _alone(row)) is not None}
    if not found:
        return None
    originals = next(iter(found.values()))[0]
    shown = {name: parts for name, (x, *parts) in found.items() if np.array_equal(x, originals)}
    cell = (WIDTH - _MARGIN) / 2 / _COLUMNS
    figure = sheet(heading(section), (cell + 0.18) * (len(shown) + 1) + 0.2)
    figure.set_layout_engine(ConstrainedLayoutEngine(h_pad=0.03, w_pad=0.04, hspace=0, wspace=0))
    first, *others = figure.subplots(len(shown) + 1, 2, squeeze=False)
    for axes, title in zip(first, ("latent alone", "skips alone"), strict=True):
        _strip(axes, "original" if axes is first[0] else "", originals, [""] * len(originals))
        axes.set_title(title, fontsize=9)
    for panels, (name, parts) in zip(others, shown.items(), strict=True):
        for axes, label, x_hat in zip(panels, (name, ""), parts, strict=True):
            _strip(axes, label, x_hat, [_decibels(a, b) for a, b in zip(x_hat, originals, strict=True)])
    return figure


def _alone(row: Row) -> list[Images] | None:
    """Originals, latent alone and skips alone of the lowest seed, each (n, C, H, W); None without them."""
    run = row.runs[min(row.runs)] if row.runs else None
    if run is None or "audit/psnr_mean_skips" not in run.figures:
        return None
    found = _read(run.path / "audit.npz", ("originals", "latent", "skips"), "audit the run again")
    return None if found is None else [images[:_COLUMNS] for images in found]


def _pictures(row: Row) -> list[Images] | None:
    """Originals and reconstructions of the lowest seed, both (N, C, H, W); None where it kept none."""
    run = row.runs[min(row.runs)] if row.runs else None
    if run is None or "images" not in run.record["artifacts"]:
        return None
    path = run.path / run.record["artifacts"]["images"]
    return _read(path, ("originals", "reconstructions"), "train with force=true to make it anew")


def _read(path: Path, names: Sequence[str], advice: str) -> list[Images] | None:
    """Arrays of a file of pictures; None where it is missing."""
    try:
        return [_drawable(name, images) for name, images in zip(names, arrays.load(path, names), strict=True)]
    except FileNotFoundError:
        return None
    except arrays.DAMAGE as error:
        raise UserError(f"{path} is damaged ({one_line(error)}); {advice}") from None


def _drawable(name: str, images: Images) -> Images:
    """Refuse what is no row of pictures."""
    if images.ndim != 4 or images.dtype != np.uint8 or images.shape[1] not in (1, 3) or not images.size:
        raise ValueError(f"{name} is an array {images.shape} of {images.dtype}")
    return images


def _strip(axes: Axes, name: str, images: Images, texts: Sequence[str]) -> None:
    """Show pictures side by side, the name at their left and a text below each."""
    padded = np.pad(images, ((0, 0), (0, 0), (0, 0), (0, _GAP)), constant_values=255)
    n, c, h, w = padded.shape
    strip = padded.transpose(2, 0, 3, 1).reshape(h, n * w, c)[:, :-_GAP]  # (H, N*W + gaps, C)
    axes.imshow(strip[..., 0] if c == 1 else strip, cmap="gray", vmin=0, vmax=255, interpolation="none")
    axes.set_xticks(np.arange(n) * w + (w - _GAP - 1) / 2, texts)
    axes.set_yticks([])
    label = "\n".join(fill(line, 22, break_long_words=False) for line in name.split("\n"))
    axes.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
    axes.tick_params(length=0, pad=1, labelsize=7)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _decibels(x_hat: Images, x: Images) -> str:
    mse = np.square(x_hat.astype(np.float64) - x).mean()
    return f"{20 * math.log10(255) - 10 * math.log10(mse):.1f} dB" if mse else "∞ dB"
