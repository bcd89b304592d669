"""PSNR against bits per image, drawn: codes rounded and coded, beside codecs and transform coding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from caelab.analysis.rate.tradeoff import Curve
from caelab.plotting.style import LABELS, floor_style, legend, line_style, logarithmic, sheet, styled

TRANSFORM = "transform coding by PCA"

_FLOOR = "#888888"


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
def draw(
    title: str, lines: Mapping[str, Line], beside: Mapping[str, Any], published: Mapping[str, Curve]
) -> Figure:
    """Draw PSNR against bits per image, on a logarithmic axis.

    Args:
        title: of the figure.
        lines: name -> model. Grey dots: a floor. A ring is where a tenth of a decibel is lost.
        beside: what stands beside them, as ``rate.json`` holds it: ``transform``, ``codecs``, whose bytes
            count without headers, and ``lossless``, of which the smallest is drawn.
        published: name -> curve that others have measured.
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
    if coded := transform(beside):
        axes.plot(*zip(*coded, strict=True), label=f"floor: {TRANSFORM}", color="black", linewidth=1.8)
    for index, (name, curve) in enumerate(codecs(beside).items()):
        axes.plot(*zip(*curve, strict=True), label=name, zorder=1.5, **floor_style(index))
    for index, (name, curve) in enumerate(published.items()):
        axes.plot(
            *zip(*curve, strict=True), label=f"published: {name}", zorder=1.4, **_published_style(index)
        )
    if whole := lossless(beside):
        name, bits = min(whole.items(), key=lambda one: one[1])
        axes.axvline(bits, label=name, color="#BBBBBB", zorder=1)
    axes.set(xlabel="bits per image", ylabel=LABELS["test/psnr"])
    logarithmic(axes, "x")
    legend(figure, axes)
    return figure


def _published_style(index: int) -> dict[str, Any]:
    return line_style(index) | {
        "linestyle": "--",
        "linewidth": 0.8,
        "markersize": 3,
        "mfc": "white",
        "alpha": 0.7,
    }


def _line(axes: Axes, name: str, one: Line, style: dict[str, Any]) -> None:
    if one.curve:
        axes.plot(*zip(*one.curve, strict=True), label=name, **style)
    if one.enough:
        axes.plot(*one.enough, "o", ms=9, mfc="none", color=style["color"])


def transform(beside: Mapping[str, Any]) -> Curve:
    """Bits and PSNR (dB) of transform coding, at each step."""
    return [(one["rate"], one["psnr"]) for one in beside.get("transform", ()) if one["rate"] > 0]


def codecs(beside: Mapping[str, Any]) -> dict[str, Curve]:
    """Name of a codec -> bits without headers, and PSNR (dB), at each quality."""
    return {
        name: [(8 * one["payload"], one["psnr"]) for one in settings]
        for name, settings in beside["codecs"].items()
    }


def lossless(beside: Mapping[str, Any]) -> dict[str, float]:
    """Name of a codec without loss -> bits without headers."""
    return {f"{name} without loss": 8 * one["payload"] for name, one in beside.get("lossless", {}).items()}
