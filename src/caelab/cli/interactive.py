"""``caelab look RUN --interactive``: a page in which the network itself runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from caelab import terminal
from caelab.errors import UserError
from caelab.runs.analyses import Analysis

PACKAGE = "caelab.analysis.look"
"""Of the analysis whose command has the switch."""

Interactive = Annotated[
    bool,
    typer.Option(
        "--interactive",
        help="instead: one page in which the network runs and you change its code by hand; "
        "of one RUN, or of two side by side (needs caelab[export])",
    ),
]

_OPTIONS = ("images", "seed", "out")


def interactive(analysis: Analysis, runs: Sequence[Path], words: Mapping[str, Any]) -> None:
    """Write the page of one run or two.

    Raises:
        UserError: an option that it has no use for, or what the page refuses.
    """
    for name, value in words.items():
        if value is not None and name not in _OPTIONS:
            raise UserError(f"--{name} {value}: does not apply to --interactive; omit it")
    options = analysis.arguments(words)
    from caelab.interactive.interactive import interactive as write

    page = write(runs, **{name: options[name] for name in _OPTIONS})
    terminal.say(f"{terminal.shown(page)} ({page.stat().st_size / 1e6:.1f} MB): open it in a browser")
