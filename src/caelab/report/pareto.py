"""What quality costs: test PSNR against the size of the code and the time of training."""

import itertools
import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from textwrap import fill
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox, BboxBase
from numpy.typing import NDArray

from caelab.analysis.rate.tradeoff import Curve
from caelab.plotting.style import COLOURS, DPI, LABELS, legend, logarithmic, settle, sheet, styled
from caelab.report.rows import Row
from caelab.texts import visible

_MARK = 7  # half the side of the square that a point's marker needs, in pixels
_RADII = (12, 20, 30, 42, 58, 80)  # pixels from a point to its label
_ANGLES = (0, 180, 90, 270, 30, 150, 330, 210, 60, 120, 300, 240)  # degrees; beside reads better than above


_KINDS = {
    (False, True): ("trained", "o", COLOURS[0], COLOURS[0]),
    (False, False): ("trained, around its latent or unknown", "o", COLOURS[1], "none"),
    (True, True): ("floor", "s", "#444444", "none"),
}
"""Whether a point is a floor, and honest -> its name, marker, colour and fill."""


class Point(NamedTuple):
    """A row in the plane: what it costs, its test PSNR in dB, which row it is, and whether it is honest."""

    cost: float
    psnr: float
    label: str
    floor: bool
    honest: bool


@styled
def pareto(rows: Sequence[Row], title: str, published: Mapping[str, Curve] | None = None) -> Figure:
    """Draw test PSNR against effective code size (above) and against seconds of training (below).

    Each point is a row's mean over seeds. A hollow one is of pictures that go around their latent, or may do
    so, since nothing is known of it. The step is the honest frontier: it joins the rows that come through
    their latent and than which no other such row is both cheaper and better. Codes in the shaded region have
    more numbers than the image. A row that was trained for its bits is drawn below alone: its numbers cost it
    nothing. Where points crowd, some have no name.

    Args:
        rows: of one dataset; those without runs are left out, and a row given twice is drawn once.
        title: of the figure.
        published: method -> numbers of its code and PSNR in dB, drawn above in the range of the rows.
    """
    drawn = [row for row in rows if row.runs]
    codes = _points([row for row in drawn if not row.values("test/bits")], "size", "effective_code")
    times = _points(drawn, "time", "fit_seconds")
    figure = sheet(title, 5.5 + 0.1 * len(codes))
    upper, lower = figure.subplots(2, 1)
    _costs(upper, codes, "effective code (numbers per image)")
    _costs(lower, times, "training time (s)")
    if drawn:
        _shade(upper, drawn[0])
        _others(upper, published or {})
    legend(figure, upper)
    settle(figure)
    _name(upper, codes)
    _name(lower, times)
    return figure


def _points(rows: Sequence[Row], part: str, key: str) -> list[Point]:
    """The rows whose cost is known and above 0, cheapest first."""
    return sorted(
        {
            Point(
                cost, fmean(row.values("test/psnr").values()), row.label, row.floor, row.floor or row.honest
            )
            for row in rows
            if (cost := row.mean(part, key))  # neither unknown nor 0, which a logarithmic axis cannot show
        }
    )


def _costs(axes: Axes, points: Sequence[Point], label: str) -> None:
    axes.set(xlabel=label, ylabel=LABELS["test/psnr"])
    axes.margins(0.1, 0.15)
    for (floor, honest), (name, marker, colour, face) in _KINDS.items():
        found = [
            (point.cost, point.psnr) for point in points if (point.floor, point.honest) == (floor, honest)
        ]
        if found:
            axes.plot(*zip(*found, strict=True), marker, ms=5, color=colour, mfc=face, label=name)
    if front := _front(points):
        axes.step(
            *zip(*front, strict=True),
            where="post",
            color="#999999",
            lw=1,
            zorder=1,
            label="honest frontier: none is cheaper and better",
        )
    logarithmic(axes, "x")


def _others(axes: Axes, published: Mapping[str, Curve]) -> None:
    low, high = axes.get_xlim()
    for name, curve in published.items():
        if shown := [point for point in curve if low <= point[0] <= high]:
            axes.plot(
                *zip(*shown, strict=True), "x--", ms=5, lw=0.8, color=COLOURS[3], label=f"published: {name}"
            )


def _front(points: Sequence[Point]) -> list[tuple[float, float]]:
    """Cost and PSNR of the honest points that are better than each that costs no more, cheapest first."""
    front: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.psnr)):
        if not point.honest:
            continue
        if not front or point.psnr > front[-1][1]:
            front.append((point.cost, point.psnr))
    return front


def _shade(axes: Axes, row: Row) -> None:
    numbers = row.mean("size", "input_numbers")
    assert numbers is not None
    low, high = axes.get_xlim()
    right = max(high, 1.6 * numbers)
    label = f"code larger than the image ({numbers:,g} numbers)"
    axes.axvline(numbers, color="#444444", lw=0.8, zorder=1)
    axes.axvspan(numbers, right, color="#EEEEEE", zorder=0, label=label)
    axes.set_xlim(low, right)


def _name(axes: Axes, points: Sequence[Point]) -> None:
    """Put each label at the nearest spot to its point where it covers no point and no other label.

    Those of the front come first; a label for which there is no room is left out.
    """
    places = {point: axes.transData.transform((point.cost, point.psnr)) for point in points}  # pixels
    taken = [Bbox([place - _MARK, place + _MARK]) for place in places.values()]
    front = _front(points)
    for point in sorted(points, key=lambda point: (point.cost, point.psnr) not in front):
        text = axes.annotate(
            fill(visible(point.label), 24, break_long_words=False),
            (point.cost, point.psnr),
            (0, 0),
            textcoords="offset points",
            va="bottom",
            fontsize=7,
            linespacing=1,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
            arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": "#777777", "shrinkA": 0, "shrinkB": 3},
        )
        spots = _spots(places[point], Text.get_window_extent(text))
        free = (box for box in spots if _inside(box, axes.bbox) and not box.count_overlaps(taken))
        if spot := next(free, None):
            text.set_position((spot.p0 - places[point]) * 72 / DPI)
            taken.append(spot.padded(3))
        else:
            text.remove()


def _spots(place: NDArray[np.float64], size: Bbox) -> list[Bbox]:
    """Boxes of a label's size around a place, all in pixels, nearest first."""
    boxes = []
    for radius, angle in itertools.product(_RADII, _ANGLES):
        towards = np.array([math.cos(math.radians(angle)), math.sin(math.radians(angle))])
        corner = place + radius * towards - (1 - towards) / 2 * size.size
        boxes.append(Bbox([corner, corner + size.size]))
    return boxes


def _inside(box: Bbox, panel: BboxBase) -> bool:
    return bool(np.all(panel.min <= box.min) and np.all(box.max <= panel.max))
