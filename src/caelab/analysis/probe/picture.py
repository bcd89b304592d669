"""The picture of a probe: accuracy of each kind of features, and the confusion matrix of the code's."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from caelab.plotting.style import COLOURS, legend, sheet, styled
from caelab.texts import visible

_NUMBERED = 12  # classes, at most, for a figure in each cell
_LINES = {
    "linear": ("linear", "o", 0, -0.18),
    "knn": ("10 nearest neighbours", "s", 1, 0.18),
}
_LABELS = {
    "": ("", 5.5, None),
    "_10pct": (", 10 % of the labels", 4.5, "white"),
    "_1pct": (", 1 %", 3, "white"),
}
"""Ending of a score -> its part of the legend, size and fill."""


@styled
def draw(analysis: Mapping[str, Any], run: str) -> Figure:
    """Draw the accuracies of all features with their intervals, and the linear probe's confusion of ``z``.

    Args:
        analysis: as ``caelab.analysis.probe.probe.measure`` returns it.
        run: what to call it.
    """
    kinds, classes, chance = analysis["features"], analysis["classes"], 100 * analysis["chance"]
    figure = sheet(f"{run}: what probes read from its features", max(3.4, 0.34 * len(kinds) + 0.8), 9.0)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    for probe, (name, marker, colour, offset) in _LINES.items():
        for ending, (labels, size, fill) in _LABELS.items():
            style = {"marker": marker, "ms": size, "color": COLOURS[colour], "mfc": fill or COLOURS[colour]}
            style |= {"label": f"{name}{labels}", "zorder": 2 + size / 10}  # the larger dot on top
            _dots(left, kinds, f"{probe}{ending}", offset, style)
    left.set_yticks(range(len(kinds)), [f"{kind} ({one['numbers']:,})" for kind, one in kinds.items()])
    left.set_ylim(len(kinds) - 0.5, -0.5)
    left.set_xlabel(f"test accuracy (%), 95 % intervals; always the commonest class: {chance:.1f}")
    _confusion(right, np.array(kinds["z"]["confusion"]), [visible(name) for name in classes])
    legend(figure, left)
    return figure


def _dots(axes: Axes, kinds: Mapping[str, Any], score: str, offset: float, style: dict[str, Any]) -> None:
    found = [
        (row + offset, one["scores"][score])
        for row, one in enumerate(kinds.values())
        if score in one["scores"]
    ]
    if not found:
        return
    accuracy, low, high = (
        100 * np.array([one[key] for _, one in found]) for key in ("accuracy", "low", "high")
    )
    reach = np.stack([accuracy - low, high - accuracy])
    axes.errorbar(accuracy, [row for row, _ in found], xerr=reach, ls="", elinewidth=1, capsize=2, **style)


def _confusion(axes: Axes, counts: Any, classes: list[str]) -> None:
    """Show of each true class (a row) how many per cent are taken for each (a column)."""
    share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(len(classes)), classes, rotation=90)
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("linear probe of z says (% of the row)")
    axes.set_ylabel("true class")
    axes.grid(visible=False)
    if len(classes) > _NUMBERED:
        return
    for (row, column), value in np.ndenumerate(share):
        colour = "white" if value > 55 else "black"
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=6.5, color=colour)
