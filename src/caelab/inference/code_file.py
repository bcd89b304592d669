"""The codes of pictures in one ``.npz``: plain arrays and no pickle.

It holds ``z`` (T, latent) and ``skip_1``, ``skip_2``, ... (T, ...), float32, for the T images that N
pictures were cut into, in order; in place of ``z`` ``indices`` (T, tokens, codebooks), whole numbers of as
few bytes as their entries need, where the latent is discrete; either in one row, (n,), of pictures that
were encoded whole; in place of both the arrays of ``caelab.inference.coded``, where the latent is coded;
``names`` (N,), ``sizes`` (N, 2) and ``tiles`` (N, 2): relative path of each picture's output, its height
and width, rows and columns of its images; of files of arrays how many images each has, and ``kinds`` (N,),
its axes and type; ``fit`` and ``shape``: how it was cut, for a network of images (C, H, W); ``fingerprint``
and ``weights``: which network can decode them; ``schema``.
"""

import math
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caelab import durable, terminal
from caelab.bottlenecks.bottleneck import Discrete
from caelab.bottlenecks.entropy import Entropy
from caelab.data.pictures import MOST_PIXELS
from caelab.errors import UserError
from caelab.inference import coded
from caelab.inference.fitting import WHOLE, Fit
from caelab.inference.inputs import Source
from caelab.inference.stacks import ENDINGS, PICTURE, PICTURED
from caelab.inference.stream import Entry
from caelab.inference.trained import Trained
from caelab.models.autoencoder import Code, at_least
from caelab.runs import arrays

SCHEMA = 1
_KIND = re.compile("N?(HW|HWC|CHW) (uint8|uint16|float16|float32|float64)")
_ABOUT = ("names", "sizes", "tiles", "shape", "schema", "fit", "fingerprint", "weights")


def write(
    path: Path, model: Trained, fit: Fit, entries: Sequence[Entry], codes: Sequence[Code]
) -> list[float]:
    """Write codes, whole or not at all.

    Args:
        path: of the file.
        model: that encoded.
        fit: how pictures became its images.
        entries: the pictures.
        codes: of their images, in order, in batches.

    Returns:
        Bytes of the code of each picture.

    Raises:
        UserError: the latent is to be coded, and constriction is not installed.
    """
    bottleneck, each = model.network.bottleneck, None
    if isinstance(bottleneck, Entropy):
        latent, each = coded.pack(_bottlenecks(model, fit, entries), [code.z for code in codes])
    else:
        latent = _plain(model, fit, codes)
    skips = [torch.cat(parts).numpy() for parts in zip(*(code.skips for code in codes), strict=True)]
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "names": [entry.source.name for entry in entries],
        "sizes": [entry.size for entry in entries],
        "tiles": [(entry.images, 1) if entry.kind else fit.grid(entry.size) for entry in entries],
        **({"kinds": [entry.kind for entry in entries]} if any(entry.kind for entry in entries) else {}),
        "fit": fit.way or "",
        "shape": model.shape,
        "fingerprint": model.fingerprint,
        "weights": model.weights,
        **latent,
        **{f"skip_{number}": skip for number, skip in enumerate(skips, start=1)},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with durable.file(path) as file:
        np.savez(file, **content)
    return _bytes(model, fit, entries, each)


def _bottlenecks(model: Trained, fit: Fit, entries: Sequence[Entry]) -> list[Entropy]:
    """The bottleneck of each image, which knows how large it is."""
    found: list[Entropy] = []
    for entry in entries:
        bottleneck = (model.at(*entry.size) if fit.way == WHOLE else model).network.bottleneck
        assert isinstance(bottleneck, Entropy)  # as ``require`` has made sure of
        found += [bottleneck] * _images(fit, entry)
    return found


def _plain(model: Trained, fit: Fit, codes: Sequence[Code]) -> dict[str, NDArray[Any]]:
    """Latents or indices as they are."""
    latents = [code.z if code.indices is None else code.indices for code in codes]
    if fit.way == WHOLE:  # of which each has as many as its picture asks for
        latents = [latent.flatten() for latent in latents]
    name = "z" if codes[0].indices is None else "indices"
    return {name: torch.cat(latents).numpy().astype(kind(model))}


def _bytes(model: Trained, fit: Fit, entries: Sequence[Entry], each: Sequence[float] | None) -> list[float]:
    """Bytes of the code of each picture; ``each``: of each image's latent, where they differ."""
    counts = [_images(fit, entry) for entry in entries]
    if each is None:
        sized = (model.at(*entry.size) if fit.way == WHOLE else model for entry in entries)
        return [float(size(one) * count) for one, count in zip(sized, counts, strict=True)]
    images, around = iter(each), _around(model)
    return [sum(islice(images, count)) + around * count for count in counts]


def kind(model: Trained) -> np.dtype[Any]:
    """Type of the numbers in which a file holds the latents of a model."""
    bottleneck = model.network.bottleneck
    return np.min_scalar_type(bottleneck.entries - 1) if isinstance(bottleneck, Discrete) else np.dtype("f4")


def size(model: Trained) -> int:
    """Bytes of the code of one image of a model."""
    bottleneck = model.network.bottleneck
    latent = bottleneck.tokens * bottleneck.codebooks if isinstance(bottleneck, Discrete) else model.latent
    return latent * kind(model).itemsize + _around(model)


def _around(model: Trained) -> int:
    """Bytes of what goes around the latent of one image."""
    return 4 * sum(math.prod(shape) for shape in model.skips)


@dataclass(frozen=True)
class Codes:
    """What a file of codes holds.

    Attributes:
        path: of the file.
        entries: the pictures; their sources' files are the names of their outputs.
        fit: how they were cut.
        code: of all of their images; its ``z`` is empty where its ``indices`` or ``stream`` say what it is.
        made_by: ``fingerprint`` and ``weights`` of the network that encoded.
        stream: arrays of ``caelab.inference.coded``, where there are some.
    """

    path: Path
    entries: list[Entry]
    fit: Fit
    code: Code
    made_by: dict[str, str]
    stream: dict[str, NDArray[Any]] | None = None

    def require(self, model: Trained, run: Path) -> None:
        """Make sure that this network made the codes.

        Args:
            model: the network.
            run: where it comes from, for messages.

        Raises:
            UserError: another one did.
        """
        for name, theirs in self.made_by.items():
            own = getattr(model, name)
            if theirs != own:
                raise UserError(
                    f"{self.path} holds codes of the model with {name} {theirs[:16]}, and {run} has {name} "
                    f"{own[:16]}; decode with the model that encoded them"
                )

    def batches(self, model: Trained) -> Iterator[tuple[Trained, Code]]:
        """Yield the codes, in order, each batch with the model for images of its size.

        Raises:
            UserError: the file is damaged, or was coded by other tables than this machine has.
        """
        code = self.code if self.stream is None else self.code._replace(z=self._decoded(model, self.stream))
        if self.fit.way == WHOLE:
            yield from self._whole(model, code)
            return
        for rows in self._rows(model.batch, len(code.z)):
            indices = None if code.indices is None else code.indices[rows]
            skips = tuple(skip[rows] for skip in code.skips)
            yield model, Code(code.z[rows], skips, indices=indices)

    def _rows(self, size: int, images: int) -> Iterator[slice]:
        """Batches of so many images, of pictures of all, of arrays of one file each."""
        apart = any(entry.kind for entry in self.entries)
        start, counts = 0, [entry.images for entry in self.entries] if apart else [images]
        for stop in accumulate(counts):
            yield from (slice(at, min(at + size, stop)) for at in range(start, stop, size))
            start = stop

    def _decoded(self, model: Trained, stream: dict[str, NDArray[Any]]) -> Tensor:
        """``z`` of a stream, (T, latent), or (n,) of whole pictures."""
        try:
            z = coded.unpack(_bottlenecks(model, self.fit, self.entries), stream)
        except ValueError as error:
            raise UserError(f"{self.path} is damaged ({error}); encode again") from None
        except UserError as error:
            raise UserError(f"{self.path}: {error}") from None
        return z if self.fit.way == WHOLE else z.reshape(-1, model.latent)

    def _whole(self, model: Trained, code: Code) -> Iterator[tuple[Trained, Code]]:
        """Yield the codes of whole pictures, one by one."""
        indices = code.indices
        flat, start = code.z if indices is None else indices, 0
        for entry in (one for one in self.entries for _ in range(one.images)):
            sized = model.at(*entry.size)
            bottleneck = sized.network.bottleneck
            shape = [1, sized.latent]
            if isinstance(bottleneck, Discrete):
                shape = [1, bottleneck.tokens, bottleneck.codebooks]
            part = flat[start : start + math.prod(shape)]
            if len(part) < math.prod(shape):
                raise UserError(f"{self.path} is damaged: it ends within {entry.source.name}; encode again")
            start += math.prod(shape)
            part = part.reshape(shape)
            yield sized, Code(part) if indices is None else Code(torch.empty(1, 0), indices=part)


def read(path: Path) -> Codes:
    """Read a file of codes; nothing is read that the file cannot hold.

    Raises:
        UserError: there is no such file, it is damaged, or no file of codes.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            most = path.stat().st_size
            names = (*_ABOUT, *(["kinds"] if "kinds.npy" in archive.namelist() else []))
            about = {name: arrays.read(archive, name, most) for name in names}
            if about["schema"] != SCHEMA:
                raise UserError(f"{path} has schema {about['schema']}, this caelab reads {SCHEMA}")
            channels, height, width = (at_least(1, "shape", side) for side in about["shape"].tolist())
            fit = Fit((channels, height, width), str(about["fit"]) or None)
            entries = _entries(about, fit)
            count = sum(_images(fit, entry) for entry in entries)
            code = _code(archive, None if fit.way == WHOLE else count, most)
            stream = _stream(archive, most)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; caelab encode writes one") from None
    except arrays.DAMAGE as error:
        if isinstance(error, OSError) and error.filename:  # it cannot be opened
            raise
        reason = terminal.one_line(error).strip("'\"")
        raise UserError(f"{path} is damaged or not a file of codes ({reason}); encode again") from None
    made_by = {name: str(about[name]) for name in ("fingerprint", "weights")}
    return Codes(path, entries, fit, code, made_by, stream)


def _images(fit: Fit, entry: Entry) -> int:
    """Images of the network's size that a picture, or a file of arrays, has become."""
    return math.prod(fit.grid(entry.size)) * entry.images


def _entries(about: dict[str, NDArray[Any]], fit: Fit) -> list[Entry]:
    sizes = [(int(height), int(width)) for height, width in about["sizes"]]
    names = [str(name) for name in about["names"]]
    if (most := max((height * width for height, width in sizes), default=0)) > MOST_PIXELS:
        raise ValueError(f"a picture of {most:,} pixels; at most {MOST_PIXELS:,} are drawn")
    kinds = [str(kind) for kind in about.get("kinds", [""] * len(names))]
    if any(not _stays_below(*one) for one in zip(names, kinds, strict=True)):
        raise ValueError("a name that leaves the folder of the outputs")
    if any(kind and not _KIND.fullmatch(kind) for kind in kinds):
        raise ValueError("arrays of an unknown kind")
    if fit.way is None and any(size != fit.size for size in sizes):
        raise ValueError("sizes that are not the network's")
    entries = []
    for name, size, tiles, kind in zip(names, sizes, about["tiles"].tolist(), kinds, strict=True):
        count = tiles[0] if kind else 1
        fits = tiles == ([count, 1] if kind else list(fit.grid(size)))
        if not fits or count < 1 or (count > 1 and kind[:1] != "N"):
            raise ValueError("tiles that do not fit the sizes")
        entries.append(Entry(Source(Path(name), name), size, count, kind))
    return entries


def _code(archive: zipfile.ZipFile, count: int | None, most: int) -> Code:
    """The codes of so many images, in a file of ``most`` bytes; None is of whole pictures, in one row."""

    def read(name: str, numbers: type[np.generic] = np.float32) -> NDArray[Any]:
        part = arrays.read(archive, name, most)
        fits = part.ndim == 1 if count is None else part.shape[:1] == (count,)
        if not (fits and np.issubdtype(part.dtype, numbers)):
            raise ValueError(f"{name} of {part.dtype} {part.shape} for {count} images")
        return part

    last = sum(name.startswith("skip_") for name in archive.namelist())
    skips = tuple(torch.from_numpy(read(f"skip_{number}")) for number in range(1, last + 1))
    if f"{coded.ARRAYS[0]}.npy" in archive.namelist():
        return Code(torch.empty(0), skips)
    if "indices.npy" not in archive.namelist():
        return Code(torch.from_numpy(read("z")), skips)
    indices = torch.from_numpy(read("indices", np.unsignedinteger).astype(np.int64))
    return Code(torch.empty(len(indices), 0), skips, indices=indices)


def _stream(archive: zipfile.ZipFile, most: int) -> dict[str, NDArray[Any]] | None:
    """Arrays of a stream, in a file of ``most`` bytes; None where the file has none."""
    if f"{coded.ARRAYS[0]}.npy" not in archive.namelist():
        return None
    found = {name: arrays.read(archive, name, most) for name in coded.ARRAYS}
    kinds = {"words": ("u4", 1), "far": ("i4", 1), "check": ("i8", 0)}
    for name, (kind, dimensions) in kinds.items():
        if found[name].dtype != kind or found[name].ndim != dimensions:
            raise ValueError(f"{name} of {found[name].dtype} {found[name].shape}")
    return found


def _stays_below(name: str, kind: str) -> bool:
    path = PurePosixPath(name)
    endings = (*(ENDINGS if kind else ()), *([PICTURE] if not kind or kind in PICTURED else ()))
    return path.suffix.lower() in endings and not path.is_absolute() and ".." not in path.parts
