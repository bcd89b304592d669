"""The look of a report's figures: shapes and dashes tell what colours do, so that they read in grey."""

import math
import textwrap
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnchoredText
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from caelab.texts import visible

WIDTH = 7.0
"""Width of a figure in inches: that of a page's text."""

DPI = 150
"""Pixels in an inch of a drawn figure."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7A4A1E")
"""Okabe and Ito's, distinct to colour-blind readers; brown for their yellow, which is faint on white."""

LABELS = {"test/psnr": "test PSNR (dB)", "test/ssim": "test SSIM", "val/psnr": "validation PSNR (dB)"}
"""Key of a metric -> its name on an axis, with its unit."""

_LINE = 110  # letters of a legend's size in the width of a figure
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
_LINES: tuple[Any, ...] = ("-", (0, (6, 1.5)), (0, (3, 1, 1, 1)), (0, (1, 1)))
_SHADES = ("#444444", "#9467BD", "#8C564B")
_FLOORS: tuple[Any, ...] = ((0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (2, 4)))

styled = matplotlib.rc_context(
    {
        "font.size": 9,
        "axes.labelsize": 9,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.fontsize": 8,
        "figure.titlesize": 10,
        "legend.frameon": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": "#DDDDDD",
        "grid.linewidth": 0.6,
        "text.parse_math": False,  # a label is a name, also where it has dollar signs
    }
)
"""Decorator of a function that draws a figure."""


def sheet(title: str, height: float, width: float = WIDTH) -> Figure:
    """Return an empty figure with that room for panels (inches); the title, broken to fit, comes on top."""
    lines = textwrap.wrap(visible(title), int(12 * width))
    figure = Figure(figsize=(width, height + 0.18 * len(lines) + 0.1), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)  # keeps its renderer, which each text that is measured would else make anew
    figure.suptitle("\n".join(lines))
    return figure


def settle(figure: Figure) -> None:
    """Find the layout once and keep it: found anew at each drawing it could move, and labels with it."""
    if engine := figure.get_layout_engine():
        engine.execute(figure)
        figure.set_layout_engine(None)


def legend(figure: Figure, axes: Axes) -> None:
    """Put the legend of ``axes`` below all panels and make room for it; or say that there is nothing."""
    handles, names = axes.get_legend_handles_labels()
    if not handles:
        for panel in figure.axes:
            panel.add_artist(AnchoredText("no runs", "center", frameon=False))
        return
    entries = sorted(zip(handles, names, strict=True), key=lambda entry: not isinstance(entry[0], Container))
    names = [textwrap.fill(visible(name), 45) for _, name in entries]
    in_a_line = sum(len(name) + 9 for name in names) < _LINE
    columns = len(names) if in_a_line else max(1, _LINE // (max(map(len, names)) + 9))
    lines = math.ceil(len(names) / columns) * max(name.count("\n") + 1 for name in names)
    figure.set_figheight(figure.get_figheight() + 0.17 * lines + 0.15)
    figure.legend([handle for handle, _ in entries], names, loc="outside lower center", ncols=columns)


def line_style(index: int) -> dict[str, Any]:
    """Colour, marker and dashes of the line with that index; together they repeat after 8."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "linestyle": _LINES[index % len(_LINES)],
        "markersize": 4.5,
        "linewidth": 1.4,
    }


def floor_style(index: int) -> dict[str, Any]:
    """Dashes and shade of the floor with that index: no two of a dozen look alike."""
    turn, dash = divmod(index, len(_FLOORS))
    return {"color": _SHADES[turn % len(_SHADES)], "linestyle": _FLOORS[dash], "linewidth": 1.2}


def logarithmic(axes: Axes, which: Literal["x", "y"]) -> None:
    """Make an axis logarithmic once its data are drawn, with plain numbers: 1, 2, 5 where there is room."""
    axes.set(**{f"{which}scale": "log"})
    axis = {"x": axes.xaxis, "y": axes.yaxis}[which]
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
