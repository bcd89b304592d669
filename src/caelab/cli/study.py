"""``caelab study``, which ``caelab-train -m study=NAME`` is the same as."""

from collections.abc import Sequence
from typing import Annotated

import typer

from caelab import screen
from caelab.cli.arguments import examples
from caelab.errors import UserError

_MULTIRUN = ("-m", "--multirun")


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
    from caelab.config import folders
    from caelab.training.attempt import stoppable  # Hydra, which help does without

    with stoppable(), folders.seen(config_dir or ()):
        carry_out(words, seeds, budget)


def carry_out(words: Sequence[str], seeds: str | None, budget: str) -> None:
    """Carry out studies, and show what came of them.

    Args:
        words: names of studies, and KEY=VALUE of every run and of the sweep.
        seeds: runs a row; None is each study's own number.
        budget: ``full`` or ``quick``.

    Raises:
        UserError: an unknown study, budget or option, or an override of what a study varies.
        RunsFailed: a run or an analysis failed.
    """
    from caelab.report import summary
    from caelab.studies import execute

    overrides = [word for word in words if "=" in word or word.startswith("~")]
    names = [word for word in words if word not in overrides]
    execution = execute.carry_out(names, budget, seeds, overrides)
    summary.show_studies(execution)
    execution.end()


def of_train(words: Sequence[str]) -> bool:
    """Carry out the study that the words of ``caelab-train`` name, and say which command is the same.

    Returns:
        Whether they name one: ``-m study=NAME,...``, beside ``seeds=N`` and ``budget=quick``.

    Raises:
        UserError: a flag that is not of a study, and what ``carry_out`` raises.
        RunsFailed: a run or an analysis failed.
    """
    own = {key: value for key, _, value in (word.partition("=") for word in words)}
    if "study" not in own or not own.keys() & {*_MULTIRUN}:
        return False
    from caelab import studies

    rest = [word for word in words if word.partition("=")[0] not in (*_MULTIRUN, "study", *studies.OPTIONS)]
    for word in rest:
        if word.startswith("-"):
            raise UserError(f"{word}: no option of a study; caelab study --help shows them")
    names = own["study"].split(",")
    screen.say(f"the same as: {studies.command(names, own, rest)}")
    carry_out([*names, *rest], own.get("seeds"), own.get("budget", "full"))
    return True
