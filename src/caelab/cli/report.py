"""``caelab report``."""

from pathlib import Path
from typing import Annotated

import typer

from caelab.cli import completion
from caelab.cli.arguments import examples


def add(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog=examples(
            "caelab report multirun/runs/cifar10",
            "caelab report table2 --budget quick --out report",
            "caelab report docs/results/runs table1 table2",
        )
    )(report)


def report(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STUDY]... [FOLDER]... [KEY=VALUE]...",
            help="studies, or all (default: those that have runs), with the KEY=VALUE that they were trained "
            "with; folders of runs or sweeps, or folders above them (default: multirun)",
            autocompletion=completion.studies,
        ),
    ] = None,
    seeds: Annotated[str | None, typer.Option(metavar="N", help="runs per row of the studies")] = None,
    budget: Annotated[str | None, typer.Option(help="budget of the studies: full, or quick")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="folder for the report")] = Path("report"),
    watch: Annotated[
        bool, typer.Option("--watch", help="redraw it whenever a run is done, until Ctrl-C")
    ] = False,
) -> None:
    """Draw tables, figures and verdicts from records.

    Trains nothing. Writes index.html, one file that opens offline; the same text as index.md; each table as
    CSV, Markdown and LaTeX in tables/; and each figure as PNG and PDF in figures/. Without a study, the
    report covers all studies that have runs, then the runs that belong to none. With all, it also names the
    studies that are not measured.
    """
    from caelab.report.asked import asked

    if watch:
        from caelab.report.watch import watch as draw
    else:
        from caelab.report.build import report as draw

    draw(asked(words or [], budget, seeds), out)
