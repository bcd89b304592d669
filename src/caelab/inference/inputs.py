"""The pictures that a command is given, what their outputs are called, and what must not be overwritten."""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from caelab import terminal
from caelab.data import contents
from caelab.errors import UserError


class Source(NamedTuple):
    """A picture's file.

    Attributes:
        file: its path.
        name: relative path of its output, ending in ``.png``, or as it does: no other source has the same.
    """

    file: Path
    name: str


def sources(
    given: Sequence[Path],
    out: Path,
    reserved: Sequence[str] = (),
    arrays: Collection[str] = (),
    pictures: bool = True,
) -> list[Source]:
    """Find the pictures in files and folders, each once, in order, and name their outputs.

    A folder stands for the files below it that have the name of a picture, links followed, without hidden
    ones, those in ``out`` and what caelab has made. Names are paths relative to the folder that all arguments
    have in common.

    Args:
        given: files and folders.
        out: where outputs go.
        reserved: names that other outputs have.
        arrays: endings of names of arrays, which are taken, too, and whose outputs keep their names.
        pictures: whether pictures are taken.

    Raises:
        UserError: nothing is given, there is no such file, or no picture in a folder.
    """
    if not given:
        raise UserError("no image is given; name files or folders after RUN")
    for path in given:
        if not path.exists():
            raise UserError(f"{path}: there is no such file or folder")
    readable = {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    known = {*arrays, *(readable if pictures else ())}
    files = {_plain(file): file for path in given for file in _files(path, out, known)}
    base = os.path.commonpath([_plain(path if path.is_dir() else path.parent) for path in given])
    names = _names([file.relative_to(base) for file in files], reserved, arrays)
    return [Source(file, name) for file, name in zip(files.values(), names, strict=True)]


def _plain(path: Path) -> Path:
    """Absolute, and without ``..``, so that what lies in a folder starts with its name."""
    return Path(os.path.abspath(path))


def _files(path: Path, out: Path, known: Collection[str]) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    there = [file for _, file in contents.walk(path) if file.is_file()]
    if _plain(out) != _plain(path):  # an older output in it is no input
        there = [file for file in there if _plain(out) not in _plain(file).parents]
    found = [file for file in there if file.suffix.lower() in known]
    if not found:
        more = f"none of its {len(there):,} files has the ending of one" if there else "it is empty"
        raise UserError(f"{path}: there is no image in this folder; {more}")
    if len(found) < len(there):
        rest = f"{len(there) - len(found):,} of {len(there):,} files"
        terminal.note(f"{path}: skipped {rest}, which do not have the ending of an image")
    yield from found


def _names(paths: Sequence[Path], reserved: Sequence[str], arrays: Collection[str]) -> Iterator[str]:
    """Name outputs: the same path as ``.png``, with the old ending or a number where that is another's.

    Those of arrays keep their names.
    """
    inputs, taken = {path.as_posix() for path in paths}, set(reserved)
    for path in paths:
        own = path.as_posix()
        free = (
            n
            for n in ((own,) if path.suffix.lower() in arrays else _candidates(path))
            if n not in taken and (n == own or n not in inputs)
        )
        name = next(free)
        taken.add(name)
        yield name


def _candidates(path: Path) -> Iterator[str]:
    yield path.with_suffix(".png").as_posix()
    yield f"{path.as_posix()}.png"
    for number in count(2):
        yield path.with_name(f"{path.stem}-{number}.png").as_posix()


def require_free(paths: Sequence[Path], force: bool, kept: Iterable[Path] = ()) -> None:
    """Make sure that outputs overwrite nothing, or only what the user says.

    Args:
        paths: of the outputs.
        force: whether they may overwrite older files.
        kept: files that they may not overwrite, whatever the user says: the inputs.

    Raises:
        UserError: they would.
    """
    inputs = {file.resolve() for file in kept}
    if own := [path for path in paths if path.resolve() in inputs]:
        raise UserError(f"{own[0]}: is an input, and would be overwritten; give another --out")
    if there := [] if force else [path for path in paths if path.exists()]:
        more = f" (and {len(there) - 1:,} more)" if len(there) > 1 else ""
        raise UserError(f"{there[0]} is there already{more}; give another --out, or --force to overwrite")
