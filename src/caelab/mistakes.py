"""How what the user can mend is told: the nearest known name, one line, exit status 1."""

import difflib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from caelab import screen
from caelab.errors import UserError

NEAR = 0.6
"""How alike two names must be, by ``difflib``, for one to be a misspelling of the other."""


def nearest(name: str, known: list[str]) -> str:
    """``"; did you mean 'x'?"`` for the nearest known name, or the known names where none is near."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=NEAR)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; known: {', '.join(sorted(known))}" if known else ""


def explain(error: BaseException) -> str | None:
    """One line for an error that the user made; None for a bug, which keeps its traceback."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError):
        return screen.one_line(error)
    return None


@contextmanager
def told(explain: Callable[[BaseException], str | None] = explain) -> Iterator[None]:
    """Turn what the user can mend into one line on stderr and exit status 1; a bug keeps its traceback.

    Args:
        explain: what finds the line; a command that composes configs has ``explain.line``.
    """
    try:
        yield
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        screen.error(line)
        sys.exit(1)
