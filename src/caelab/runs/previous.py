"""The run that a forced one takes the place of: set aside whole, and kept until the new one is complete.

Its files go one by one, the record first, into a folder that one rename then makes ``previous/``. After a
kill before that rename ``restore`` puts them back; after it the old run is whole there, and nothing outside.
"""

import logging
import shutil
from pathlib import Path

from caelab import durable
from caelab.errors import UserError
from caelab.runs import analyses as registry
from caelab.runs import results
from caelab.runs.record import RECORD

_MOVING = f"{durable.ASIDE}moving"
_GONE = f"{durable.ASIDE}gone"
_MADE = {
    RECORD,
    *results.FOLDERS,
    *(Path(name).parts[0] for name in results.ARTIFACTS.values()),
}


def restore(run_dir: Path) -> bool:
    """Put back what a kill has left half set aside, and remove what one has left half removed.

    Returns:
        Whether something was put back.
    """
    moving = run_dir / _MOVING
    half = moving.is_dir()
    if half:
        for path in sorted(moving.iterdir(), key=lambda path: path.name == RECORD):  # it comes last
            path.replace(run_dir / path.name)
        moving.rmdir()
        _reopen_log()
    shutil.rmtree(run_dir / _GONE, ignore_errors=True)
    return half


def set_aside(run_dir: Path) -> None:
    """Move the run, and what analyses made of it, to ``previous/``; files of anybody else stay.

    A complete run that lies there already stays, and what has failed since is removed.
    """
    aside = run_dir / results.PREVIOUS
    if finished(run_dir):  # so what a kill has left there is of the run before
        discard(aside)
    moving = run_dir / _MOVING
    moving.mkdir()
    for path in sorted(_of_the_run(run_dir), key=lambda path: path.name != RECORD):
        path.replace(moving / path.name)
    durable.sync(moving)
    if aside.exists():
        discard(moving)
    else:
        moving.rename(aside)
        durable.sync(run_dir)
    _reopen_log()


def discard(folder: Path) -> None:
    """Remove a folder of a run directory: by one rename, so that no half of it is ever taken for a run."""
    if folder.is_dir():
        gone = folder.with_name(_GONE)
        shutil.rmtree(gone, ignore_errors=True)
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def finished(run_dir: Path) -> bool:
    """Whether the run that lies in a directory is complete, so that none that was set aside is needed.

    A trial is complete, too.
    """
    try:
        record = results.read(run_dir)
    except UserError:
        return False
    return record is not None and results.complete(run_dir, record, trial=True)


def _of_the_run(run_dir: Path) -> list[Path]:
    made = _MADE | registry.files()
    others = {
        path.stem for path in run_dir.glob("*.json") if results.is_analysis(path)
    }  # no longer installed
    return [path for path in run_dir.iterdir() if path.name in made or path.stem in others]


def _reopen_log() -> None:
    """Let the next line of the job's log open the file anew, whose name has become another's."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.close()
