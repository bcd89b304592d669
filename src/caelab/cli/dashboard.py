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
            help="studies (default: those that have runs, and all other runs), with the KEY=VALUE that they "
            "were trained with; folders with runs (default: multirun)",
        ),
    ] = None,
    entity: Annotated[
        str | None, typer.Option(metavar="E", help="W&B user or team (default: WANDB_ENTITY, or yours)")
    ] = None,
    project: Annotated[
        str | None, typer.Option(metavar="P", help="W&B project (default: WANDB_PROJECT, or caelab)")
    ] = None,
    upload: Annotated[
        bool, typer.Option("--upload", help="send finished runs that were trained without W&B, each once")
    ] = False,
    budget: Annotated[str | None, typer.Option(help="budget of the studies: full, or quick")] = None,
    seeds: Annotated[str | None, typer.Option(metavar="N", help="runs per row of the studies")] = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="file to write without a W&B key")] = Path(
        "dashboard.json"
    ),
) -> None:
    """Make a workspace and a report in Weights & Biases.

    The workspace shows a curve per variant with a band over its seeds, PSNR and SSIM as bars, PSNR against
    code size and against what a sweep varies, and pictures. The report gives verdicts in words, with their
    intervals. Without a W&B key (WANDB_API_KEY, or wandb login), both are written to a file instead.
    """
    if not find_spec("wandb_workspaces"):
        raise UserError("caelab dashboard: it needs wandb-workspaces; pip install 'caelab[dashboard]'")
    from caelab.dashboard.dashboard import dashboard as make
    from caelab.report.asked import asked

    make(asked(words or [], budget, seeds), entity, project, upload, out)
