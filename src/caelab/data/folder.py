"""A user's own images: any format that Pillow reads, in any folders."""

from __future__ import annotations

import hashlib
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import PIL
import torch
from PIL import Image
from torch import Tensor

from caelab.data import contents, index, layout, pictures
from caelab.data.cache import Buildable, Opened, checksum, identity, open_or_build
from caelab.data.contents import FOLDER, INDEXED, File, Origin
from caelab.data.datamodule import ImageDataModule, Split, whole_number
from caelab.data.pictures import Form
from caelab.data.rows import Rows
from caelab.data.scale import BYTES
from caelab.errors import UserError
from caelab.terminal import note, one_line
from caelab.version import __version__

_BETWEEN = {16: (0.0, 65_535.0), 32: (0.0, 1.0)}  # least and largest value of so many bits
_OBLONG = " turned"  # in the key of pictures that are not square: 0.13 decodes sideways JPEGs differently
NAMED = 10  # unreadable files that are named; the rest are counted

_FITTED = {
    "crop": "scaled to one size, their middle cut out",
    "pad": "scaled to one size, black beside them",
    "stretch": "stretched to one size",
}


class _Plan(NamedTuple):
    """What each picture of a folder is for.

    Attributes:
        classes: name of the class of each.
        places: of each in ``layout.SPLITS``; -1 where it is in none.
        clean: row of the picture that a network is to make of each, mostly its own; None: all their own.
    """

    classes: Sequence[str]
    places: Sequence[int]
    clean: Sequence[int] | None = None


class Folder(ImageDataModule):
    """The images below a folder, scaled once and cached.

    With `train`, `val` and `test` folders in it these are the splits; else about one image in ten is
    validation and one in ten is test, by a hash of its name. Folders within are classes; without any there is
    one class, "images".

    Args:
        data_dir: as in the base class, like `batch_size`, `train_size`, `classes` and `order_seed`.
        path: the folder with the images.
        batch_size: see there.
        train_size: see there.
        classes: see there; numbers of the sorted class names.
        order_seed: see there.
        image_size: height and width of all images, one number or two.
        channels: 1 for grey, 3 for colour, 4 for files of four bands, which are taken as they are.
        fit: how a picture of another shape gets there: ``crop``, ``pad`` or ``stretch``.
        bits: of a value: 8, 16, or 32 for floats from 0 to 1.
        index: table of the pictures to take, see ``caelab.data.index``; None takes all.

    Attributes:
        class_names: known after `setup`.
    """

    name = "folder"
    licence = (
        "A user's own images: whoever gives the model away must know on what terms they may be used, and "
        "whether they show people."
    )

    def __init__(
        self,
        data_dir: str,
        path: str,
        batch_size: int = 256,
        train_size: int | None = None,
        classes: Sequence[int] | None = None,
        order_seed: int = 0,
        image_size: int | Sequence[int] = 32,
        channels: int = 3,
        fit: str = "crop",
        bits: int = 8,
        index: str | None = None,
    ):
        super().__init__(data_dir, batch_size, train_size, classes, order_seed)
        self.path = Path(path).expanduser().absolute()
        if channels not in (*pictures.MODES, pictures.AS_THEY_ARE):
            four = "4 (as it is); dataset=array takes images of any number of bands"
            raise UserError(f"dataset.channels={channels}: must be 1 (grey), 3 (colour) or {four}")
        if fit not in pictures.FITS:
            raise UserError(f"dataset.fit={fit}: must be {', '.join(pictures.FITS)}")
        if bits not in pictures.TYPES:
            raise UserError(f"dataset.bits={bits}: must be 8, 16 or 32 (floats)")
        self.pictures = f"a user's own images, {_FITTED[fit]}"
        self.form = Form(channels, *_sides(image_size), fit, bits)
        self.shape = self.form[:3]
        self.index = Path(index).expanduser().absolute() if index else None
        self._remarks: dict[str, list[Path]] = defaultdict(list)

    def load(self) -> tuple[dict[str, Split], str]:
        """The splits, scaled once; the cache is made anew when a picture or an option changes.

        Raises:
            UserError: the folder is missing, empty, or has too few images that can be read.
        """
        files = contents.read_by(self._reader, self.path, self.folder.parent)
        names = [name for name, file in files.items() if not file.flaw]
        if not names:
            what = "no file in it can be read as an image" if files else "there is no file in it"
            raise UserError(f"dataset.path={self.path}: {what}")
        plan = self._listed(self.index, files, names) if self.index else self._found(names)
        placed = {one for one, place in zip(plan.classes, plan.places, strict=True) if place >= 0}
        self.class_names = tuple(sorted(placed))
        numbers = {name: number for number, name in enumerate(self.class_names)}
        labels = torch.tensor([numbers.get(one, -1) for one in plan.classes])
        places = torch.tensor(plan.places)
        # of the files, since decoders differ in the last bit
        known = {
            "files": contents.digest(files),
            "shape": self._named_form(),
            "places": checksum(places.numpy()),
        }
        if self.index:
            known["labels"] = checksum(labels.numpy())
        if plan.clean is not None:
            known["clean"] = checksum(np.array(plan.clean))
        return self._splits(files, names, plan, labels, places), identity(known)

    def _splits(
        self, files: Mapping[str, File], names: Sequence[str], plan: _Plan, labels: Tensor, places: Tensor
    ) -> dict[str, Split]:
        """The splits, of an array of the pictures that are in them or wanted of those."""
        used, clean, pairs = places >= 0, None, []
        if plan.clean is not None:
            pairs = [(names[at], names[to]) for at, to in enumerate(plan.clean) if at != to]
            clean = torch.tensor(plan.clean)
            used[clean[used]] = True
            clean = (used.cumsum(0) - 1)[clean[used]]  # rows of the pictures that are used
        taken = [name for name, one in zip(names, used.tolist(), strict=True) if one] if self.index else files
        opened = self._scaled(files, {name: files[name] for name in taken}, pairs)
        images, stored = opened.arrays["images"], opened.stored("images")
        between, splits = _BETWEEN.get(self.form.bits, BYTES), {}
        for place, name in enumerate(layout.SPLITS):
            rows = torch.nonzero(places[used] == place).flatten()
            splits[name] = Split(images, labels[used], rows, between, clean, stored)
            if not len(rows):
                given = layout.split_folders(self.path)
                where = (
                    f"{given[name]}/ that can be read" if name in given else f"its share of {name}; give more"
                )
                raise UserError(f"dataset.path={self.path}: no image in {where}")
        return splits

    def place(self) -> str:
        """The folder, as its key names it."""
        return f"dataset.path={self.path}"

    def here(self) -> bool:
        """Whether the folder is there."""
        return self.path.is_dir()

    @property
    def paired(self) -> bool:  # type: ignore[override]
        """Whether the index has a column of the pictures that networks are to make of others."""
        return self.index is not None and "target" in index.columns(self.index)

    @property
    def _reader(self) -> str:
        return INDEXED if self.index else FOLDER

    def _found(self, names: Sequence[str]) -> _Plan:
        """What pictures are for by the folders in which they lie, or by a hash of their names."""
        classes = [layout.of_class(name) for name in names]
        if given := list(layout.split_folders(self.path).values()):
            return _Plan(classes, [given.index(name.split("/")[0]) for name in names])
        try:
            return _Plan(classes, layout.divide(names, self.split_seed))
        except ValueError as error:
            raise UserError(f"dataset.path={self.path}: {error}") from None

    def _listed(self, path: Path, files: Mapping[str, File], names: Sequence[str]) -> _Plan:
        """What pictures are for by the index."""
        rows = index.read(path, self.path, files)
        found = index.places(rows, self.split_seed, f"dataset.index={path}")
        places = {row["file"]: place for row, place in zip(rows, found, strict=True)}
        labels = {row["file"]: row["label"] for row in rows if "label" in row}
        targets = {row["file"]: row["target"] for row in rows if "target" in row}
        numbers = {name: number for number, name in enumerate(names)}
        return _Plan(
            [labels.get(name, layout.of_class(name)) for name in names],
            [places.get(name, -1) for name in names],
            [numbers[targets.get(name, name)] for name in names] if targets else None,
        )

    def _scaled(
        self, files: Mapping[str, File], taken: Mapping[str, File], pairs: Sequence[tuple[str, str]]
    ) -> Opened:
        """All pictures that are taken, at the size of the network, from the cache of such pictures."""
        mark = "" if self.form.height == self.form.width else _OBLONG
        what = f"{contents.digest(taken)} {self._named_form()}{mark}{''.join(map(str, pairs))}"
        key = hashlib.sha256(what.encode(errors="surrogateescape")).hexdigest()[:16]
        origin = Origin(self._reader, str(self.path), contents.digest(files))

        def build() -> Buildable:
            index.require_alike(pairs, self.path, f"dataset.index={self.index}")
            return self._build(taken)

        return open_or_build(self.folder / key, self.name, build, origin=origin)

    def _named_form(self) -> str:
        """The form, as caches were named by before there was more than a shape."""
        fit, bits = self.form[3:]
        # since caelab 0.14 each of four bands is scaled by itself
        each = " bands" if (self.form.channels, bits) == (pictures.AS_THEY_ARE, 8) else ""
        return f"{self.shape}{'' if fit == 'crop' else f' {fit}'}{'' if bits == 8 else f' {bits}'}{each}"

    def _build(self, files: Mapping[str, File]) -> Buildable:
        flaws = {name: file.flaw for name, file in files.items() if file.flaw}
        for name, flaw in list(flaws.items())[:NAMED]:
            note(f"folder: skipped {self.path / name}: {flaw}")
        if flaws:
            note(f"folder: {len(flaws):,} of {len(files):,} files cannot be read as images and are skipped")
        names = [name for name in files if name not in flaws]

        def make(part: slice) -> npt.NDArray[Any]:
            with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
                warnings.simplefilter("ignore")  # Pillow's, of large and of slightly odd files
                read = pool.map(lambda name: self._read(self.path / name, files[name]), names[part])
                images = np.stack(list(read))
            if part.stop == len(names):
                self._tell()
            return images

        by = f"caelab {__version__} with Pillow {PIL.__version__}"
        shape = (len(names), *self.shape)
        return {"images": Rows(shape, pictures.TYPES[self.form.bits], make, by, "reading images")}

    def _read(self, path: Path, file: File) -> npt.NDArray[Any]:
        """Read one picture, of which it is known that it can be."""

        def look(image: Image.Image) -> None:
            for remark in pictures.remarks(image) if self.form.channels != pictures.AS_THEY_ARE else ():
                self._remarks[remark].append(path)

        try:
            image = pictures.read(path, self.form, look)
            changed = contents.stamp(path) != file.stamp
        except pictures.UnfitError as error:
            raise UserError(f"{path}: {error}") from None
        # Pillow's readers raise almost anything on a damaged file
        except Exception as error:
            raise UserError(f"{path} can no longer be read: {one_line(error)}") from error
        if changed:
            raise UserError(f"{path} changed while it was read; start again when it is complete")
        return image

    def _tell(self) -> None:
        """Say what is not taken as it is."""
        for remark, paths in self._remarks.items():
            more = f" and {len(paths) - 1:,} more" if len(paths) > 1 else ""
            note(f"folder: {remark} ({min(paths)}{more})")


def _sides(image_size: Any) -> tuple[int, int]:
    """Height and width."""
    if not isinstance(image_size, Sequence):
        side = whole_number("image_size", image_size, 1)
        return side, side
    if isinstance(image_size, str) or len(image_size) != 2:
        raise UserError(f"dataset.image_size={image_size}: must be one number, or [height,width]")
    height, width = (whole_number("image_size", side, 1) for side in image_size)
    return height, width
