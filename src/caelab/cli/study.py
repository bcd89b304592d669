"""``caelab study``, which ``caelab-train -m study=NAME`` is the same as."""

from typing import Annotated

import typer

from caelab.cli import completion
from caelab.cli.arguments import examples


def add(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog=examples(
            "caelab study table2 --seeds 5",
            "caelab study table1 table2 --budget quick dataset=mnist hydra/launcher=joblib",
        )
    )(study)


def study(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="STUDY [KEY=VALUE]",
            help="names of files in conf/study/, or all; KEY=VALUE, as in caelab train, holds for every run",
            autocompletion=completion.studies,
        ),
    ],
    seeds: Annotated[
        str | None, typer.Option(metavar="N", help="runs per row, with seeds 0, 1, ...; in most studies 3")
    ] = None,
    budget: Annotated[str, typer.Option(help="full, or quick: fewer epochs and images, one seed")] = "full",
    config_dir: Annotated[
        list[str] | None, typer.Option(metavar="DIR", help="a folder with options of your own")
    ] = None,
) -> None:
    """Run studies: rows of settings, each with several seeds.

    Runs that are already finished are not repeated. Ends with the tables and verdicts of the studies.
    """
    from caelab.config import folders  # Hydra, which help does without
    from caelab.report.studies import carry_out
    from caelab.training.attempt import stoppable

    with stoppable(), folders.seen(config_dir or ()):
        carry_out(words, seeds, budget)
