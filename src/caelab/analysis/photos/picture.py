"""PSNR of photographs against bits per pixel, drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from caelab.plotting.style import LABELS, floor_style, legend, line_style, sheet, styled


@styled
def draw(
    title: str, points: Sequence[tuple[float, float]], beside: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Figure:
    """Draw runs as one curve, and codecs.

    Args:
        title: of the figure.
        points: bits per pixel and PSNR (dB) of each run.
        beside: name of a codec -> ``bits`` per pixel and ``psnr`` of each quality.
    """
    figure = sheet(title, 4.2)
    axes = figure.subplots()
    axes.plot(*zip(*points, strict=True), label="caelab", **line_style(0))
    for index, (name, curve) in enumerate(beside.items()):
        x, y = ([point[key] for point in curve] for key in ("bits", "psnr"))
        axes.plot(x, y, label=name, zorder=1.5, **floor_style(index))
    axes.set(xlabel="bits per pixel, without headers", ylabel=LABELS["test/psnr"])
    axes.set_xscale("log")
    legend(figure, axes)
    return figure
