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
            help="files in conf/study/, or all; KEY=VALUE holds for every run, as in caelab train",
            autocompletion=completion.studies,
        ),
    ],
    seeds: Annotated[
        str | None, typer.Option(metavar="N", help="runs a row, with seeds 0, 1, ...; most studies say 3")
    ] = None,
    budget: Annotated[str, typer.Option(help="full, or quick: fewer epochs and images, one seed")] = "full",
    config_dir: Annotated[
        list[str] | None, typer.Option(metavar="DIR", help="a folder of options beside the lab's")
    ] = None,
) -> None:
    """Carry out studies: rows of runs over several seeds.

    What is finished is taken as it is. The tables and verdicts of the studies stand at the end.
    """
    from caelab.config import folders  # Hydra, which help does without
    from caelab.report.studies import carry_out
    from caelab.training.attempt import stoppable

    with stoppable(), folders.seen(config_dir or ()):
        carry_out(words, seeds, budget)
