"""What a folder holds, by name and content: how a run knows its pictures again, wherever they lie.

Imports no torch, so that a finished run answers at once.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import PIL

from caelab import durable
from caelab.data import layout, pictures, sharing
from caelab.errors import UserError
from caelab.terminal import one_line, tracked

MARK = ".caelab"
"""Hidden file in a folder that caelab has made and that is no run: nothing in it is an input."""

_OURS = (MARK, ".hydra")

CHECKSUMS = "checksums"
"""Folder below the data folder that holds the remembered checksums, a file for each folder."""

FOLDER, CINIC10 = "caelab.data.folder.Folder", "caelab.data.cinic10.CINIC10"
"""Classes that do not read every file below the folder that they are given."""

INDEXED = f"{FOLDER} by an index"
"""The first of them where a table says what its pictures are for, and no name of a folder."""

ARRAY = "caelab.data.array.Array"
"""The class that reads one file, whatever its name."""

HUB = "caelab.data.hf.HuggingFace"
"""The class whose path is a folder, or else the name of a dataset elsewhere."""

_OF_CINIC10 = re.compile(r"(?:CINIC-10/)?(?:train|valid|test)/[^/]+/[^/]+\.png")
_TRIAL = pictures.Form(3, 8, 8)
_EVERY = 20.0  # seconds between what is remembered of a long look
_AT_ONCE = 1_000  # files
_LASTING = (errno.ENOENT, errno.EACCES, errno.ELOOP)  # flaws of a file, and not of a disk or a network
_COARSE = 2.0  # seconds by which the clock of a file system may be coarse


ORIGIN = "origin.json"
"""File beside a cache that was made from a folder of a user."""


class Origin(NamedTuple):
    """What a cache was made from.

    Attributes:
        target: the class that read it.
        folder: its absolute path.
        contents: its ``digest`` then.
    """

    target: str
    folder: str
    contents: str


class File(NamedTuple):
    """What is known of a file.

    Attributes:
        stamp: size, inode and time of change (ns); while they stay, its content does.
        sha256: of its content, hexadecimal; empty where ``flaw`` says something.
        flaw: why it is no picture, where it was asked to be one.
    """

    stamp: tuple[int, int, int]
    sha256: str = ""
    flaw: str = ""


def read_by(target: str, folder: Path, data: Path) -> dict[str, File]:
    """Every file that a dataset reads below a folder, by its name there, sorted.

    Links are followed; hidden files and what caelab has made are left out. For ``FOLDER`` and ``INDEXED``
    those that are no pictures are there too, with a ``flaw``; of a class that is not the lab's it is every
    file. Of ``ARRAY`` it is that one file, without a name.

    Args:
        target: the class of the dataset, as in its config; or ``INDEXED``.
        folder: which its config names.
        data: the data folder, which remembers what was read.

    Raises:
        UserError: something in it cannot be read, or it is not clear what its splits are.
    """
    if target in (FOLDER, INDEXED):
        try:
            layout.require(folder)
            given = layout.split_folders(folder).values() if target == FOLDER else ()
        except OSError as error:
            raise UserError(f"{folder} cannot be read: {error.strerror}") from None
        bases = {name: folder / name for name in given} or {"": folder}
        paths = {name: path for base, at in bases.items() for name, path in walk(at, base and f"{base}/")}
        return _known(folder, paths, data, f"pictures, as Pillow {PIL.__version__} reads them,", _picture)
    if target == ARRAY:
        return _known(folder, {"": folder}, data, "file", _file)
    paths = dict(walk(folder))
    if target == CINIC10:
        paths = {name: path for name, path in paths.items() if _OF_CINIC10.fullmatch(name)}
    return _known(folder, paths, data, "files", _file)


def digest(files: Mapping[str, File]) -> str:
    """One sha256, hexadecimal, of the names and contents of those without a flaw."""
    lines = "".join(f"{file.sha256} {name}\0" for name, file in sorted(files.items()) if not file.flaw)
    return hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()


def stamp(path: Path) -> tuple[int, int, int]:
    """Size, inode and time of change of a file; zeros where it is a link to nothing."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_size, found.st_ino, found.st_ctime_ns)


def walk(
    folder: Path, prefix: str = "", above: tuple[tuple[int, int], ...] = ()
) -> Iterator[tuple[str, Path]]:
    """Name and path of each file below, links followed but not in circles."""
    try:
        here = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}") from None
    within = len(above) > 0  # what a user names is read, whatever it is
    if (here.st_dev, here.st_ino) in above or (within and any(entry.name in _OURS for entry in entries)):
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        name, path = prefix + entry.name, folder / entry.name
        if path.is_dir():
            yield from walk(path, f"{name}/", (*above, (here.st_dev, here.st_ino)))
        elif path.is_file() or not path.exists():  # else a pipe or a device; a link to nothing is told
            yield name, path


def _known(
    folder: Path, paths: dict[str, Path], data: Path, kind: str, look: Callable[[Path], File]
) -> dict[str, File]:
    """What is remembered of files that have not changed, and what a look at the others says."""
    place = str(folder.resolve())
    identity = hashlib.sha256(f"{kind} {place}".encode(errors="surrogateescape"))
    table = data / CHECKSUMS / f"{identity.hexdigest()[:16]}.json"
    before = _remembered(table)
    known = {
        name: before[name]
        for name, path in paths.items()
        if name in before and before[name].stamp == stamp(path)
    }
    if new := {name: path for name, path in paths.items() if name not in known}:
        with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
            warnings.simplefilter("ignore")  # Pillow's, of large and of slightly odd files
            remembered = time.monotonic()
            for name, file in zip(new, tracked(_each(pool, look, new), "checksums", len(new)), strict=True):
                known[name] = file
                if time.monotonic() - remembered > _EVERY:  # so that a kill costs no more
                    _remember(table, place, known)
                    remembered = time.monotonic()
    if known != before:
        _remember(table, place, known)
    return dict(sorted(known.items()))


def _each(pool: Executor, look: Callable[[Path], File], paths: Mapping[str, Path]) -> Iterator[File]:
    """Look at each file, at not too many before their turn."""
    left = iter(paths.values())
    while part := list(islice(left, _AT_ONCE)):
        yield from pool.map(look, part)


def _file(path: Path) -> File:
    before = stamp(path)
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    if stamp(path) != before:
        raise UserError(f"{path} changed while it was read; start again when it is complete")
    return File(before, found)


def _picture(path: Path) -> File:
    before = stamp(path)
    try:
        pictures.read(path, _TRIAL)
    except MemoryError:
        raise
    # Pillow's readers raise almost anything on a damaged file
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, *_LASTING):
            raise UserError(f"{path} cannot be read: {error.strerror}") from None
        return File(before, flaw=one_line(error))
    return _file(path)


def _remembered(table: Path) -> dict[str, File]:
    with suppress(OSError, ValueError, TypeError, AttributeError, KeyError):
        found = json.loads(table.read_text())["files"]
        return {name: File((one[0], one[1], one[2]), *one[3:]) for name, one in found.items()}
    return {}


def _remember(table: Path, folder: str, files: Mapping[str, File]) -> None:
    """Keep checksums for the next start, but not of files that may yet change within a tick of the clock."""
    settled = time.time_ns() - int(_COARSE * 1e9)
    kept = {name: (*file.stamp, *file[1:]) for name, file in files.items() if file.stamp[2] < settled}
    with suppress(OSError):  # a data folder that cannot be written: they are read again
        sharing.make(table.parent)
        durable.write(table, json.dumps({"folder": folder, "files": kept}))
        sharing.share(table)
