"""What several commands share: arguments, and how their examples stand in their help."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from caelab.runs import locate, trust

Run = Annotated[Path, Argument(parser=locate.run, metavar="RUN", help=locate.HELP)]
Runs = Annotated[list[Path], Argument(parser=locate.run, metavar="RUN...", help=locate.HELP)]
Model = Annotated[
    Path, Argument(parser=locate.run, metavar="RUN", help=f"{locate.HELP}, or an exported file")
]
Force = Annotated[bool, Option("--force", help="overwrite existing outputs")]
Steps = Annotated[
    int | None, Option("--encoder-steps", metavar="N", min=0, help="steps of the encoder, if it takes steps")
]
Trust = Annotated[
    list[str] | None,
    Option(
        metavar="MODULE",
        callback=trust.by_command,
        help="let the record run code of this module; only for records of people you know",
    ),
]


def examples(*lines: str) -> str:
    """Return commands for the end of a help page, each on a line of its own."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def names(text: str) -> list[str]:
    """Split ``NAME,...``; empty text has no names."""
    return [name.strip() for name in text.split(",")] if text else []
