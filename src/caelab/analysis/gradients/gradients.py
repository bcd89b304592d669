"""The gradient of the training loss in each layer, with the first weights and with the best."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from caelab import durable, terminal
from caelab.analysis.gradients.norms import norms
from caelab.analysis.gradients.picture import Line, draw
from caelab.analysis.runner import Subject
from caelab.corruptions import TEST
from caelab.data.scale import unit
from caelab.draws import keys
from caelab.errors import UserError
from caelab.inference import origin, restore, trained
from caelab.runs.analyses import Result

IMAGES = 256

_RATIOS = {when: f"gradients/{when}_ratio" for when in ("start", "end")}


def measure(subject: Subject) -> Result:
    """Measure the gradient in each layer of a network, at the start and with its best weights.

    Returns:
        ``figures``; ``layers``, in the order in which an image goes through them, each with ``name``,
        ``start`` and ``end``; ``images``.

    Raises:
        UserError: a norm is not finite.
    """
    record = subject.record
    net, train = subject.network, subject.data.splits["train"]
    x = unit(train[:IMAGES])
    corrupted = restore.corruption(record)(unit(train.given[:IMAGES]), keys(train.index[:IMAGES], TEST))
    fresh = trained.as_started(subject.run, record)
    if record.origin:
        origin.fill(fresh, record.config["from"])
    else:
        fresh.initialise(train)
    start, end = (norms(one, restore.loss(record), corrupted, x) for one in (fresh, net))
    for when, found in (("at the start", start), ("with the best weights", end)):
        for name, norm in found.items():
            if not math.isfinite(norm):
                raise UserError(
                    f"{terminal.shown(subject.run)}: the gradient in layer {name} is not finite {when}; "
                    "train the run again"
                )
    with durable.file(subject.picture) as file:
        lines = {terminal.shown(subject.run): Line(list(start.values()), list(end.values()))}
        draw("Gradient of the loss in each layer", lines).savefig(file)
    layers = [{"name": name, "start": start[name], "end": end[name]} for name in end]
    return {"figures": _ratios(layers), "layers": layers, "images": len(x)}


def _ratios(layers: list[dict[str, Any]]) -> dict[str, float]:
    """First layer's norm over the last one's; none where no layer is to train, or the last one's is 0."""
    return {
        key: layers[0][when] / layers[-1][when]
        for when, key in _RATIOS.items()
        if layers and layers[-1][when]
    }


def table(result: Result) -> Table:
    """Return the norm in each layer as a table."""
    title = f"gradient by each layer's weights, {result['images']:,} training images"
    shown = terminal.table(title, "layer", "at the start", "best weights")
    for layer in result["layers"]:
        shown.add_row(layer["name"], f"{layer['start']:.2e}", f"{layer['end']:.2e}")
    return shown


def show(run: Path, result: Result) -> Iterator[RenderableType]:
    """Say how the first layer's gradient compares with the last one's."""
    figures = result["figures"]
    ratios = [f"{figures[key]:.3g}" if key in figures else "none" for key in _RATIOS.values()]
    yield f"{terminal.shown(run)}: gradient of the first layer over the last, {', then '.join(ratios)}"
    yield table(result)
