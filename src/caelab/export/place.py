"""The folder of an export: complete under its name, or not there at all."""

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from caelab import durable
from caelab.errors import UserError
from caelab.terminal import one_line, shown


@contextmanager
def placed(out: Path) -> Iterator[Path]:
    """Give a new folder that takes the name ``out`` when the block ends well, and is removed otherwise.

    What lies at ``out`` is replaced; ``refuse`` tells beforehand what must stay.

    Raises:
        UserError: nothing can be written there.
    """
    made = [folder for folder in out.absolute().parents if not folder.exists()]
    new = durable.aside(out.absolute())
    try:
        with told(out):
            new.mkdir(parents=True)
        yield new
        with told(out):
            _swap(new, out)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
        raise


def refuse(out: Path, known: Collection[str], force: bool) -> None:
    """Refuse a place that holds what must not be lost.

    Args:
        out: the place; an empty folder may be there.
        known: names of the files that an earlier export may have left there.
        force: whether an earlier export may be replaced.

    Raises:
        UserError: it is a file, the working directory or where a disk is mounted, or holds an export and
            there is no ``force``, or holds anything else.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{shown(out)}: there is a file of that name; choose another --out")
    if out.exists() and (out.samefile(".") or out.is_mount()):
        raise UserError(f"{shown(out)}: this folder cannot be replaced; choose a folder in it with --out DIR")
    there = sorted(path.name for path in out.iterdir()) if out.exists() else []
    strangers = [name for name in there if name not in known]
    if strangers:
        raise UserError(f"{shown(out)} holds {strangers[0]}, not part of an export; choose another --out")
    if there and not force:
        raise UserError(f"{shown(out)} exists already; --force replaces it, --out DIR goes elsewhere")


@contextmanager
def told(out: Path) -> Iterator[None]:
    """Turn what the disk refuses into one line that names the folder.

    Raises:
        UserError: instead of any OSError in the block.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise UserError(f"{shown(out)} cannot be written ({reason}); nothing is left there") from error


def _swap(new: Path, out: Path) -> None:
    """Give the new folder its name; what was there before goes when the new one is in place."""
    old = durable.aside(out.absolute())
    if out.exists():
        out.rename(old)
    new.rename(out)
    durable.sync(new.parent)
    shutil.rmtree(old, ignore_errors=True)
