"""Arrays that are never in memory as a whole: made and written in blocks, and gone on with after a kill."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from caelab import durable
from caelab.data import sharing
from caelab.terminal import item_progress, note

BLOCK = 1 << 25
"""Bytes of a block, about."""


@dataclass(frozen=True)
class Rows:
    """An array by its parts.

    Attributes:
        shape: of the array, (N, ...).
        dtype: of its numbers.
        make: makes some rows, always the same ones from the same version.
        version: of what makes them.
        what: is done, as a progress bar names it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    make: Callable[[slice], npt.NDArray[Any]]
    version: str
    what: str

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def blocks(self) -> Iterator[slice]:
        """Rows that are made at a time."""
        count = max(1, BLOCK * self.shape[0] // max(1, self.nbytes))
        return (slice(at, min(at + count, self.shape[0])) for at in range(0, self.shape[0], count))


def write(rows: Rows, path: Path) -> str:
    """Write rows to an ``.npy`` file, or go on with what a killed process has left of it.

    A journal beside the file has the version and the sha256 of each finished block; what does not fit is made
    anew. The journal is removed at the end.

    Returns:
        The checksum of the array, as ``caelab.data.cache.checksum``.

    Raises:
        OSError: what the disk refuses; what is finished stays.
    """
    journal = path.with_suffix(".journal")
    finished = _finished(journal, rows.version)
    whole = hashlib.sha256(f"{rows.dtype.str} {rows.shape}".encode())
    path.touch()
    sharing.share(path)
    with path.open("r+b") as file, item_progress() as progress:
        header = {"descr": rows.dtype.str, "fortran_order": False, "shape": rows.shape}
        np.lib.format.write_array_header_1_0(file, header)
        bar = progress.add_task(rows.what, total=rows.shape[0])
        for number, part in enumerate(rows.blocks()):
            start, size = file.tell(), rows.nbytes // rows.shape[0] * (part.stop - part.start)
            block = file.read(size) if number < len(finished) else b""
            if _sha256(block) not in finished[number : number + 1]:
                block = np.ascontiguousarray(rows.make(part), rows.dtype).tobytes()
                file.seek(start)
                file.write(block)
                file.flush()
                finished = [*finished[:number], _sha256(block)]
                durable.write(journal, "\n".join([rows.version, *finished]))
                sharing.share(journal)
            whole.update(block)
            progress.update(bar, completed=part.stop)
        file.truncate()
        os.fsync(file.fileno())
    journal.unlink(missing_ok=True)
    return whole.hexdigest()


def _finished(journal: Path, version: str) -> list[str]:
    """The sha256 of each finished block; none where another version has made them, which it says."""
    with suppress(OSError, ValueError):
        before, *finished = journal.read_text().splitlines()
        if before == version:
            return finished
        note(f"{journal.parent}: begun by version {before}, not {version}; it is made again")
    return []


def _sha256(block: bytes) -> str:
    return hashlib.sha256(block).hexdigest()
