"""Originals above their reconstructions, from the 8-bit pictures that runs left: no model is loaded."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from caelab import terminal
from caelab.config.fingerprint import CLEAN
from caelab.plotting.strips import (
    SPACE,
    TEXT,
    Images,
    Strip,
    draw_strip,
    height_of,
    margin_of,
    panel,
    strips,
    tops,
    wrapped,
)
from caelab.plotting.style import WIDTH, sheet, styled
from caelab.report.rows import Row, Section, titled
from caelab.runs import arrays
from caelab.runs.labels import numbered

_ORIGINAL = "original"
_AUDITED = 5  # pictures of a path
_MIDDLE = 0.15  # inches between two panels


def collected(section: Section) -> dict[str, Images]:
    """Name -> pictures, (N, C, H, W): the originals, and what a row's lowest seed made of them.

    Below what it was given where those are not the originals. A row without pictures, or with other originals
    than the first row's, is left out; without any there is nothing.
    """
    kept = [(row, pictures) for row in section.rows if (pictures := _pictures(row)) is not None]
    found = {_name(row, pictures): pictures for row, pictures in kept}
    if not found:
        return {}
    originals = next(iter(found.values()))[0]
    made = {name: (given, x) for name, (x0, given, x) in found.items() if np.array_equal(x0, originals)}
    return {_ORIGINAL: originals, **below_the_given(originals, made)}


def grid(title: str, pictures: Mapping[str, Images]) -> Figure | None:
    """Draw originals above a line of reconstructions a row, a column a class: figures 6 to 14 of the report.

    Below each stands its own PSNR in dB, at peak 255.

    Args:
        title: of the figure.
        pictures: as ``collected``.

    Returns:
        None where there are none.
    """
    if not pictures:
        return None
    originals = pictures[_ORIGINAL]
    rows = [Strip(_ORIGINAL, originals, [""] * len(originals))]
    rows += [Strip(name, x, _texts(x, originals)) for name, x in pictures.items() if name != _ORIGINAL]
    return strips(title, rows)


def below_the_given(originals: Any, made: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
    """Order rows of pictures, each set of those that networks were given above what they made of it.

    Args:
        originals: arrays or tensors, (N, C, H, W), like all others.
        made: name -> what a network was given, and what it made of it.

    Returns:
        Name -> pictures; originals are no row. A name that they or those given have gets a number.
    """
    groups: list[tuple[Any, dict[str, Any]]] = []
    for name, (given, x_hat) in made.items():
        group = next((rows for images, rows in groups if np.array_equal(images, given)), None)
        if group is None:
            groups.append((given, group := {}))
        group[name] = x_hat
    rows: list[tuple[str, Any]] = [(_ORIGINAL, originals)]
    for given, group in groups:
        if not np.array_equal(given, originals):
            rows.append(("corrupted" if len(groups) == 1 else f"given to\n{next(iter(group))}", given))
        rows += group.items()
    names = numbered([name for name, _ in rows])
    return {name: images for name, (_, images) in [*zip(names, rows, strict=True)][1:]}


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
            both = [Strip(wrapped(name), part, _texts(part, originals)) for part in parts]
            rows.append((both[0], both[1]._replace(name="")))
    margin = margin_of([row.name for row, _ in rows])
    h, w = originals.shape[2:]
    width = (WIDTH - margin - _MIDDLE - SPACE) / 2
    heights = [height_of(row, width / len(originals) * h / w) for row, _ in rows]
    heights[0] += TEXT  # for the heads of the columns
    figure = sheet(titled("What latent and skips reconstruct alone", section), sum(heights))
    panels = []
    for top, row in zip(tops(figure, heights), rows, strict=True):
        for number, strip in enumerate(row):
            left, below = margin + number * (width + _MIDDLE), top - TEXT * (row is rows[0])
            panels.append(panel(figure, left, below, width, width / len(originals) * h / w))
            draw_strip(panels[-1], *strip)
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
    if run is None or "images" not in run.record.artifacts:
        return None
    path = run.path / run.record.artifacts["images"]
    return _read(
        path, ("originals", "corrupted", "reconstructions"), "train with force=true to make a new one"
    )


def _name(row: Row, pictures: Sequence[Images]) -> str:
    """Name a row; where its run was given corrupted images that it did not keep, it says so."""
    clean = row.runs[min(row.runs)].record.corruption == CLEAN
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
        terminal.error(f"{path} is damaged ({terminal.one_line(error)}) and left out; {advice}")
        return None


def _require_pictures(name: str, images: Images, shape: tuple[int, ...]) -> None:
    drawable = images.ndim == 4 and images.dtype == np.uint8 and images.shape[1] in (1, 3) and images.size
    if not drawable or images.shape != shape:
        raise ValueError(f"{name} is an array {images.shape} of {images.dtype}")


def _texts(x_hat: Images, x: Images) -> list[str]:
    return [_decibels(a, b) for a, b in zip(x_hat, x, strict=True)]


def _decibels(x_hat: Images, x: Images) -> str:
    mse = np.square(x_hat.astype(np.float64) - x).mean()
    return f"{20 * math.log10(255) - 10 * math.log10(mse):.1f} dB" if mse else "∞ dB"
