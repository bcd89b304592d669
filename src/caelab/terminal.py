"""What a person sees: lines, mistakes and progress bars, all through two consoles."""

import difflib
import io
import os
import select
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.segment import Segment
from rich.status import Status
from rich.table import Table
from rich.text import Text

from caelab import texts
from caelab.errors import UserError
from caelab.texts import visible

T = TypeVar("T")

# A shell's >&- closes a stream, and a program without a console has none: what is said there goes nowhere.
sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")

# Where nobody looks (a file, a pipe) a table may be wide; rich would fold it at 80.
_WIDTH = None if getattr(sys.stdout, "isatty", bool)() or "COLUMNS" in os.environ else 160
_EVERY = 0.25  # seconds between changes of a bar in a notebook

NEAR = 0.6
"""How alike two names must be, by ``difflib``, for one to be a misspelling of the other."""
NOTEBOOK = Console().is_jupyter
"""Whether a notebook shows what is printed; there it is plain text, one output a cell, not one a line."""


class Plain(Console):
    """A console that interprets nothing of what it shows: neither rich's markup nor a terminal's controls."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, force_jupyter=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return text as it will be seen, which its place is measured by."""
        return super().render_str(visible(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the pieces of anything; only those of rich itself steer the terminal."""
        for part in super().render(renderable, options):
            yield part if part.control else Segment(visible(part.text), part.style)


console = Plain(width=115 if NOTEBOOK else _WIDTH)
errors = Plain(stderr=True)


def say(line: str) -> None:
    """Print one plain line."""
    console.print(line, highlight=False, soft_wrap=True)


def error(line: str) -> None:
    """Print one line on stderr that says what is wrong and what would be right."""
    errors.print(f"caelab: {texts.one_line(line)}", style="red", highlight=False, soft_wrap=True)


def working(line: str) -> Status:
    """Show a line as long as the context lasts; ``update`` changes it. It leaves nothing behind."""
    return errors.status(Text(visible(line)))


def shown(path: Path) -> str:
    """Show ``path`` relative to the working directory where it lies below it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def note(line: str) -> None:
    """Print one plain line on stderr: what goes on, and is no result."""
    errors.print(line, highlight=False, soft_wrap=True)


def one_line(error: BaseException | str) -> str:
    """The first line of an error's message, or its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


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
        return one_line(error)
    return None


@contextmanager
def told(explain: Callable[[BaseException], str | None] = explain) -> Iterator[None]:
    """Turn what the user can mend into one line on stderr and exit status 1; a bug keeps its traceback.

    Args:
        explain: what finds the line; a command that composes configs has ``explain.line``.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except Exception as mistake:
        if isinstance(mistake, BrokenPipeError) and _unread():  # its reader, such as head, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # which Python flushes at its end
            sys.exit(1)
        line = explain(mistake)
        if line is None:
            raise
        error(line)
        sys.exit(1)


def _unread() -> bool:
    """Whether nobody reads what is printed any more."""
    poll = select.poll()
    poll.register(sys.stdout, 0)  # errors and a reader that has gone are told unasked
    return bool(poll.poll(0))


def duration(seconds: float) -> str:
    """Say about how long that is."""
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"about {minutes // 60} h {minutes % 60} min"
    return f"about {minutes} min" if minutes else f"about {seconds:.0f} s"


def table(title: str | None, *columns: str, **options: Any) -> Table:
    """Begin a table, with rich's further options; numbers stand in all columns but the first."""
    made = Table(title=title, title_justify="left", caption_justify="left", **options)
    for number, column in enumerate(columns):
        made.add_column(column, justify="right" if number else "left")
    return made


class _Description(ProgressColumn):
    """What a bar is of."""

    def render(self, task: Task) -> Text:
        return Text(visible(task.description))


class Bar(Progress):
    """A progress bar; in a notebook it changes in place, for which rich's own would need ipywidgets."""

    def start(self) -> None:
        """Show the bar."""
        if not NOTEBOOK:
            super().start()
            return
        from IPython.display import display

        self._shown = display(self._text(), raw=True, display_id=True)  # type: ignore[no-untyped-call]
        self._told = time.monotonic()

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Count further steps."""
        super().advance(task_id, advance)
        if NOTEBOOK and time.monotonic() - self._told > _EVERY:
            self._told = time.monotonic()
            self._shown.update(self._text(), raw=True)

    def stop(self) -> None:
        """Show the end."""
        if NOTEBOOK:
            self._shown.update(self._text(), raw=True)
        else:
            super().stop()

    def _text(self) -> dict[str, str]:
        text = io.StringIO()
        Plain(file=text, width=80).print(self.get_renderable())
        return {"text/plain": text.getvalue().rstrip()}


def byte_progress() -> Progress:
    """A progress bar for bytes, with speed and remaining time."""
    return Bar(
        _Description(),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=errors,
    )


def item_progress() -> Progress:
    """A progress bar for counted things, with elapsed and remaining time."""
    return Bar(
        _Description(),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=errors,
    )


def tracked(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Go through items, of which there are ``total``, with a bar of how long the others may take."""
    with item_progress() as progress:
        yield from progress.track(items, total, description=description)


def waiting() -> Progress:
    """A bar that only moves and counts seconds, for work of unknown length."""
    return Bar(_Description(), BarColumn(), TimeElapsedColumn(), console=errors)
