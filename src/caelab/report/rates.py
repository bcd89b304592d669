"""PSNR against bits per image: codes that were rounded and coded, beside JPEG and WebP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from caelab import results
from caelab.report.rows import Row, Section
from caelab.report.style import LABELS, floor_style, heading, legend, line_style, logarithmic, sheet, styled

ANALYSIS = "rate"
"""Name of the analysis that leaves what is drawn here."""

_FLOOR = "#888888"


@dataclass(frozen=True)
class Line:
    """A model, or a floor that needs no training.

    Attributes:
        points: bits per image and PSNR (dB), from the coarsest quantiser to the finest.
        enough: the point where a tenth of a decibel is lost; None where each loses more.
        floor: whether it is a floor.
    """

    points: Sequence[tuple[float, float]]
    enough: tuple[float, float] | None
    floor: bool = False


def line(found: Sequence[Mapping[str, Any]], floor: bool = False) -> Line:
    """Average what the analysis found of runs, seeds of one row, at the quantisers that all of them have."""
    tables = [{point["bits"]: point for point in one["points"]} for one in found]
    shared = [bits for bits in sorted(tables[0]) if all(bits in table for table in tables)]
    points = [
        (fmean(table[bits]["rate"] for table in tables), fmean(table[bits]["psnr"] for table in tables))
        for bits in shared
    ]
    ends = [one["enough"] for one in found if one["enough"]]
    enough = (fmean(x["rate"] for x in ends), fmean(x["psnr"] for x in ends)) if ends else None
    return Line(points, enough if len(ends) == len(found) else None, floor)


@styled
def draw(
    title: str, lines: Mapping[str, Line], codecs: Mapping[str, Sequence[Mapping[str, float]]]
) -> Figure:
    """Draw PSNR against bits per image, on a logarithmic axis.

    Args:
        title: of the figure.
        lines: name -> model. Grey dots: a floor. A ring is where a tenth of a decibel is lost.
        codecs: name -> its settings, with ``file`` and ``payload`` in bytes and ``psnr`` in dB.
    """
    figure = sheet(title, 4.2)
    axes = figure.subplots()
    floors = 0
    for index, (name, one) in enumerate(lines.items()):
        style = line_style(index - floors)
        if one.floor:
            style = line_style(floors) | {"color": _FLOOR, "linestyle": ":", "mfc": "white"}
            floors += 1
        _line(axes, f"floor: {name}" if one.floor else name, one, style)
    for index, (name, settings) in enumerate(codecs.items()):
        for offset, (key, what) in enumerate((("payload", "without headers"), ("file", "whole files"))):
            places = [(8 * one[key], one["psnr"]) for one in settings]
            style = floor_style(index) | ({} if not offset else {"color": "#BBBBBB"})
            axes.plot(*zip(*places, strict=True), label=f"{name}, {what}", zorder=1.5, **style)
    axes.set(xlabel="bits per image", ylabel=LABELS["test/psnr"])
    logarithmic(axes, "x")
    legend(figure, axes)
    return figure


def _line(axes: Axes, name: str, one: Line, style: dict[str, Any]) -> None:
    there = [(x, y) for x, y in one.points if x > 0]  # a code that is the same for all takes no bits
    if there:
        axes.plot(*zip(*there, strict=True), label=name, **style)
    if one.enough:
        axes.plot(*one.enough, "o", ms=9, mfc="none", color=style["color"])


def rates(section: Section) -> Figure | None:
    """Draw the rows whose runs were measured by ``caelab-rate``; a row without is left out.

    Returns:
        None where no row was.
    """
    found = [(row, measured) for row in section.rows if (measured := _measured(row))]
    if not found:
        return None
    lines = {row.label: line(measured, row.floor) for row, measured in found}
    return draw(heading(section), lines, found[0][1][0]["codecs"])


def _measured(row: Row) -> list[dict[str, Any]]:
    found = (results.analysis(run.path, ANALYSIS, run.record) for run in row.runs.values())
    return [one for one in found if one is not None]
