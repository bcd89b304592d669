"""``caelab export``."""

from pathlib import Path
from typing import Annotated

import typer

from caelab import terminal
from caelab.cli.arguments import Force, Run, Trust, examples


def add(app: typer.Typer) -> None:
    """Add the command of this module."""
    run = "multirun/runs/cifar10/improved-mse-adam-s0-0123456789"
    app.command(epilog=examples(f"caelab export {run} --format onnx"))(export)


def export(
    run: Run,
    format: Annotated[str, typer.Option(metavar="NAME", help="onnx, torch_export or safetensors")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="output folder, instead of RUN/export/NAME")
    ] = None,
    force: Force = False,
    trust: Trust = None,
) -> None:
    """Write a trained network for use elsewhere.

    Writes the encoder, the decoder and both together, for any batch size, with a model card. The files are
    read back and compared with the network on real images; if any number differs by more than 1e-4,
    nothing is kept.
    """
    from caelab.export.export import CARD, table
    from caelab.export.export import export as write

    terminal.console.print(table(write(run, format, out, force=force)))
    folder = out or run / "export" / format
    terminal.say(f"  {terminal.shown(folder)}")
    terminal.say(f"next: {terminal.shown(folder / CARD)} says how it is loaded")
