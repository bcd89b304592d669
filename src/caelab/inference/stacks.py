"""Arrays in files, ``.npy`` and TIFF, as they are: to a network's images, and back to files of their kind.

Pictures are arrays, too, where a network was trained on such as are no plain ones: of 16 bits, or four bands.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from caelab import durable, terminal
from caelab.data.pictures import AS_THEY_ARE, Form, read
from caelab.data.pictures import size as size_of
from caelab.data.scale import scaled
from caelab.errors import UserError
from caelab.inference import stream
from caelab.inference.fitting import WHOLE
from caelab.inference.images import Values, take, to_bytes
from caelab.inference.inputs import Source
from caelab.inference.stream import Entry, Stream
from caelab.inference.trained import Trained

NUMPY, PICTURE = ".npy", ".png"
ENDINGS = (NUMPY, ".tif", ".tiff")
PICTURED = ("CHW uint8", "CHW uint16")
"""Kinds of arrays that are pictures."""

_AXES = ("NHWC", "NCHW", "HWC", "CHW", "NHW", "HW")
"""Orders of axes that a file may have, the likelier one of two that fit first."""


class Stack(NamedTuple):
    """Images of a file.

    Attributes:
        x: (N, C, H, W), of any type; a view of what the file holds, which may be memory-mapped.
        axes: order of its axes, of ``_AXES``.
    """

    x: NDArray[Any]
    axes: str


def asked(model: Trained, given: Sequence[Path]) -> bool:
    """Whether files are arrays to a network: those of NumPy are, all others where it takes no pictures."""
    pictures = model.values is None and model.shape[0] in (1, 3)
    return not pictures or (bool(given) and all(path.suffix.lower() == NUMPY for path in given))


def taken(model: Trained, arrays: bool) -> tuple[Sequence[str], bool]:
    """Endings of names of arrays, and whether pictures are taken, of files that are arrays or are not."""
    return (ENDINGS, bits(model) is not None) if arrays else ((), True)


def bits(model: Trained) -> int | None:
    """Bits of the pictures that a network takes as arrays; None where it takes none."""
    if model.values is None:
        return 8 if model.shape[0] == AS_THEY_ARE else None
    deep = model.values == Values(torch.uint16, (0, 65_535))
    return 16 if deep and model.shape[0] == 1 else None  # Pillow writes no 16-bit colours


def opened(path: Path, shape: Sequence[int], any_size: bool, bits: int | None = None) -> Stack:
    """Open a file of images for a network of images of ``shape`` (C, H, W).

    Args:
        path: of the file.
        shape: of the network's images.
        any_size: whether it takes others.
        bits: of a picture, see ``bits``.

    Raises:
        ValueError: it holds no such images.
        Exception: almost any other one of a reader, on a damaged file.
    """
    ending = path.suffix.lower()
    if ending == NUMPY:
        array = np.load(path, mmap_mode="r")
    elif ending in ENDINGS:
        import tifffile  # which other files do without

        array = tifffile.imread(path)
    elif bits is not None:
        array = read(path, Form(shape[0], *size_of(path), bits=bits), _as_png)
    else:
        raise ValueError(f"not an array file; its name must end in {', '.join(ENDINGS)}")
    if not array.size:
        raise ValueError("no image in it")
    known = {axes: dict(zip(axes, array.shape, strict=True)) for axes in _AXES if len(axes) == array.ndim}
    banded = {axes: sides for axes, sides in known.items() if sides.get("C", 1) == shape[0]}
    for axes, sides in banded.items():
        if any_size or (sides["H"], sides["W"]) == tuple(shape[1:]):
            return Stack(_ordered(array, axes), axes)
    orders = " or ".join(f"({', '.join(axes)})" for axes in known)
    more = "; --fit whole takes other sizes with model=spatial" if banded and not any_size else ""
    raise ValueError(
        f"an array of shape {array.shape}; the network takes {'x'.join(map(str, shape))}, as "
        f"{orders or '(N, H, W, C)'}{more}"
    )


def _as_png(image: Image.Image) -> None:
    """Refuse a picture whose four bands a PNG cannot hold as they are."""
    if image.mode == "CMYK":
        raise ValueError("its bands are inks, which a PNG cannot hold; give them as an array")


def _ordered(array: NDArray[Any], axes: str) -> NDArray[Any]:
    """Turn an array of some axes into (N, C, H, W), without a copy."""
    for axis in "NC":
        if axis not in axes:
            array, axes = array[None], axis + axes
    return array.transpose([axes.index(axis) for axis in "NCHW"])


def _restored(x: NDArray[Any], axes: str) -> NDArray[Any]:
    """Turn (N, C, H, W) into an array of some axes."""
    left = "NCHW"
    for axis in "NC":
        if axis not in axes:
            x, left = x.take(0, left.index(axis)), left.replace(axis, "")
    return np.ascontiguousarray(x.transpose([left.index(axis) for axis in axes]))


class Stacks(Stream):
    """The images of files of arrays, as ``Stream`` has those of pictures; each batch is of one file.

    Args:
        sources: the files.
        model: takes their images.
        way: ``WHOLE``, or None where they must have its size.
        description: what the bar is called.
    """

    def __init__(self, sources: Sequence[Source], model: Trained, way: str | None, description: str) -> None:
        if way not in (None, WHOLE):
            raise UserError(f"--fit {way}: arrays are taken as they are; give {WHOLE} or nothing")
        super().__init__(sources, model.fit(way, pictures=False), description)
        self._model = model

    def batches(self, size: int) -> Iterator[Tensor]:
        """Yield images (n, C, H, W) as they are stored, ``size`` at once; one by one with ``whole``."""
        whole = self._fit.way == WHOLE
        for source in terminal.tracked(self._sources, self._description):
            try:
                stack = opened(source.file, self._model.shape, whole, bits(self._model))
                self._model.at(*stack.x.shape[2:])
                for part in parts(stack.x, size):
                    take(part, part.shape[1:], self._model.values)  # which refuses values out of range
            # readers raise almost anything on a damaged file
            except Exception as error:
                self.skipped[source.file] = terminal.one_line(error)
                continue
            count, _, height, width = stack.x.shape
            self.entries.append(Entry(source, (height, width), count, f"{stack.axes} {stack.x.dtype.name}"))
            yield from parts(stack.x, 1 if whole else size)


def parts(x: NDArray[Any], size: int) -> Iterator[Tensor]:
    """Cut images (N, C, H, W) into tensors of so many, in this machine's byte order."""
    for start in range(0, len(x), size):
        part = x[start : start + size]
        kind = np.dtype(np.float32) if part.dtype.kind == "f" else part.dtype.newbyteorder("=")
        yield torch.from_numpy(np.require(part, kind, ["C", "W"]))


def files(
    made: Iterator[Tensor], entries: deque[Entry], values: Values | None
) -> Iterator[tuple[Entry, NDArray[Any]]]:
    """Yield each file's images (N, C, H, W) of its type as soon as all are there, and remove its entry.

    Args:
        made: images of ``Trained.decode`` (n, C, H, W), of one file each.
        entries: of the files, in order; may grow while images are made.
        values: what the network was trained on; None is bytes.
    """
    held: list[NDArray[Any]] = []
    for x_hat in made:
        kind = entries[0].kind.split()[1]
        if values is not None and not values.takes(getattr(torch, kind, torch.float32)):
            x_hat = scaled(x_hat, values.between)  # noqa: PLW2901
        held.append((to_bytes(x_hat) if kind == "uint8" else x_hat).numpy().astype(kind))
        if sum(map(len, held)) == entries[0].images:
            yield entries.popleft(), np.concatenate(held)
            held = []


def save(images: NDArray[Any], kind: str, path: Path) -> None:
    """Save images (N, C, H, W) with the axes of their kind, in a folder that may have to be made."""
    axes = kind.split()[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == PICTURE:
        stream.save(_restored(images, "HWC"), path)
        return
    array = _restored(images, axes)
    with durable.file(path) as file:
        if path.suffix.lower() == NUMPY:
            np.save(file, array)
            return
        import tifffile

        together = "contig" if axes.endswith("C") and array.shape[-1] > 1 else None
        tifffile.imwrite(file, array, photometric="minisblack", planarconfig=together)
