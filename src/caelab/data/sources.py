"""Where a dataset's arrays come from: files that are there, the official download, other packagings of it.

Whatever the source, each array must have its known checksum, or the source is named, set aside and not used.
"""

from __future__ import annotations

import gzip
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from caelab.data.cache import Arrays, DamagedError, checksum, writing
from caelab.data.download import UnavailableError
from caelab.errors import UserError
from caelab.terminal import note, one_line


@dataclass(frozen=True)
class Source:
    """One way to a dataset's arrays.

    Attributes:
        name: what the screen calls it.
        find: the file each array is read from, of those that lie in the folder.
        read: the arrays in the files that `find` found, if it found one for each array.
        fetch: brings missing files into the folder; None for a source that only reads.
    """

    name: str
    find: Callable[[Path], dict[str, Path]]
    read: Callable[[dict[str, Path]], Arrays]
    fetch: Callable[[Path], None] | None = None


MOST = 1 << 29
"""Bytes that a file or an archive may unpack to: more than any of these datasets has."""


class _Bounded:
    """A file that fails when it has given more than `MOST` bytes, whatever it or its headers claim."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile):
        self._file, self._left = file, MOST

    def read(self, size: int) -> bytes:
        data = self._file.read(min(size, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise ValueError(f"it unpacks to more than {MOST:,} bytes, more than any of the datasets")
        return data


def content(path: Path) -> bytes:
    """What a file holds, unpacked where it ends in `.gz`.

    Raises:
        ValueError: more than `MOST` bytes, or damaged.
        OSError: it cannot be read, or is damaged.
    """
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        return _Bounded(file).read(MOST + 1)


def members(path: Path) -> dict[str, bytes]:
    """The contents of each regular file in a .tar.gz, read in one pass.

    Raises:
        ValueError: more than `MOST` bytes in all.
        Exception: almost any other one of `tarfile`, on a damaged archive.
    """
    found, claimed = {}, 0
    with gzip.open(path) as file, tarfile.open(fileobj=cast(IO[bytes], _Bounded(file)), mode="r|") as tar:
        for member in tar:
            claimed += member.size  # also of holes, which take no bytes of the archive
            if claimed > MOST:
                raise ValueError(f"it claims {claimed:,} bytes; at most {MOST:,} are unpacked")
            if part := tar.extractfile(member):
                found[member.name] = part.read()
    return found


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Name the file in whatever goes wrong with its contents.

    Raises:
        DamagedError: instead of what a reader raises in the block.
        UserError: the file may not be read.
        MemoryError: it is too large for this machine.
    """
    try:
        yield
    except PermissionError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except MemoryError:
        raise
    # pickle, Pillow and the rest raise almost anything on damaged bytes, SystemError among it
    except Exception as error:
        raise DamagedError(path, one_line(error)) from error


def obtain(
    what: str, folder: Path, sources: Sequence[Source], expected: Mapping[str, str], remedy: str
) -> Arrays:
    """The arrays of the first source that has them right: files that are there first, then what is fetched.

    Args:
        what: the dataset's name on the screen.
        folder: the dataset's folder.
        sources: in the order in which they are tried.
        expected: the checksum of each array.
        remedy: what the user can do if none works.

    Raises:
        UserError: no source works (`remedy`), or the folder cannot be written.
    """
    for source in sources:
        if (arrays := _read(what, folder, source, expected)) is not None:
            return arrays
    for source in sources:
        if source.fetch is None:
            continue
        note(f"{what}: trying {source.name}")
        try:
            source.fetch(folder)
        except (OSError, UnavailableError) as error:
            note(f"{what}: could not fetch {source.name}: {one_line(error)}")
            continue
        if (arrays := _read(what, folder, source, expected)) is not None:
            return arrays
    raise UserError(f"{what}: none of its sources works. {remedy}")


def _read(what: str, folder: Path, source: Source, expected: Mapping[str, str]) -> Arrays | None:
    """The arrays of one source, or None where files are missing; damaged ones are set aside first."""
    files = source.find(folder)
    if not files.keys() >= expected.keys():
        return None
    note(f"{what}: reading {source.name} in {folder}")
    try:
        arrays = source.read(files)
        wrong = [name for name, known in expected.items() if checksum(arrays[name]) != known]
        if wrong:
            raise DamagedError(files[wrong[0]], "its content is not the expected data")
    except DamagedError as damage:
        _set_aside(what, damage)
        return _read(
            what, folder, source, expected
        )  # the same file may lie there twice, such as plain and .gz
    return arrays


def _set_aside(what: str, damage: DamagedError) -> None:
    aside = damage.path.with_name(damage.path.name + ".damaged")
    note(f"{what}: {damage}; it is not used, and was renamed to {aside.name}")
    with writing(damage.path.parent):
        if aside.is_dir():
            shutil.rmtree(aside)
        damage.path.replace(aside)
