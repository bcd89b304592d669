"""Rows of an array on disk, read by their places."""

from __future__ import annotations

import errno
import os
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_THREADS = 8


class Stored:
    """The rows of an ``.npy`` file that memory cannot hold.

    The kernel reads ten times as much as is asked for where a memory map is touched here and there, one place
    after another. That pays where it can keep the rest until it is asked for, too. Here several threads wait
    side by side, each for one row and no more.

    Args:
        path: the file, in C order.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, self.dtype = np.lib.format.read_array_header_1_0(file)
            self.start = file.tell()
        self.path, self.row = path, shape[1:]
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        if hasattr(os, "posix_fadvise"):  # else the kernel reads what lies behind a row, too
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_RANDOM)
        self._pool = ThreadPoolExecutor(_THREADS, "caelab-read")

    def take(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Read rows (n,): an array (n, ...).

        Raises:
            OSError: what the disk refuses, or the file ends before a row does.
        """
        values = np.empty((len(rows), *self.row), self.dtype)
        places = list(zip(values, rows.tolist(), strict=True))
        for done in [self._pool.submit(self._read, places[n::_THREADS]) for n in range(_THREADS)]:
            done.result()
        return values

    def _read(self, places: list[tuple[Any, int]]) -> None:
        for values, row in places:
            if os.preadv(self._file, [values], self.start + row * values.nbytes) < values.nbytes:
                raise OSError(errno.EIO, "the file ends too early", str(self.path))
