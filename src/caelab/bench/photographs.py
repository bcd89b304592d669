"""Pictures to load: as many cuts of scikit-image's photographs as are asked for, always the same."""

import io
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from caelab.data.rows import Rows

_NAMES = ("astronaut", "chelsea", "coffee", "rocket")
LARGEST = 256
"""Pixels of a side, at most."""
_HELD_OUT = 10
"""Validation and test pictures, which nothing here looks at."""
_SHARDS = 4
_ACROSS, _DOWN = 104_729, 7_919  # primes: cuts next to each other in order lie far from each other


@cache
def _photographs() -> list[npt.NDArray[np.uint8]]:
    import skimage.data  # which takes long

    return [getattr(skimage.data, name)() for name in _NAMES]


def cut(number: int, side: int) -> npt.NDArray[np.uint8]:
    """Cut a picture (side, side, 3), of ``LARGEST`` pixels a side at most."""
    photograph = _photographs()[number % len(_NAMES)]
    top = number * _DOWN % (photograph.shape[0] - side + 1)
    left = number * _ACROSS % (photograph.shape[1] - side + 1)
    return photograph[top : top + side, left : left + side]


def write(folder: Path, count: int, side: int) -> None:
    """Write pictures as JPEG files, in ``pictures/``, and the training pictures in ``shards/`` once more.

    Args:
        folder: a new one.
        count: training pictures.
        side: of each, in pixels.
    """
    for split in ("train", "val", "test"):
        (folder / "pictures" / split / "cuts").mkdir(parents=True)
    (folder / "shards").mkdir()
    with ExitStack() as stack:
        names = [folder / "shards" / f"{number}.tar" for number in range(_SHARDS)]
        shards = [stack.enter_context(tarfile.open(name, "w")) for name in names]
        for number, (split, data) in enumerate(_files(count, side)):
            (folder / "pictures" / split / "cuts" / f"{number:08}.jpg").write_bytes(data)
            if split == "train":
                entry = tarfile.TarInfo(f"{number:08}.jpg")
                entry.size = len(data)
                shards[number % _SHARDS].addfile(entry, io.BytesIO(data))


def _files(count: int, side: int) -> Iterator[tuple[str, bytes]]:
    for split, some in (("train", count), ("val", _HELD_OUT), ("test", _HELD_OUT)):
        for number in range(some):
            file = io.BytesIO()
            Image.fromarray(cut(number, side)).save(file, "JPEG", quality=90)
            yield split, file.getvalue()


def rows(count: int, side: int) -> Rows:
    """Return pictures as an array (count, 3, side, side), which is written in blocks."""

    def make(part: slice) -> npt.NDArray[Any]:
        return np.stack([cut(number, side).transpose(2, 0, 1) for number in range(part.start, part.stop)])

    return Rows((count, 3, side, side), np.dtype(np.uint8), make, "cuts", "cutting pictures")
