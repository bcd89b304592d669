"""PSNR against bits per image: codes that were rounded and coded, beside codecs and transform coding."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from caelab import results
from caelab.analysis.tradeoff import PERFECT, Curve, best, envelope
from caelab.report.rows import Row, Section
from caelab.report.style import LABELS, floor_style, heading, legend, line_style, logarithmic, sheet, styled

ANALYSIS = "rate"
"""Name of the analysis that leaves what is drawn here."""

BYTES = (10, 25, 50, 100, 171, 250, 400, 800, 1_600, 3_200)
"""At which networks, floors and codecs are compared."""

TRANSFORM = "transform coding by PCA"

_FLOOR = "#888888"
_SIDES = ("network", "floor", "codec")


@dataclass(frozen=True)
class Line:
    """A model, or a floor that needs no training.

    Attributes:
        points: bits per image and PSNR (dB), from the coarsest quantiser to the finest.
        enough: the point where a tenth of a decibel is lost; None where each loses more.
        floor: whether it is a floor.
    """

    points: Curve
    enough: tuple[float, float] | None
    floor: bool = False

    @property
    def curve(self) -> Curve:
        """Its points but those of a code that is the same for all images, which takes no bits."""
        return [(x, y) for x, y in self.points if x > 0]


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
def draw(title: str, lines: Mapping[str, Line], beside: Mapping[str, Any]) -> Figure:
    """Draw PSNR against bits per image, on a logarithmic axis.

    Args:
        title: of the figure.
        lines: name -> model. Grey dots: a floor. A ring is where a tenth of a decibel is lost.
        beside: what stands beside them, as ``rate.json`` holds it: ``transform``, ``codecs``, whose bytes
            count without headers, and ``lossless``, of which the smallest is drawn.
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
    if transform := _transform(beside):
        axes.plot(*zip(*transform, strict=True), label=f"floor: {TRANSFORM}", color="black", linewidth=1.8)
    for index, (name, curve) in enumerate(_codecs(beside).items()):
        axes.plot(*zip(*curve, strict=True), label=name, zorder=1.5, **floor_style(index))
    if lossless := _lossless(beside):
        name, bits = min(lossless.items(), key=lambda one: one[1])
        axes.axvline(bits, label=name, color="#BBBBBB", zorder=1)
    axes.set(xlabel="bits per image", ylabel=LABELS["test/psnr"])
    logarithmic(axes, "x")
    legend(figure, axes)
    return figure


def _line(axes: Axes, name: str, one: Line, style: dict[str, Any]) -> None:
    if one.curve:
        axes.plot(*zip(*one.curve, strict=True), label=name, **style)
    if one.enough:
        axes.plot(*one.enough, "o", ms=9, mfc="none", color=style["color"])


def _transform(beside: Mapping[str, Any]) -> Curve:
    return [(one["rate"], one["psnr"]) for one in beside.get("transform", ()) if one["rate"] > 0]


def _codecs(beside: Mapping[str, Any]) -> dict[str, Curve]:
    """Name of a codec -> bits without headers, and PSNR (dB), at each quality."""
    return {
        name: [(8 * one["payload"], one["psnr"]) for one in settings]
        for name, settings in beside["codecs"].items()
    }


def _lossless(beside: Mapping[str, Any]) -> dict[str, float]:
    """Name of a codec without loss -> bits without headers."""
    return {f"{name} without loss": 8 * one["payload"] for name, one in beside.get("lossless", {}).items()}


def rates(section: Section) -> Figure | None:
    """Draw the rows whose runs were measured by ``caelab rate``; a row without is left out.

    Rows that differ in the size of their latent alone are one line, their envelope.

    Returns:
        None where no row was.
    """
    found = _found(section)
    if not found:
        return None
    lines = {}
    for rows in _families([row for row, _ in found]):
        own = {row.label: line(measured, row.floor) for row, measured in found if row in rows}
        name, first = next(iter(own.items()))
        if len(own) == 1:
            lines[name] = first
        else:
            curves = {label: one.curve for label, one in own.items()}
            lines[f"{_shared(list(own))}, best of {len(own)} sizes"] = Line(
                envelope(curves), None, first.floor
            )
    return draw(heading(section), lines, _beside(found))


def winners(section: Section) -> pd.DataFrame | None:
    """Return the best network, floor and codec of a section at equal bytes an image, a line a size.

    Floors are those of the section and transform coding; codecs count without headers. ``*_psnr`` is in dB;
    the images themselves, without loss, count as 100 dB. Lines at which no network has been measured so
    small are left out.

    Returns:
        None where no row was measured by ``caelab rate``.
    """
    found = _found(section)
    if not found:
        return None
    beside = _beside(found)
    curves = [(row.floor, row.label, line(measured).curve) for row, measured in found]
    sides = (
        {label: curve for floor, label, curve in curves if not floor},
        {label: curve for floor, label, curve in curves if floor} | {TRANSFORM: _transform(beside)},
        _codecs(beside) | {name: [(bits, PERFECT)] for name, bits in _lossless(beside).items()},
    )
    lines = []
    for size in BYTES:
        tops = [best(8 * size, side) for side in sides]
        if tops[0]:
            lines.append(_compared(size, tops))
    return pd.DataFrame(lines) if lines else None


def _compared(size: int, tops: Sequence[tuple[str, float] | None]) -> dict[str, Any]:
    line: dict[str, Any] = {"bytes": size}
    for side, top in zip(_SIDES, tops, strict=True):
        line[side], line[f"{side}_psnr"] = top or ("", None)
    line["best"] = max((top[1], side) for side, top in zip(_SIDES, tops, strict=True) if top)[1]
    return line


def _found(section: Section) -> list[tuple[Row, list[dict[str, Any]]]]:
    return [(row, measured) for row in section.rows if (measured := _measured(row))]


def _measured(row: Row) -> list[dict[str, Any]]:
    found = (results.analysis(run.path, ANALYSIS, run.record) for run in row.runs.values())
    return [one for one in found if one is not None]


def _beside(found: Sequence[tuple[Row, Sequence[dict[str, Any]]]]) -> dict[str, Any]:
    """What stands beside the codes: of the run that was measured with most of it."""
    return max((one for _, measured in found for one in measured), key=lambda one: "transform" in one)


def _families(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of one kind whose runs differ in the size of their latent and in the seed alone, together."""
    families: dict[str, list[Row]] = {}
    for row in rows:
        settings = results.settings(next(iter(row.runs.values())).record)
        key = json.dumps([row.floor, settings | {"model.latent": None, "seed": None}], sort_keys=True)
        families.setdefault(key, []).append(row)
    return list(families.values())


def _shared(labels: Sequence[str]) -> str:
    """The words that labels begin with alike, such as ``PCA`` of ``PCA 16`` and ``PCA 64``."""
    words = [label.split() for label in labels]
    alike = [first for first, *others in zip(*words, strict=False) if {first} == {*others}]
    return " ".join(alike).rstrip(",") or labels[0]
