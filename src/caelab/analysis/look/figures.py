"""Pictures of what a model does, drawn from arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from caelab.plotting.strips import Strip, strips
from caelab.plotting.style import COLOURS, floor_style, legend, line_style, logarithmic, sheet, styled

Floats = NDArray[Any]

COLUMNS = 8
"""Pictures side by side where they are no walk."""

NAMED = 24
"""Classes that a map tells apart; a folder may have hundreds."""


def eight_bits(images: Floats) -> NDArray[np.uint8]:
    """Images in [0, 1] as bytes."""
    return (255 * np.clip(images, 0, 1)).round().astype(np.uint8)


def reconstructions(title: str, groups: dict[str, tuple[Floats, Floats, Floats]]) -> Figure:
    """Draw, for each group of images, originals, reconstructions and their errors.

    Args:
        title: of the figure.
        groups: name -> originals and reconstructions, (N, C, H, W) in [0, 1], and PSNR in dB, (N,).
    """
    errors = {name: np.abs(x_hat - x).mean(1, keepdims=True) for name, (x, x_hat, _) in groups.items()}
    scale = max(float(error.max()) for error in errors.values()) or 1.0
    rows = []
    for name, (x, x_hat, decibels) in groups.items():
        none = [""] * len(x)
        rows.append(Strip(name, eight_bits(x), none))
        rows.append(Strip("reconstruction", eight_bits(x_hat), [f"{value:.1f} dB" for value in decibels]))
        dark = f"error\nblack: {255 * scale:.0f} of 255"
        rows.append(Strip(dark, eight_bits(1 - errors[name] / scale), none))
    return strips(title, rows)


def walks(title: str, names: Sequence[str], images: Floats, steps: Sequence[str]) -> Figure:
    """Draw a row of pictures for each walk, images (K, S, C, H, W) in [0, 1], with a text below each step."""
    texts = [[""] * len(steps)] * (len(names) - 1) + [list(steps)]
    rows = zip(names, eight_bits(images), texts, strict=True)
    return strips(title, [Strip(*row) for row in rows])


def tiles(title: str, images: Floats, texts: Sequence[str]) -> Figure:
    """Draw pictures (N, C, H, W) in [0, 1], a text below each, ``COLUMNS`` in a row; the rest stays white."""
    missing = -len(images) % COLUMNS
    padded = np.pad(eight_bits(images), ((0, missing), (0, 0), (0, 0), (0, 0)), constant_values=255)
    below = [*texts, *[""] * missing]
    starts = range(0, len(padded), COLUMNS)
    return strips(title, [Strip("", padded[i : i + COLUMNS], below[i : i + COLUMNS]) for i in starts])


def class_style(label: int) -> dict[str, Any]:
    """Colour and marker of a class; together they repeat after 64."""
    kinds = len(COLOURS)
    marker = line_style(label % kinds + label // kinds % kinds)["marker"]
    return {"color": COLOURS[label % kinds], "marker": marker}


@styled
def scatter(title: str, points: Floats, labels: NDArray[np.int64], names: dict[int, str]) -> Figure:
    """Draw points (N, 2) with the colour and the marker of their class; after ``NAMED`` classes grey."""
    figure = sheet(title, 5.0)
    axes = figure.subplots()
    first = list(names.items())[:NAMED]
    if len(names) > NAMED:
        x, y = points[~np.isin(labels, [label for label, _ in first])].T
        rest = f"{len(names) - NAMED} more classes"
        axes.scatter(x, y, s=8, linewidths=0, alpha=0.6, label=rest, c="#BBBBBB")
    for label, name in first:
        x, y = points[labels == label].T
        style = class_style(label)
        axes.scatter(
            x, y, s=12, linewidths=0, alpha=0.8, label=name, c=style["color"], marker=style["marker"]
        )
    axes.spines[:].set_visible(False)
    axes.set(aspect="equal", adjustable="datalim", xticks=[], yticks=[])
    legend(figure, axes)
    return figure


@styled
def usage(
    title: str, deviations: Floats, effects: Floats, axes: Floats, dimension: float, limits: Sequence[float]
) -> Figure:
    """Draw how much a code is used.

    Args:
        title: of the figure.
        deviations: (L,), standard deviation of each coordinate.
        effects: (L,), effect of each on the picture, in grey levels of 255.
        axes: (K,), variance along each principal axis, largest first.
        dimension: the effective one.
        limits: the deviation below which a coordinate is dead, and the effect below which it is ignored.
    """
    figure = sheet(title, 2.7)
    left, middle, right = figure.subplots(1, 3)
    # What is 0 has no place on a logarithmic axis: it lies on its edge.
    deviations, effects = np.maximum(deviations, limits[0] / 5), np.maximum(effects, limits[1] / 50)
    line: dict[str, Any] = {"marker": ".", "markersize": 3, "linewidth": 1}
    ranks = np.arange(1, len(deviations) + 1)
    left.plot(ranks, np.sort(deviations)[::-1], color=COLOURS[0], **line)
    left.axhline(limits[0], **floor_style(0))
    left.set(xlabel="coordinates, widest first", ylabel="standard deviation")
    middle.plot(
        np.cumsum([0, *axes / axes.sum()]) * 100, color=COLOURS[1], marker=".", markersize=3, linewidth=1
    )
    middle.axvline(dimension, **floor_style(1))
    middle.set(xlabel="principal axes, longest first", ylabel="variance together (%)", ylim=(0, 103))
    right.scatter(deviations, effects, s=12, color=COLOURS[2], marker="^", linewidths=0)
    right.axvline(limits[0], **floor_style(0))
    right.axhline(limits[1], **floor_style(0))
    right.set(xlabel="standard deviation", ylabel="effect (grey levels of 255)")
    logarithmic(left, "y")
    logarithmic(right, "x")
    logarithmic(right, "y")
    right.xaxis.set_major_locator(LogLocator())  # a third of the width has no room for 1, 2, 5
    return figure
