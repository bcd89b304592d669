"""The norm of the gradient in each layer, drawn: before training and after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from caelab.plotting.style import legend, line_style, logarithmic, sheet, styled


@dataclass(frozen=True)
class Line:
    """A model's norms, a layer each, from that next to the image to that which draws the reconstruction.

    Attributes:
        start: with the weights before training.
        end: with the best ones.
    """

    start: Sequence[float]
    end: Sequence[float]


@styled
def draw(title: str, lines: Mapping[str, Line]) -> Figure:
    """Draw norms against the layers, on a logarithmic axis: on the left before training, on the right after.

    Args:
        title: of the figure.
        lines: name -> model.
    """
    figure = sheet(title, 3.2)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, when, what in zip(panels, ("start", "end"), ("before training", "best weights"), strict=True):
        for index, (name, one) in enumerate(lines.items()):
            values = getattr(one, when)
            axes.plot(range(1, len(values) + 1), values, label=name, **line_style(index))
        axes.set_xlabel(f"layer, {what}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set_ylabel("norm of the gradient")
    logarithmic(panels[0], "y")
    legend(figure, panels[0])
    return figure
