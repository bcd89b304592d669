"""The run directory: who may write there, and what becomes of an earlier run in it."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from caelab import durable, terminal
from caelab.config.check import KEEP
from caelab.errors import UserError
from caelab.runs import previous, results
from caelab.runs.record import Complete

_LOCK = ".lock"
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)  # from file systems without flock


class BusyError(UserError):
    """Another process is training in the directory."""


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Keep other processes out; the lock goes with this process, however it ends.

    Raises:
        BusyError: another process is training there.
    """
    # Its own way around a file system without flock would outlast a kill.
    lock = FileLock(run_dir / _LOCK, timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise BusyError(
            f"{terminal.shown(run_dir)}: another process is training there; let it finish"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        terminal.note(
            f"{terminal.shown(run_dir)}: this file system has no locks; do not start a run twice at once"
        )
    try:
        yield
    finally:
        lock.release()


def remove(run_dir: Path, status: str) -> None:
    """Remove a run: by one rename, so that no half of it is ever taken for a run.

    Args:
        run_dir: its directory.
        status: of its record when somebody chose to remove it.

    Raises:
        BusyError: another process is training there, or has done so since.
        OSError: what the disk refuses; the run is then whole, or its rest waits for ``caelab runs --clean``.
    """
    gone = durable.aside(run_dir)
    with locked(run_dir):
        if (now := _status(run_dir)) not in ("", status):
            raise BusyError(f"{terminal.shown(run_dir)}: was {status} and is {now} now, so it is not deleted")
        run_dir.rename(gone)
    shutil.rmtree(gone)


def _status(run_dir: Path) -> str:
    """Status of the record that lies there; empty where there is none, or a damaged one."""
    with suppress(UserError):
        record = results.read(run_dir)
        return record.status if record else ""
    return ""


def held(run_dir: Path) -> bool:
    """Whether another process is training there."""
    try:
        with locked(run_dir):
            return False
    except BusyError:
        return True


def tidy(run_dir: Path) -> None:
    """Remove what a kill has left of a run that is finished, where the directory can be written to."""
    if (run_dir / results.PREVIOUS).exists() or any(run_dir.glob(f"{durable.ASIDE}*")):
        with suppress(OSError, BusyError), locked(run_dir):
            previous.restore(run_dir)
            previous.discard(run_dir / results.PREVIOUS)


def drop(run_dir: Path, record: Complete) -> None:
    """Remove the checkpoints that a complete run does not keep: its record does not list them."""
    for name in {*KEEP["both"]} - record.artifacts.keys():
        with suppress(OSError):
            (run_dir / results.ARTIFACTS[name]).unlink(missing_ok=True)
