"""How large is the gradient in each layer, before training and after? ``python -m caelab.gradients RUN``."""

import time
from pathlib import Path
from typing import Any

from rich.table import Table

from caelab import after, durable, results, screen

_USAGE = """caelab-gradients RUN [RUN ...]

Measures the norm of the gradient of the training loss by the weights of each layer, with the weights that
each finished run in directory RUN started from and with those of its best checkpoint, on the first 256
training images: do gradients vanish on their way from the last layer to the first? Writes RUN/gradients.json
and RUN/gradients.png.

  caelab-gradients multirun/runs/cifar10/base-mse-adam-s0-0123456789
  caelab-gradients multirun/runs/cifar10/*
"""

NAME = "gradients"
IMAGES = 256


def gradients(run: Path) -> dict[str, Any]:
    """Measure the gradient in each layer of a finished run's network, at the start and with its best weights.

    Args:
        run: the run's directory.

    Returns:
        ``figures``, by key as in ``docs/metrics.md``; ``layers``, in the order in which an image goes through
        them, each with ``name``, ``start`` and ``end``; ``images``; ``seconds``. Also written to
        ``gradients.json`` of the run's directory, beside ``gradients.png``.

    Raises:
        UserError: no finished run, no checkpoint, or data that cannot be had.
    """
    record = results.finished(run)
    from caelab import trained
    from caelab.analysis.gradients import norms
    from caelab.corruptions import TEST, keys
    from caelab.report.gradients import Line, draw
    from caelab.restore import corruption, datamodule, load, loss

    began = time.perf_counter()
    net, data = load(run), datamodule(record)
    data.prepare_data()
    data.setup("test")
    train = data.splits["train"]
    x = train[:IMAGES].float() / 255
    given = corruption(record)(x, keys(train.index[:IMAGES], TEST))
    fresh = trained.as_started(run, record)
    fresh.initialise(train)
    start, end = (norms(one, loss(record), given, x) for one in (fresh, net))
    layers = [{"name": name, "start": start[name], "end": end[name]} for name in end]
    found = {
        "figures": _ratios(layers),
        "layers": layers,
        "images": len(x),
        "seconds": time.perf_counter() - began,
    }
    with durable.file(run / f"{NAME}.png") as file:
        lines = {screen.shown(run): Line(list(start.values()), list(end.values()))}
        draw("Gradient of the loss in each layer", lines).savefig(file)
    results.write_analysis(run, NAME, record, found)
    return found


def _ratios(layers: list[dict[str, Any]]) -> dict[str, float]:
    """First layer's norm over the last one's; none for a network that has no layer to train."""
    return {f"{NAME}/{when}_ratio": layers[0][when] / layers[-1][when] for when in ("start", "end") if layers}


def table(found: dict[str, Any]) -> Table:
    """Return the norm in each layer as a table."""
    shown = Table(title=f"gradient by each layer's weights, {found['images']:,} training images")
    shown.title_justify = "left"
    for column in ("layer", "at the start", "best weights"):
        shown.add_column(column, justify="left" if column == "layer" else "right")
    for layer in found["layers"]:
        shown.add_row(layer["name"], f"{layer['start']:.2e}", f"{layer['end']:.2e}")
    return shown


def _show(run: Path, found: dict[str, Any]) -> None:
    ratios = [f"{ratio:.3g}" for ratio in found["figures"].values()] or ["none"]
    screen.say(f"{screen.shown(run)}: first layer's over last layer's, {', then '.join(ratios)}")
    screen.console.print(table(found))


def main() -> None:
    """Entry point: exit status 0 when every run was measured."""
    after.command_line(NAME, _USAGE, gradients, _show)


if __name__ == "__main__":
    main()
