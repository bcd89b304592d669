"""The codes of pictures in one ``.npz``: plain arrays, no pickle, written and read a batch at a time.

It holds ``z`` (T, latent) and ``skip_1``, ``skip_2``, ... (T, ...), float32, for the T images that N pictures
were cut into, in order; ``names`` (N,), ``sizes`` (N, 2) and ``tiles`` (N, 2): relative path of each
picture's output, its height and width, rows and columns of its images; ``fit`` and ``shape``: how it was cut,
for a network of images (C, H, W); ``fingerprint`` and ``weights``: which network can decode them; ``schema``.
"""

import math
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, Any, Self

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

from caelab import durable, terminal
from caelab.data.pictures import MOST_PIXELS
from caelab.errors import UserError
from caelab.inference.fitting import Fit, Size
from caelab.inference.inputs import Source
from caelab.inference.stream import Entry
from caelab.inference.trained import Trained
from caelab.models.autoencoder import Code, at_least
from caelab.runs import arrays

SCHEMA = 1
_NUMBER = np.dtype("<f4")


class Writer:
    """Writes codes to a file that is whole or not there; to be used in a ``with``.

    Args:
        path: of the file.
        trained: the network that encodes.
        fit: how pictures become its images.
    """

    def __init__(self, path: Path, trained: Trained, fit: Fit) -> None:
        self._path, self._trained, self._fit = path, trained, fit
        self._shapes: dict[str, tuple[int, ...]] = {"z": (trained.latent,)}
        self._shapes |= {f"skip_{i}": shape for i, shape in enumerate(trained.skips, start=1)}

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            # Beside the file: the number of images, which an array starts with, is known at the end only.
            folder = stack.enter_context(TemporaryDirectory(dir=self._path.parent, prefix=".codes-"))
            self._folder = Path(folder)
            self._raw = {
                name: stack.enter_context((self._folder / name).open("wb+")) for name in self._shapes
            }
            self._stack = stack.pop_all()
        self._count = 0
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, code: Code) -> None:
        """Append the codes of a batch."""
        for raw, part in zip(self._raw.values(), (code.z, *code.skips), strict=True):
            raw.write(part.numpy().astype(_NUMBER).tobytes())
        self._count += len(code.z)

    def finish(self, entries: Sequence[Entry]) -> None:
        """Write the file, with the pictures that the codes are of."""
        about: dict[str, Any] = {
            "schema": SCHEMA,
            "names": [entry.source.name for entry in entries],
            "sizes": [entry.size for entry in entries],
            "tiles": [self._fit.grid(entry.size) for entry in entries],
            "fit": self._fit.way or "",
            "shape": self._trained.shape,
            "fingerprint": self._trained.fingerprint,
            "weights": self._trained.weights,
        }
        with durable.file(self._path) as file, zipfile.ZipFile(file, "w") as archive:
            for name, value in about.items():
                with archive.open(f"{name}.npy", "w") as member:
                    npy.write_array(member, np.asarray(value), allow_pickle=False)
            for name, raw in self._raw.items():
                self._copy(archive, name, raw)

    def _copy(self, archive: zipfile.ZipFile, name: str, raw: IO[bytes]) -> None:
        raw.seek(0)
        shape = (self._count, *self._shapes[name])
        with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            header = {"descr": npy.dtype_to_descr(_NUMBER), "fortran_order": False, "shape": shape}
            npy.write_array_header_1_0(member, header)
            shutil.copyfileobj(raw, member)


class Reader:
    """Reads a file of codes, once it is known to be whole.

    Args:
        path: of the file.

    Attributes:
        entries: the pictures; their sources' files are the names of their outputs.
        fit: how they were cut.

    Raises:
        UserError: there is no such file, it is damaged, or no file of codes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._archive = zipfile.ZipFile(path)
            for info in self._archive.infolist():
                arrays.require_plain(info)
            broken = self._archive.testzip()
            if broken is not None:
                raise ValueError(f"checksum of {broken}")
            parts = ("names", "sizes", "tiles", "shape", "schema")
            about = {name: arrays.read(self._archive, name) for name in parts}
            texts = ("fit", "fingerprint", "weights")
            self._text = {name: str(arrays.read(self._archive, name)) for name in texts}
            if about["schema"] != SCHEMA:
                raise UserError(f"{path} has schema {about['schema']}, this caelab reads {SCHEMA}")
            channels, height, width = (at_least(1, "shape", side) for side in about["shape"].tolist())
            self.fit = Fit((channels, height, width), self._text["fit"] or None)
            self.entries = self._entries(about)
            self._shapes = self._codes()
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; caelab encode writes one") from None
        except arrays.DAMAGE as error:
            if isinstance(error, OSError) and error.filename:  # it cannot be opened
                raise
            reason = terminal.one_line(error).strip("'\"")
            raise UserError(f"{path} is damaged, or no file of codes ({reason}); encode anew") from None

    def _entries(self, about: dict[str, NDArray[Any]]) -> list[Entry]:
        sizes: list[Size] = [(int(height), int(width)) for height, width in about["sizes"]]
        names = [str(name) for name in about["names"]]
        if (most := max((height * width for height, width in sizes), default=0)) > MOST_PIXELS:
            raise ValueError(f"a picture of {most:,} pixels; at most {MOST_PIXELS:,} are drawn")
        if any(not _stays_below(name) for name in names):
            raise ValueError("a name that leaves the folder of the outputs")
        if about["tiles"].tolist() != [list(self.fit.grid(size)) for size in sizes]:
            raise ValueError("tiles that do not fit the sizes")
        return [Entry(Source(Path(name), name), size) for name, size in zip(names, sizes, strict=True)]

    def _codes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of each array of codes, whose headers must fit the pictures and the file's size."""
        self._count = sum(math.prod(self.fit.grid(entry.size)) for entry in self.entries)
        stored = {Path(info.filename).stem: info.file_size for info in self._archive.infolist()}
        skips = sum(name.startswith("skip_") for name in stored)
        found = {}
        for name in ("z", *(f"skip_{i}" for i in range(1, skips + 1))):
            with self._archive.open(f"{name}.npy") as member:
                shape, fortran, number = arrays.header(member)
                size = member.tell() + math.prod(shape) * _NUMBER.itemsize
            if (shape[:1], fortran, number, size) != ((self._count,), False, _NUMBER, stored[name]):
                raise ValueError(f"{name} of {number} {shape} for {self._count} images")
            found[name] = shape
        return found

    def require(self, trained: Trained, run: Path) -> None:
        """Make sure that this network made the codes.

        Args:
            trained: the network.
            run: where it comes from, for messages.

        Raises:
            UserError: another one did.
        """
        for name in ("fingerprint", "weights"):
            theirs, own = self._text[name], getattr(trained, name)
            if theirs != own:
                raise UserError(
                    f"{self._path} holds codes of the model with {name} {theirs[:16]}, and {run} has {name} "
                    f"{own[:16]}; decode with the model that encoded"
                )

    def codes(self, batch: int) -> Iterator[Code]:
        """Yield the codes, in order, ``batch`` images at once: as they were encoded, if that was so many."""
        with ExitStack() as stack:
            members = [stack.enter_context(self._archive.open(f"{name}.npy")) for name in self._shapes]
            for member in members:
                arrays.header(member)
            for start in range(0, self._count, batch):
                rows = min(batch, self._count - start)
                z, *skips = (
                    _rows(member, (rows, *shape[1:]))
                    for member, shape in zip(members, self._shapes.values(), strict=True)
                )
                yield Code(z, tuple(skips))


def _rows(member: IO[bytes], shape: tuple[int, ...]) -> Tensor:
    numbers = np.frombuffer(member.read(math.prod(shape) * _NUMBER.itemsize), _NUMBER)
    return torch.tensor(numbers.astype(np.float32)).reshape(shape)


def _stays_below(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix == ".png" and not path.is_absolute() and ".." not in path.parts
