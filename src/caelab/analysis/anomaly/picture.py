"""ROC curves, and the images that a score finds most and least unlike."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from caelab import durable
from caelab.plotting.figures import as_it_is, tile
from caelab.plotting.style import floor_style, line_style
from caelab.texts import visible

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Rates of false and of true alarms, (thresholds,) each."""


@as_it_is
def detections(
    path: Path,
    curves: Mapping[str, Curve],
    floors: Mapping[str, Curve],
    blocks: Mapping[str, Mapping[str, Sequence[tuple[Tensor, str]]]],
) -> Path:
    """Draw ROC curves, and below them blocks of images that a score puts first or last.

    Args:
        path: of the picture.
        curves: name -> ROC curve of a score.
        floors: the same for scores that need no trained network.
        blocks: title -> name of a row -> its images (C, H, W) in [0, 1], each with a note; the blocks have
            rows of the same names.
    """
    columns = max(len(images) for rows in blocks.values() for images in rows.values())
    count = max(len(rows) for rows in blocks.values())
    figure = Figure(figsize=(1.6 + 0.95 * columns * len(blocks), 3.8 + 1.4 * count), layout="constrained")
    (top,), (bottom,) = figure.subfigures(2, 1, squeeze=False, height_ratios=[3.8, 1.4 * count])
    _roc(top.subplots(), curves, floors)
    parts = bottom.subfigures(1, len(blocks), squeeze=False)[0]
    for part, (title, rows) in zip(parts, blocks.items(), strict=True):
        part.suptitle(title, fontsize=10)
        axes = part.subplots(count, columns, squeeze=False)
        for row, (name, images) in zip(axes, rows.items(), strict=True):
            for axis in row[len(images) :]:
                axis.set_axis_off()
            for axis, (image, note) in zip(row, images, strict=False):
                tile(axis, image, note)
            row[0].set_ylabel(visible(name), fontsize=9, rotation=0, ha="right", va="center")
    with durable.file(path) as file:
        figure.savefig(file, dpi=150)
    return path


def _roc(axis: Axes, curves: Mapping[str, Curve], floors: Mapping[str, Curve]) -> None:
    for index, (name, curve) in enumerate(curves.items()):
        axis.plot(*curve, label=name, markevery=0.1, **line_style(index))
    for index, (name, curve) in enumerate(floors.items()):
        axis.plot(*curve, label=name, **floor_style(index))
    axis.plot([0, 1], [0, 1], color="#BBBBBB", linewidth=0.8, label="guessing (0.500)")
    axis.set(xlabel="normal images taken for anomalous", ylabel="anomalous images found", aspect="equal")
    axis.set(xlim=(0, 1), ylim=(0, 1))
    axis.legend(title="score (AUROC)", loc="center left", bbox_to_anchor=(1.04, 0.5), frameon=False)
