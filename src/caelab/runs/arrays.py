"""Arrays of a ``.npz`` file, read only where the file can hold what it claims: it may be a stranger's."""

import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

LARGEST = 1 << 29
"""Bytes of one array that are read into memory."""
DAMAGE = (zipfile.BadZipFile, ValueError, TypeError, KeyError, EOFError, OSError, RuntimeError, MemoryError)
"""What zipfile and NumPy raise on a damaged file."""

_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the other ways make gigabytes of a few bytes
_DEFLATED = 1032  # bytes that one byte can stand for, deflated


def load(
    path: Path, names: Sequence[str], instead: Mapping[str, str] = MappingProxyType({})
) -> list[NDArray[Any]]:
    """Read arrays of a file.

    Args:
        path: of the file.
        names: of the arrays.
        instead: name -> that of the array which stands in where the file has none of the first.

    Raises:
        ValueError: an array that is larger than the file can hold, or than ``LARGEST``.
        Exception: the others of ``DAMAGE``.
    """
    with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
        there = set(archive.namelist())
        return [read(archive, name if f"{name}.npy" in there else instead.get(name, name)) for name in names]


def read(archive: zipfile.ZipFile, name: str, most: int | None = None) -> NDArray[Any]:
    """Read one array of an open file; raises as ``load``.

    Args:
        archive: the file.
        name: of the array.
        most: bytes, in place of ``LARGEST``.
    """
    most = LARGEST if most is None else most
    info = archive.getinfo(f"{name}.npy")
    require_plain(info)
    if info.file_size > most:
        raise ValueError(f"{name} claims {info.file_size:,} bytes; at most {most:,} are read")
    with archive.open(info.filename) as member:
        shape, _, kind = header(member)
        size = member.tell() + math.prod(shape) * kind.itemsize
    if size != info.file_size and not kind.hasobject:  # which NumPy refuses itself
        raise ValueError(f"{name} claims an array {shape} of {kind}: {size:,} bytes of {info.file_size:,}")
    with archive.open(info.filename) as member:
        found: NDArray[Any] = npy.read_array(member, allow_pickle=False)
        return found


def require_plain(info: zipfile.ZipInfo) -> None:
    """Refuse a member that claims more than its bytes can hold.

    Raises:
        ValueError: it does.
    """
    if info.compress_type not in _PLAIN or info.file_size > _DEFLATED * max(info.compress_size, 1):
        raise ValueError(f"{info.filename} claims {info.file_size:,} bytes of {info.compress_size:,}")


def header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether it is in Fortran's order, and number type of the array that a member holds."""
    npy.read_magic(member)
    found: tuple[tuple[int, ...], bool, np.dtype[Any]] = npy.read_array_header_1_0(member)
    return found
