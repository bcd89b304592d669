"""``caelab train`` and ``caelab sweep``: the words of ``python -m caelab.train``, without and with ``-m``."""

import sys
from importlib.util import find_spec

import typer

_WORDS = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def add(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(context_settings=_WORDS)(train)
    app.command(context_settings=_WORDS)(sweep)


def train(context: typer.Context) -> None:
    """Train and measure one autoencoder."""
    _train(*context.args)


def sweep(context: typer.Context) -> None:
    """Train every combination of several values."""
    _train("-m", *context.args)


def _train(*words: str) -> None:
    from caelab.train import main  # Hydra, which help does without

    sys.argv = ["caelab-train", *words]
    # a run on several devices starts the command again: as the module that these words are for
    sys.modules["__main__"].__spec__ = find_spec("caelab.train")
    main()
