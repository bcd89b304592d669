"""A run takes its directory: whose it is, what becomes of an earlier run in it, and a disk that is full."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from caelab import durable, terminal
from caelab.composition import compose
from caelab.config.job import Job
from caelab.errors import UserError
from caelab.runs import previous, results
from caelab.runs.record import RECORD


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
            f"the disk of {terminal.shown(run_dir)} is full: free some space, and the same command goes on; "
            "or give another folder with paths.output=FOLDER"
        ) from error


def claim(job: Job, trained: bool = False) -> None:
    """Make sure that the directory is this run's own, set an old record aside, and write ``.hydra/``.

    Args:
        job: the run; its directory exists.
        trained: whether its record is that of a trial, which stays until the run is tested.

    Raises:
        UserError: the directory holds a run of another config, pictures or code, or nothing tells whose.
    """
    run_dir = job.run_dir
    saved = run_dir / results.ARTIFACTS["config"]
    known = saved.with_name("fingerprint")  # the config does not tell what a folder of pictures held
    _refuse_others(saved, known, job.identity, run_dir)
    # a forced run that failed goes on: what it takes the place of is aside already
    begun = (run_dir / results.PREVIOUS).exists() and not previous.finished(run_dir)
    if job.config["force"] and (run_dir / RECORD).exists() and not begun:
        previous.set_aside(run_dir)
    elif not trained:
        (run_dir / RECORD).unlink(missing_ok=True)
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
            f"{terminal.shown(saved)} is damaged ({terminal.one_line(error)}), so it is unknown whose run "
            "this is; remove it if the run is yours, or choose another hydra.run.dir"
        ) from None
    if identities != {identity}:
        raise UserError(
            f"{terminal.shown(run_dir)} holds a run of another config, other pictures or other code of "
            "yours; choose another hydra.run.dir"
        )


def _clear(folder: Path) -> None:
    """Remove what a killed process of this run was writing."""
    for path in folder.glob(f"{durable.ASIDE}*"):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
