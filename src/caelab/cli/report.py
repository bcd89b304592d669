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
            help="studies, or all (default: what has runs), with the words that trained them; folders of "
            "runs, sweeps or many of them (default: multirun)",
            autocompletion=completion.studies,
        ),
    ] = None,
    seeds: Annotated[str | None, typer.Option(metavar="N", help="runs a row of the studies")] = None,
    budget: Annotated[str | None, typer.Option(help="of the studies: full, or quick")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="where the report goes")] = Path("report"),
    watch: Annotated[
        bool, typer.Option("--watch", help="draw it anew whenever a run is done, until Ctrl-C")
    ] = False,
) -> None:
    """Draw tables, figures and verdicts from records.

    Nothing is trained. Writes index.html, one file that opens offline; the same as index.md; every table as
    CSV, Markdown and LaTeX in tables/; every figure as PNG and PDF in figures/. Without a study it is of
    what has runs: studies, and below them the runs that belong to none. all names what is not measured, too.
    """
    from caelab.report.asked import asked

    if watch:
        from caelab.report.watch import watch as draw
    else:
        from caelab.report.build import report as draw

    draw(asked(words or [], budget, seeds), out)
