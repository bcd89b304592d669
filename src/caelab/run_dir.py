"""The run directory: who may write there, and what becomes of an earlier run in it."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from caelab import durable, previous, results, screen
from caelab.config import compose
from caelab.config.job import Job
from caelab.errors import UserError

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
            f"{screen.shown(run_dir)}: another process is training there; let it finish"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        screen.note(
            f"{screen.shown(run_dir)}: this file system has no locks; do not start the same run twice at once"
        )
    try:
        yield
    finally:
        lock.release()


@contextmanager
def full_disk_told(run_dir: Path) -> Iterator[None]:
    """Turn what a full disk refuses into one line that says which disk, and what helps.

    Raises:
        UserError: instead of that OSError, unless it names a file elsewhere.
    """
    try:
        yield
    except OSError as error:
        elsewhere = error.filename and not Path(os.fsdecode(error.filename)).is_relative_to(run_dir)
        if error.errno not in durable.FULL or elsewhere:
            raise
        raise UserError(
            f"the disk of {screen.shown(run_dir)} is full: free some space, and the same command goes on; "
            "or give another folder with paths.output=FOLDER"
        ) from error


def remove(run_dir: Path) -> None:
    """Remove a run: by one rename, so that no half of it is ever taken for a run.

    Raises:
        BusyError: another process is training there.
    """
    gone = run_dir.with_name(f"{durable.ASIDE}{run_dir.name}")
    with locked(run_dir):
        run_dir.rename(gone)
    shutil.rmtree(gone)


def held(run_dir: Path) -> bool:
    """Whether another process is training there."""
    try:
        with locked(run_dir):
            return False
    except BusyError:
        return True


def claim(job: Job, trained: bool = False) -> None:
    """Make sure that the directory is this run's own, set an old record aside, and write ``.hydra/``.

    Args:
        job: the run; its directory exists.
        trained: whether its record is that of a trial, which stays until the run is tested.

    Raises:
        UserError: the directory holds a run of another config or other pictures, or nothing tells whose.
    """
    run_dir = job.run_dir
    saved = run_dir / results.ARTIFACTS["config"]
    known = saved.with_name("fingerprint")  # the config does not tell what a folder of pictures held
    _refuse_others(saved, known, job.identity, run_dir)
    if job.config["force"] and (run_dir / results.RECORD).exists():
        previous.set_aside(run_dir)
    elif not trained:
        (run_dir / results.RECORD).unlink(missing_ok=True)
    for folder in (run_dir, saved.parent, run_dir / "checkpoints"):
        _clear(folder)
    saved.parent.mkdir(exist_ok=True)
    durable.write(known, job.identity)
    job.save(saved.parent)


def _refuse_others(saved: Path, known: Path, identity: str, run_dir: Path) -> None:
    try:
        identities = {compose.identity_of(saved), known.read_text() if known.exists() else identity}
    except FileNotFoundError:
        return
    except Exception as error:  # which a damaged file raises of any kind
        if run_dir.name.endswith(identity[:10]):  # the name tells whose it is
            return
        raise UserError(
            f"{screen.shown(saved)} is damaged ({screen.one_line(error)}), so nothing tells whose run lies "
            "there; remove it if the run is yours, or choose another hydra.run.dir"
        ) from None
    if identities != {identity}:
        raise UserError(
            f"{screen.shown(run_dir)} holds a run of another config, or of other pictures; "
            "choose another hydra.run.dir"
        )


def tidy(run_dir: Path) -> None:
    """Remove what a kill has left of a run that is finished, where the directory can be written to."""
    if (run_dir / results.PREVIOUS).exists() or any(run_dir.glob(f"{durable.ASIDE}*")):
        with suppress(OSError, BusyError), locked(run_dir):
            previous.restore(run_dir)
            previous.discard(run_dir / results.PREVIOUS)


def drop(run_dir: Path, record: results.Record) -> None:
    """Remove the checkpoints that a complete run does not keep: its record does not list them."""
    for name in {*results.KEEP["both"]} - record["artifacts"].keys():
        with suppress(PermissionError):
            (run_dir / results.ARTIFACTS[name]).unlink(missing_ok=True)


def _clear(folder: Path) -> None:
    """Remove what a killed process of this run was writing."""
    for path in folder.glob(f"{durable.ASIDE}*"):
        path.unlink()
