"""What a user can mend, reported as one line without a traceback, and how runs end otherwise."""

import importlib.metadata
from pathlib import Path
from typing import Any


class UserError(Exception):
    """A mistake or condition that the user can mend.

    The message is one line that names the key, the file or the value, says what is wrong, and what would be
    right. Command lines print it on stderr and exit with a status other than 0; a notebook shows it without
    a traceback.
    """

    def _render_traceback_(self) -> list[str]:
        # IPython asks for it.
        return [f"{type(self).__name__}: {self}"]


class RunsFailed(SystemExit):
    """Some runs of a sweep failed, and all others are done: exit status 1.

    Args:
        runs: directory -> record of every run, finished or failed.
    """

    def __init__(self, runs: dict[Path, Any]) -> None:
        super().__init__(1)
        self.runs = runs


class PrunedError(Exception):
    """A search has ended a trial early; the message says at which epoch."""


def installed(package: str) -> bool:
    """Whether a package is there, by its name in the registry: others may be imported as the same."""
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
