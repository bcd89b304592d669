"""``caelab dashboard``."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from caelab.cli.arguments import examples
from caelab.errors import UserError


def add(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog=examples(
            "caelab dashboard",
            "caelab dashboard table2 --budget quick --entity my-team",
            "caelab dashboard docs/results/runs table1 --upload",
        )
    )(dashboard)


def dashboard(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STUDY]... [FOLDER]... [KEY=VALUE]...",
            help="studies (default: those that have runs, and all other runs), with the words that trained "
            "them; folders with runs (default: multirun)",
        ),
    ] = None,
    entity: Annotated[
        str | None, typer.Option(metavar="E", help="whose project (default: WANDB_ENTITY, or your own)")
    ] = None,
    project: Annotated[
        str | None, typer.Option(metavar="P", help="of W&B (default: WANDB_PROJECT, or caelab)")
    ] = None,
    upload: Annotated[
        bool, typer.Option("--upload", help="send finished runs that were trained without W&B, each once")
    ] = False,
    budget: Annotated[str | None, typer.Option(help="of the studies: full, or quick")] = None,
    seeds: Annotated[str | None, typer.Option(metavar="N", help="runs a row of the studies")] = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="where it goes without a key of W&B")] = Path(
        "dashboard.json"
    ),
) -> None:
    """Make a workspace and a report in Weights & Biases.

    The workspace has curves by variant with seeds as bands, PSNR and SSIM as bars, PSNR against numbers and
    against what a sweep varies, and pictures. The report tells verdicts in words, with their intervals.
    Without a key (WANDB_API_KEY, or wandb login) it is written into a file instead.
    """
    if not find_spec("wandb_workspaces"):
        raise UserError("caelab dashboard: it needs wandb-workspaces; pip install 'caelab[dashboard]'")
    from caelab.dashboard.dashboard import dashboard as make
    from caelab.report.asked import asked

    make(asked(words or [], budget, seeds), entity, project, upload, out)
