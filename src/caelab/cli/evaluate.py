"""``caelab evaluate``."""

import shlex
from typing import Annotated

import typer

from caelab import terminal
from caelab.cli.arguments import Run, Steps, Trust, examples


def add(app: typer.Typer) -> None:
    """Add the command of this module."""
    run = "multirun/runs/cifar10/base-mse-adam-s0-0123456789"
    app.command(
        epilog=examples(
            f"caelab evaluate {run}",
            f"caelab evaluate {run} dataset=cinic10 dataset.exclude_cifar=true",
            f"caelab evaluate {run.replace('base', 'auto_decoder')} --encoder-steps 20",
        )
    )(evaluate)


def evaluate(
    run: Run,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="keys of dataset, corruption and paths.data"),
    ] = None,
    encoder_steps: Steps = None,
    trust: Trust = None,
) -> None:
    """Score a finished run again, on the same or other data.

    Tests the best checkpoint on the test split of its own dataset or another one (generalisation), with its
    own corruption or another one (robustness), under both metric protocols. Trains nothing.
    """
    from caelab.runs import tables
    from caelab.runs.labels import PUBLISHED
    from caelab.training.evaluate import evaluate as score

    found = score(run, overrides or [], encoder_steps)
    corruption = found["choices"]["corruption"]
    given = "" if corruption == "none" else f", given with corruption={corruption}"
    steps = "" if encoder_steps is None else f", in {encoder_steps} steps of the encoder"
    title = f"{terminal.shown(run)} on {found['dataset']}{given}{steps}"
    tables.protocols(found["metrics"], found["data"]["test"], title, found["dataset"] in PUBLISHED)
    terminal.say(f"  {terminal.shown(run / found['file'])}")
    terminal.say(f"next: caelab audit {shlex.quote(terminal.shown(run))}")
