"""``caelab train`` and ``caelab sweep``: the words of ``python -m caelab.train``, without and with ``-m``."""

import sys
from importlib.util import find_spec
from typing import Annotated

import typer

from caelab.cli import completion

_SETTINGS = {"ignore_unknown_options": True, "help_option_names": []}
_HELP = "GROUP=OPTION chooses an option, KEY=VALUE changes a key; --help lists them"
Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help=_HELP, autocompletion=completion.words),
]


def add(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(context_settings=_SETTINGS)(train)
    app.command(context_settings=_SETTINGS)(sweep)


def train(words: Words = None) -> None:
    """Train and measure one autoencoder."""
    _train(*(words or ()))


def sweep(words: Words = None) -> None:
    """Train every combination of several values."""
    _train("-m", *(words or ()))


def _train(*words: str) -> None:
    from caelab.train import main  # Hydra, which help does without

    sys.argv = ["caelab-train", *words]
    # a run on several devices starts the command again: as the module that these words are for
    sys.modules["__main__"].__spec__ = find_spec("caelab.train")
    main()
