"""The array cache: uint8 images and their labels as .npy files, each with its checksum, memory-mapped.

A cache is written once, into a temporary folder that is then renamed, under a file lock. A damaged one is
named and made anew, never used. Large arrays are written and verified in constant memory; that of a folder
goes on where a killed process stopped.
"""

from __future__ import annotations

import errno
import hashlib
import json
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from caelab import durable
from caelab.data import contents, rows, sharing
from caelab.data.contents import ORIGIN, Origin
from caelab.data.prefetch import fits
from caelab.data.rows import Rows
from caelab.data.stored import Stored
from caelab.errors import UserError
from caelab.terminal import note, one_line

Arrays = dict[str, npt.NDArray[Any]]
Buildable = Mapping[str, npt.NDArray[Any] | Rows]
CACHE = "cache"
CHECKSUMS = "checksums.json"

UNFINISHED = "unfinished"
"""Folder beside a cache in which ``Rows`` are written."""

VERIFIED = "verified.json"
"""File beside a cache: its arrays of ``LARGE`` that were read and found right, and on which machine."""

LARGE = 1 << 30
"""Bytes from which an array is verified once on each machine; smaller ones are at each start."""

_LOCKLESS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


class DamagedError(Exception):
    """A file that does not hold what it must.

    Args:
        path: the file.
        reason: what is wrong with it.
    """

    def __init__(self, path: Path, reason: str):
        super().__init__(f"{path} is damaged ({reason})")
        self.path, self.reason = path, reason


@dataclass(frozen=True, eq=False)
class Opened:
    """The arrays of a cache, memory-mapped and verified, one sha256 over all of them, and where they lie."""

    arrays: dict[str, Tensor]
    sha256: str
    folder: Path

    def stored(self, name: str) -> Stored | None:
        """What reads an array that all of the memory cannot hold; None of any other, whose map is faster."""
        return None if fits(self.arrays[name].nbytes, 1) else Stored(self.folder / f"{name}.npy")


def checksum(array: npt.NDArray[Any]) -> str:
    """The sha256 of an array: its type and shape, like `|u1 (10, 1, 28, 28)`, then its bytes in C order."""
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def identity(checksums: Mapping[str, str]) -> str:
    """One sha256 for several arrays, from their names and checksums."""
    lines = "".join(f"{name} {checksums[name]}\n" for name in sorted(checksums))
    return hashlib.sha256(lines.encode()).hexdigest()


def open_or_build(
    folder: Path,
    what: str,
    build: Callable[[], Buildable],
    expected: Mapping[str, str] | None = None,
    origin: Origin | None = None,
) -> Opened:
    """Open the cache in `folder`/cache, which is first built where it is missing or damaged.

    Of several processes that start at once, one builds and the others wait for it.

    Args:
        folder: the dataset's own folder.
        what: the dataset's name on the screen.
        build: makes the arrays.
        expected: the checksum of each array, where it is known.
        origin: a folder of a user, after which the cache is of no use when that has changed.

    Raises:
        UserError: the folder cannot be read or written, or `build` cannot make the arrays.
    """
    cache = folder / CACHE
    try:
        return _open(cache, expected)
    except PermissionError as error:
        raise UserError(
            f"{error.filename} cannot be read ({error.strerror}): whoever made it can share it with "
            f"chmod -R g+rX {folder}; or give a folder of your own with paths.data=FOLDER"
        ) from None
    except (OSError, DamagedError):
        pass  # looked at again under the lock: another process may be mending it
    with locked(folder, what) as alone:
        try:
            return _open(cache, expected)
        except FileNotFoundError:
            pass
        except DamagedError as damage:
            note(f"{what}: {damage}; the cache is built again")
        _write(cache, build(), origin, alone)
    return _open(cache, expected)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what the disk refuses into one line that names the folder.

    Raises:
        UserError: instead of any OSError in the block.
    """
    try:
        yield
    except OSError as error:
        if error.errno in durable.FULL:
            raise _full(folder) from error
        raise UserError(
            f"cannot write into {folder} ({error.strerror or one_line(error)}): "
            "give a writable folder with paths.data=FOLDER"
        ) from error


def _full(folder: Path, room: str = "") -> UserError:
    return UserError(
        f"the disk of {folder} is full{room}: free some space, or give another folder with paths.data=FOLDER"
    )


@contextmanager
def locked(folder: Path, what: str) -> Iterator[bool]:
    """Keep other processes out of a folder, which is made where it is missing; say whether that is so.

    What processes that were killed have left aside in it is removed.

    Raises:
        UserError: the folder cannot be written.
    """
    lock = FileLock(folder / ".lock")
    with writing(folder):
        sharing.make(folder)
        try:
            lock.acquire(timeout=0)
        except Timeout:  # an OSError, so it must not reach `writing`
            note(f"{what}: another process is preparing the data in {folder}; waiting for it")
            lock.acquire()
        except (OSError, NotImplementedError) as error:
            if isinstance(error, OSError) and error.errno not in _LOCKLESS:
                raise
            # sound without one: each process writes aside, and the first to be done is taken
            note(f"{what}: {folder} has no file locks; processes that start together each build the cache")
        if lock.is_locked:
            sharing.share(folder / ".lock")
            _remove_leftovers(folder)
    try:
        yield lock.is_locked
    finally:
        lock.release()


def _remove_leftovers(folder: Path) -> None:
    """Remove what a process that was killed has left."""
    for path in folder.glob(f"{durable.ASIDE}*"):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()


def _write(cache: Path, arrays: Buildable, origin: Origin | None, resumable: bool = False) -> None:
    resumable = resumable and any(isinstance(array, Rows) for array in arrays.values())
    new = cache.with_name(UNFINISHED) if resumable else durable.aside(cache)
    with writing(cache.parent):
        there = sum(file.stat().st_size for file in new.glob("*.npy"))
        missing = sum(array.nbytes for array in arrays.values()) - there
        if missing > (free := shutil.disk_usage(cache.parent).free):
            raise _full(cache.parent, f" ({missing / 1e9:,.3g} GB are needed, {free / 1e9:,.3g} GB are free)")
        new.mkdir(exist_ok=resumable)
        sharing.share(new)
        if origin:
            _write_json(cache.with_name(ORIGIN), origin._asdict())
        try:
            checksums = {name: _save(new / f"{name}.npy", array) for name, array in arrays.items()}
        except UserError:  # going on would not help
            shutil.rmtree(new)
            raise
        _write_json(new / CHECKSUMS, checksums)
        shutil.rmtree(cache, ignore_errors=True)
        try:
            new.rename(cache)
        except OSError:
            if not cache.is_dir():  # else another process, which no lock kept out, was first
                raise
            shutil.rmtree(new)
        durable.sync(cache.parent)


def _save(path: Path, array: npt.NDArray[Any] | Rows) -> str:
    """Write an array; return its checksum."""
    if isinstance(array, Rows):
        found = rows.write(array, path)
    else:
        with durable.file(path) as file:
            np.save(file, array)
        found = checksum(array)
    sharing.share(path)
    return found


def _write_json(path: Path, values: Mapping[str, object]) -> None:
    durable.write(path, json.dumps(values))
    sharing.share(path)


def _open(cache: Path, expected: Mapping[str, str] | None) -> Opened:
    files = sorted(cache.iterdir())
    stamp = tuple((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files)
    opened, checksums = _verified(cache, stamp)
    for name, known in (expected or {}).items():
        if checksums.get(name) != known:
            raise DamagedError(cache / f"{name}.npy", "not the expected data")
    return opened


@lru_cache(maxsize=8)
def _verified(cache: Path, stamp: tuple[tuple[str, int, int], ...]) -> tuple[Opened, dict[str, str]]:
    """Open and verify: once per process, unless a file has changed since (`stamp`)."""
    path = cache / CHECKSUMS
    try:
        checksums = dict(json.loads(path.read_text()))
    except PermissionError:
        raise
    except (OSError, ValueError, TypeError) as error:
        raise DamagedError(path, one_line(error)) from error
    arrays = {name: _mapped(cache / f"{name}.npy") for name in checksums}
    large = [name for name, array in arrays.items() if array.nbytes >= LARGE]
    states = {name: [checksums[name], *_state(cache / f"{name}.npy")] for name in large}
    known = _known(cache)
    for name in (name for name in arrays if name not in large or states[name] != known.get(name)):
        if checksum(arrays[name]) != checksums[name]:
            raise DamagedError(cache / f"{name}.npy", "its sha256 is not the one stored beside it")
    if states != known:
        with suppress(OSError):  # a data folder that cannot be written: it is verified again
            _write_json(cache.with_name(VERIFIED), states)
    try:
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    except TypeError as error:  # text, as caelab 0.13 kept labels of Hugging Face
        raise DamagedError(cache, one_line(error)) from error
    return Opened(tensors, identity(checksums), cache), checksums


def _mapped(path: Path) -> npt.NDArray[Any]:
    try:
        # copy on write: torch wants memory it may write to, and the file must stay as it is
        return np.load(path, mmap_mode="c")  # type: ignore[no-any-return]
    except PermissionError:
        raise
    # NumPy's header parser raises almost anything on a damaged header
    except Exception as error:
        raise DamagedError(path, one_line(error)) from error


def _known(cache: Path) -> dict[str, Any]:
    """The large arrays that were verified, with their ``_state`` then."""
    with suppress(OSError, ValueError):
        return dict(json.loads(cache.with_name(VERIFIED).read_text()))
    return {}


def _state(path: Path) -> list[str | int]:
    """This machine, and what changes when a file is written; not when a disk fails."""
    return [platform.node(), *contents.stamp(path)]
