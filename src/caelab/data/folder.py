"""A user's own images: any format that Pillow reads, in any folders."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps

from caelab.data.cache import Arrays, open_or_build
from caelab.data.datamodule import ImageDataModule, Split, in_order, permutation, whole_number
from caelab.data.pictures import DEEP, MODES, upright
from caelab.errors import UserError
from caelab.screen import item_progress, note, one_line

SPLITS = ("train", "val", "test")
NAMED = 10  # unreadable files that are named; the rest are counted
HELD_OUT = 10  # one image in ten is validation, one in ten is test


def to_uint8(image: Image.Image, channels: int, size: int) -> npt.NDArray[np.uint8]:
    """One picture as (channels, size, size): upright, on white where transparent, its middle square scaled.

    Values of more than 8 bits are rounded to them; see `pictures.upright` for what else becomes of a picture.
    """
    image.draft(
        MODES[channels], (2 * size, 2 * size)
    )  # a JPEG is decoded at a fraction of its size if that does
    picture = upright(image)
    if picture.mode == DEEP:
        picture = Image.fromarray((255 * np.asarray(picture)).round().astype(np.uint8))
    square = ImageOps.fit(picture.convert(MODES[channels]), (size, size), Image.Resampling.BICUBIC)
    return np.asarray(square).reshape(size, size, channels).transpose(2, 0, 1)


class Folder(ImageDataModule):
    """The images below a folder, scaled once and cached.

    With `train`, `val` and `test` folders in it these are the splits; else one image in ten is validation and
    one in ten is test, by a fixed seed. Folders within are classes; without any there is one class, "images".

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
        if channels not in MODES:
            raise UserError(f"dataset.channels={channels}: must be 1 (grey) or 3 (colour)")
        side = whole_number("image_size", image_size, 1)
        self.shape = (channels, side, side)

    def load(self) -> tuple[dict[str, Split], str]:
        """The splits, scaled once; the cache is made anew when a file or an option changes.

        Raises:
            UserError: the folder is missing, empty, or has too few images that can be read.
        """
        given = self._given_splits()
        files = self._files(given)
        # split (where they are given), class folders, file name
        parts = [file.relative_to(self.path).parts for file in files]
        names = [(part[1:] if given else part) for part in parts]
        classes = [name[0] if len(name) > 1 else "images" for name in names]
        self.class_names = tuple(sorted(set(classes)))
        labels = torch.tensor([self.class_names.index(one) for one in classes])
        opened = open_or_build(self.folder / self._digest(files), self.name, lambda: self._build(files))
        rows = opened.arrays["files"]  # (N,) which of the files each image is
        if given:
            places = torch.tensor([SPLITS.index(part[0]) for part in parts])[rows]
            index = [torch.nonzero(places == place).flatten() for place in range(len(SPLITS))]
        else:
            index = self._divide(len(rows))
        splits = {
            name: Split(opened.arrays["images"], labels[rows], one)
            for name, one in zip(SPLITS, index, strict=True)
        }
        for name, split in splits.items():
            if not len(split):
                raise UserError(f"dataset.path={self.path}: no image in {name}/ that can be read")
        return splits, opened.sha256

    def here(self) -> bool:
        """Whether the folder is there."""
        return self.path.is_dir()

    def _given_splits(self) -> bool:
        """Whether there is a folder for each split; there may be none."""
        if not self.path.is_dir():
            raise UserError(f"dataset.path={self.path}: there is no such folder")
        there = [name for name in SPLITS if (self.path / name).is_dir()]
        if there and (missing := [name for name in SPLITS if name not in there]):
            raise UserError(
                f"dataset.path={self.path}: there is {there[0]}/ but no {missing[0]}/; "
                "give train/, val/ and test/, or none of them"
            )
        return bool(there)

    def _files(self, given: bool) -> list[Path]:
        """All files but hidden ones, sorted; only those of the splits where these are given."""
        bases = [self.path / name for name in SPLITS] if given else [self.path]
        files = [
            path
            for base in bases
            for path in sorted(base.rglob("*"))
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(base).parts)
        ]
        if not files:
            raise UserError(f"dataset.path={self.path}: there is no file in it")
        return files

    def _divide(self, n: int) -> list[torch.Tensor]:
        if n < HELD_OUT:
            raise UserError(
                f"dataset.path={self.path}: {n} images are too few; at least {HELD_OUT} are needed"
            )
        rows, tenth = permutation(n, self.split_seed), n // HELD_OUT
        val, test, train = rows[:tenth], rows[tenth : 2 * tenth], rows[2 * tenth :]
        return [in_order(part) for part in (train, val, test)]

    def _digest(self, files: list[Path]) -> str:
        lines = [f"{self.path} {self.shape}"]
        for file in files:
            stat = file.stat()
            lines.append(f"{file} {stat.st_size} {stat.st_mtime_ns}")
        return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:16]

    def _build(self, files: list[Path]) -> Arrays:
        read: list[npt.NDArray[np.uint8]] = []
        rows: list[int] = []
        with item_progress() as progress, ThreadPoolExecutor() as pool:
            for row, image in enumerate(
                progress.track(pool.map(self._read, files), total=len(files), description="reading images")
            ):
                if isinstance(image, str):
                    self._tell_skipped(row - len(rows), image)
                else:
                    read.append(image)
                    rows.append(row)
        if skipped := len(files) - len(rows):
            note(f"folder: {skipped:,} of {len(files):,} files cannot be read as images and are skipped")
        if not rows:
            raise UserError(f"dataset.path={self.path}: no file in it can be read as an image")
        return {"images": np.stack(read), "files": np.array(rows, np.int64)}

    def _read(self, file: Path) -> npt.NDArray[np.uint8] | str:
        """One image, or why it cannot be read."""
        try:
            with Image.open(file) as image:
                return to_uint8(image, self.shape[0], self.shape[1])
        # Pillow's readers raise almost anything on a damaged file
        except Exception as error:
            return f"{file}: {one_line(error)}"

    @staticmethod
    def _tell_skipped(before: int, message: str) -> None:
        if before < NAMED:
            note(f"folder: skipped {message}")
