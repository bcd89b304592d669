"""A user's own arrays: NumPy files and TIFF stacks, with any number of bands, of 8 or 16 bits or floats."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from caelab.data import contents, stack
from caelab.data.cache import identity
from caelab.data.contents import ARRAY
from caelab.data.datamodule import ImageDataModule, Split
from caelab.data.stack import LAYOUTS, SPLITS, Stack
from caelab.errors import UserError
from caelab.terminal import one_line

ENDINGS = (".npy", ".npz", ".tif", ".tiff")


class Array(ImageDataModule):
    """Images in one file, as they are: nothing is scaled or cut.

    An ``.npz`` with ``train_images`` and ``test_images``, and perhaps ``val_images``, has its own splits; one
    with ``images`` has none, nor have ``.npy`` and ``.tif``. A split that is missing takes a tenth of the
    training images. ``labels``, or ``train_labels`` and so on, are numbers or names of classes.

    Args:
        data_dir: as in the base class, like `batch_size`, `train_size`, `classes` and `order_seed`.
        path: the file. An ``.npy`` of (N, H, W), or of (N, C, H, W) with that layout, is memory-mapped; all
            others are read into memory.
        batch_size: see there.
        train_size: see there.
        classes: see there; numbers of the sorted names.
        order_seed: see there.
        layout: order of the axes of images with channels: ``NHWC`` or ``NCHW``.
        value_range: least and largest value, which networks see as 0 and 1. None is 0 to 255 of uint8, 0 to
            65,535 of uint16, and 0 to 1 of floating point.
        bands: see there.

    Attributes:
        class_names: sorted; known after `setup`.
    """

    name = "array"
    pictures = "a user's own images, as they came"
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
        layout: str = "NHWC",
        value_range: Sequence[float] | None = None,
        bands: Sequence[int] | None = None,
    ):
        super().__init__(data_dir, batch_size, train_size, classes, order_seed)
        self.path, self.bands = Path(path).expanduser().absolute(), bands
        if layout not in LAYOUTS:
            raise UserError(f"dataset.layout={layout}: must be {' or '.join(LAYOUTS)}")
        self.layout = layout
        self._value_range = None if value_range is None else stack.range_of(value_range, self.place())

    def load(self) -> tuple[dict[str, Split], str]:
        """The splits, as they were read, and the identity of the file's content."""
        splits, self.class_names = self._opened
        files = contents.read_by(ARRAY, self.path, self.folder.parent)
        between = str(splits["train"].between)
        known = {"file": contents.digest(files), "layout": self.layout, "between": between}
        return dict(splits), identity(known)

    @cached_property
    def shape(self) -> tuple[int, int, int]:  # type: ignore[override]
        """(C, H, W) of an image; the file is read for it."""
        channels, height, width = self._opened[0]["train"].images.shape[1:]
        return channels, height, width

    def place(self) -> str:
        """The file, as its key names it."""
        return f"dataset.path={self.path}"

    def here(self) -> bool:
        """Whether the file is there."""
        return self.path.is_file()

    def require(self) -> None:
        """Make sure that the file is there.

        Raises:
            UserError: it is not, or no file that can be read.
        """
        if self.path.is_dir():
            raise UserError(f"{self.place()}: a folder; dataset=folder takes pictures in folders")
        if not self.path.is_file():
            raise UserError(f"{self.place()}: there is no such file")
        if self.path.suffix.lower() not in ENDINGS:
            raise UserError(f"{self.place()}: its name must end in {', '.join(ENDINGS)}")

    @cached_property
    def _opened(self) -> tuple[dict[str, Split], tuple[str, ...]]:
        self.require()
        state = contents.stamp(self.path)
        return _opened(self.path, state, self.layout, self._value_range, self.split_seed)


@lru_cache(maxsize=2)  # the jobs of a sweep share them
def _opened(
    path: Path, stamp: object, layout: str, value_range: tuple[float, ...] | None, seed: int
) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Splits and classes of a file."""
    where = f"dataset.path={path}"
    try:
        stacks = _stacks(_arrays(path), layout, where)
    except UserError:
        raise
    # readers raise almost anything on a damaged file
    except Exception as error:
        raise UserError(f"{where}: cannot be read: {one_line(error)}") from None
    return stack.splits_of(stacks, value_range, seed, where)


def _arrays(path: Path) -> Mapping[str, npt.NDArray[Any]]:
    """Arrays of a file by their names; without names it is ``images``."""
    kind = path.suffix.lower()
    if kind == ".npy":
        # copy on write: torch wants memory it may write to, and the file must stay as it is
        return {"images": np.lib.format.open_memmap(path, mode="c")}
    if kind == ".npz":
        if not zipfile.is_zipfile(path):
            raise ValueError("it is not an .npz file")
        with np.load(path) as arrays:
            return dict(arrays)
    import tifffile  # which other files do without

    return {"images": tifffile.imread(path)}


def _stacks(arrays: Mapping[str, npt.NDArray[Any]], layout: str, where: str) -> dict[str, Stack]:
    """Images and labels of each split."""
    names = {f"{split}_": split for split in SPLITS if f"{split}_images" in arrays} or {"": "train"}
    if "train" not in names.values() or f"{next(iter(names))}images" not in arrays:
        wanted = "images, or train_images and test_images"
        raise UserError(f"{where}: its arrays are {', '.join(arrays) or 'none'}; give {wanted}")
    return {
        split: Stack(stack.images_of(arrays[f"{prefix}images"], layout, where), arrays.get(f"{prefix}labels"))
        for prefix, split in names.items()
    }
