"""What killed processes have left below the folders of runs, and nobody needs any more: cleared on demand."""

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from caelab import durable
from caelab.errors import UserError
from caelab.runs import previous, results
from caelab.runs.record import RECORD
from caelab.sweeps.launching import BOARD

_AGE = 3600.0  # seconds without a change, after which nobody writes a file that has not got its name
_OLD = ("checkpoints/*.tmp", "checkpoints/*.tmp-best", "metrics.tmp", ".*.json.[0-9]*")  # names before 0.2


def clear(folders: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Remove what is left over below folders; never what a live run or sweep uses.

    Yields:
        What was removed or put back, and what it was.

    Raises:
        UserError: no such folder.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                f"{folder}: no such folder; give one that caelab train wrote to, such as multirun"
            )
        for path, inside, files in os.walk(folder):
            yield from _of_a_folder(Path(path), inside, files)


def _of_a_folder(path: Path, inside: list[str], files: list[str]) -> Iterator[tuple[Path, str]]:
    """Clear one folder, and leave in ``inside`` the folders to go on with."""
    boards = [path / name for name in inside if name.startswith(BOARD)]
    new = [path / name for name in (*inside, *files) if name.startswith(durable.ASIDE)]
    inside[:] = sorted(name for name in inside if not name.startswith((BOARD, durable.ASIDE)))
    for board in boards:
        with _unused(board) as unused:
            if unused:
                yield _removed(board), "files of a sweep that has ended"
    if ".hydra" in inside or RECORD in files:
        inside[:] = [name for name in inside if name not in (".hydra", "checkpoints", results.PREVIOUS)]
        with _unused(path) as unused:
            if unused:
                yield from _of_a_run(path)
    else:
        yield from _unwritten(new)


def _of_a_run(run: Path) -> Iterator[tuple[Path, str]]:
    if previous.restore(run):
        yield run, "restored: the earlier run, half moved when a process was killed"
    for folder in (run, run / ".hydra", run / "checkpoints"):
        yield from _unwritten(folder.glob(f"{durable.ASIDE}*"))
    for pattern in _OLD:
        yield from _unwritten(run.glob(pattern))
    if (run / results.PREVIOUS).is_dir() and previous.finished(run):
        previous.discard(run / results.PREVIOUS)
        yield run / results.PREVIOUS, "run that a finished one has replaced"


def _unwritten(paths: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    for path in paths:
        if time.time() - path.lstat().st_mtime > _AGE:
            yield _removed(path), "file left unfinished when a process was killed"


def _removed(path: Path) -> Path:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return path


@contextmanager
def _unused(folder: Path) -> Iterator[bool]:
    """Hold the lock of a folder; False where another process has it, or where there are no locks."""
    lock = FileLock(folder / ".lock", timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
