"""A user's own images: any format that Pillow reads, in any folders."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL
import torch

from caelab.data import contents, layout, pictures
from caelab.data.cache import Buildable, Opened, checksum, identity, open_or_build
from caelab.data.contents import FOLDER, File, Origin
from caelab.data.datamodule import ImageDataModule, Split, whole_number
from caelab.data.rows import Rows
from caelab.errors import UserError
from caelab.terminal import note, one_line

NAMED = 10  # unreadable files that are named; the rest are counted


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
        image_size: height and width after scaling and cropping.
        channels: 1 for grey, 3 for colour.

    Attributes:
        class_names: known after `setup`.
    """

    name = "folder"
    pictures = "a user's own images, scaled to one size, their middle square"
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
        image_size: int = 32,
        channels: int = 3,
    ):
        super().__init__(data_dir, batch_size, train_size, classes, order_seed)
        self.path = Path(path).expanduser().absolute()
        if channels not in pictures.MODES:
            raise UserError(f"dataset.channels={channels}: must be 1 (grey) or 3 (colour)")
        side = whole_number("image_size", image_size, 1)
        self.shape = (channels, side, side)

    def load(self) -> tuple[dict[str, Split], str]:
        """The splits, scaled once; the cache is made anew when a picture or an option changes.

        Raises:
            UserError: the folder is missing, empty, or has too few images that can be read.
        """
        given = layout.split_folders(self.path)
        files = contents.read_by(FOLDER, self.path, self.folder.parent)
        names = [name for name, file in files.items() if not file.flaw]
        if not names:
            what = "no file in it can be read as an image" if files else "there is no file in it"
            raise UserError(f"dataset.path={self.path}: {what}")
        images = self._scaled(files)
        # class folders, and the picture's own name
        parts = [name.split("/")[bool(given) :] for name in names]
        classes = [part[0] if len(part) > 1 else "images" for part in parts]
        self.class_names = tuple(sorted(set(classes)))
        labels = torch.tensor([self.class_names.index(one) for one in classes])
        places = torch.tensor(self._places(names, given))
        splits = {}
        for place, name in enumerate(layout.SPLITS):
            splits[name] = Split(images.arrays["images"], labels, torch.nonzero(places == place).flatten())
            if not len(splits[name]):
                raise UserError(f"dataset.path={self.path}: no image in {given[name]}/ that can be read")
        # of the files, since decoders differ in the last bit
        known = {
            "files": contents.digest(files),
            "shape": str(self.shape),
            "places": checksum(places.numpy()),
        }
        return splits, identity(known)

    def place(self) -> str:
        """The folder, as its key names it."""
        return f"dataset.path={self.path}"

    def here(self) -> bool:
        """Whether the folder is there."""
        return self.path.is_dir()

    def _places(self, names: Sequence[str], given: Mapping[str, str]) -> list[int]:
        """Place in `layout.SPLITS` of each picture."""
        if given:
            bases = list(given.values())
            return [bases.index(name.split("/")[0]) for name in names]
        try:
            return layout.divide(names, self.split_seed)
        except ValueError as error:
            raise UserError(f"dataset.path={self.path}: {error}") from None

    def _scaled(self, files: Mapping[str, File]) -> Opened:
        """All pictures at the size of the network, from the cache of such pictures."""
        what = contents.digest(files)
        key = hashlib.sha256(f"{what} {self.shape}".encode()).hexdigest()[:16]
        origin = Origin(FOLDER, str(self.path), what)
        return open_or_build(self.folder / key, self.name, lambda: self._build(files), origin=origin)

    def _build(self, files: Mapping[str, File]) -> Buildable:
        flaws = {name: file.flaw for name, file in files.items() if file.flaw}
        for name, flaw in list(flaws.items())[:NAMED]:
            note(f"folder: skipped {self.path / name}: {flaw}")
        if flaws:
            note(f"folder: {len(flaws):,} of {len(files):,} files cannot be read as images and are skipped")
        names = [name for name in files if name not in flaws]

        def make(part: slice) -> npt.NDArray[np.uint8]:
            with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
                warnings.simplefilter("ignore")  # Pillow's, of large and of slightly odd files
                read = pool.map(lambda name: self._read(self.path / name, files[name]), names[part])
                return np.stack(list(read))

        by = f"caelab {version('caelab')} with Pillow {PIL.__version__}"
        shape = (len(names), *self.shape)
        return {"images": Rows(shape, np.dtype(np.uint8), make, by, "reading images")}

    def _read(self, path: Path, file: File) -> npt.NDArray[np.uint8]:
        """Read one picture, of which it is known that it can be."""
        try:
            image = pictures.read(path, self.shape[0], self.shape[1])
            changed = contents.stamp(path) != file.stamp
        # Pillow's readers raise almost anything on a damaged file
        except Exception as error:
            raise UserError(f"{path} cannot be read any more: {one_line(error)}") from error
        if changed:
            raise UserError(f"{path} changes while it is read; start again when it is whole")
        return image
