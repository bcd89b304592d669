"""Images that a Python program gives a run: arrays, or any dataset of PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from caelab.data.cache import checksum, identity
from caelab.data.datamodule import ImageDataModule, Split
from caelab.data.samples import collected
from caelab.data.stack import SPLITS, Stack, images_of, splits_of
from caelab.errors import UserError
from caelab.terminal import nearest

OPTION = "in_memory"
"""The option of the group dataset that this class is."""

Images = np.ndarray[Any, Any] | Tensor | Dataset[Any]
"""Arrays (N, H, W) or (N, H, W, C), tensors (N, H, W) or (N, C, H, W), or a dataset of PyTorch."""

Given = Images | Sequence[Images] | Mapping[str, Images | Sequence[Images]]
"""What ``hold`` takes."""

_KINDS = (np.ndarray, Tensor, Dataset)

_LATEST = 2  # of what was given, which are kept in memory
_WHERE = "dataset"
_held: dict[str, tuple[dict[str, Stack], Sequence[str]]] = {}


class InMemory(ImageDataModule):
    """Images that this process was given: see ``hold``.

    Args:
        data_dir: as in the base class, like `batch_size`, `train_size`, `classes` and `order_seed`.
        sha256: identity of the images, which ``hold`` tells.
        shape: (C, H, W) of one, likewise.
        batch_size: see there.
        train_size: see there.
        classes: see there.
        order_seed: see there.
        value_range: least and largest value, as of ``caelab.data.array.Array``.
        bands: see there.
    """

    name = OPTION
    pictures = "images that a Python program gave"
    licence = "A user's own images: whoever gives the model away must know on what terms they may be used."

    def __init__(
        self,
        data_dir: str,
        sha256: str,
        shape: Sequence[int],
        batch_size: int = 256,
        train_size: int | None = None,
        classes: Sequence[int] | None = None,
        order_seed: int = 0,
        value_range: Sequence[float] | None = None,
        bands: Sequence[int] | None = None,
    ):
        super().__init__(data_dir, batch_size, train_size, classes, order_seed)
        self.given, self.value_range, self.bands = sha256, value_range, bands
        channels, height, width = shape
        self.shape = (channels, height, width)

    def prepare_data(self) -> None:
        """Make sure that the images are here; ``setup`` reads them, once."""
        self._stacks()

    def load(self) -> tuple[dict[str, Split], str]:
        """The splits of what this process was given."""
        stacks, names = self._stacks()
        if _identity(stacks) != self.given:
            raise UserError(
                "dataset: these images have changed since caelab.run got them; give a copy, or the new images"
            )
        splits, self.class_names = splits_of(stacks, self.value_range, self.split_seed, _WHERE, names)
        return splits, self.given

    def _stacks(self) -> tuple[dict[str, Stack], Sequence[str]]:
        if not self.here():
            raise UserError(
                "dataset: these images existed only in another process; give them to caelab.run again"
            )
        return _held[self.given]

    def place(self) -> str:
        """That they were given by a program."""
        return "dataset: images from Python"

    def here(self) -> bool:
        """Whether this process was given them."""
        return self.given in _held


def holds(value: Any) -> bool:
    """Whether a value from Python is images, or splits of them, and no option or class."""
    if isinstance(value, Mapping):
        return bool(value) and all(holds(one) for one in value.values())
    if isinstance(value, tuple | list):
        return bool(value) and all(isinstance(one, _KINDS) for one in value)
    return isinstance(value, _KINDS)


def hold(value: Any) -> dict[str, Any]:
    """Keep images for a run of this process, and return the keys that describe them.

    Args:
        value: ``Images``, of which a tenth each becomes validation and test; a pair of images and labels,
            (N,); a pair (train, test) or three (train, val, test) of images; or split -> images, or a pair of
            images and labels. Datasets give an image or (image, label): a Pillow image, an array or a tensor.

    Raises:
        UserError: no such splits, or images that a run cannot take.
    """
    stacks: dict[str, Stack] = {}
    names: Any = ()
    for split, one in _splits(value).items():
        stacks[split] = _stack(one, split)
        names = names or getattr(one, "classes", ())
    known = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    sha256 = _identity(stacks)
    _held.pop(sha256, None)
    _held[sha256] = stacks, names if known else ()
    while len(_held) > _LATEST:
        del _held[next(iter(_held))]
    return {"sha256": sha256, "shape": list(stacks["train"].images.shape[1:])}


def _identity(stacks: Mapping[str, Stack]) -> str:
    sums = {f"{split}_images": checksum(stack.images) for split, stack in stacks.items()}
    return identity(sums | {f"{split}_labels": _digest(stack.labels) for split, stack in stacks.items()})


def _digest(labels: Any) -> str:
    return "" if labels is None else checksum(labels)


def _splits(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        if "train" not in value or not value.keys() <= {*SPLITS}:
            if odd := [str(name) for name in value if name not in SPLITS]:
                raise UserError(f"dataset: split {odd[0]!r} is unknown{nearest(odd[0], [*SPLITS])}")
            raise UserError(f"dataset: only {', '.join(value)}; give train, and optionally val and test")
        return value
    if not isinstance(value, tuple | list) or _labelled(value):
        return {"train": value}
    if len(value) not in (2, 3):
        raise UserError(f"dataset: {len(value)} sets of images; give (train, test) or (train, val, test)")
    return dict(zip(SPLITS if len(value) == 3 else ("train", "test"), value, strict=True))


def _labelled(value: Any) -> bool:
    """Whether it is a pair of images and labels."""
    return isinstance(value, tuple | list) and len(value) == 2 and getattr(value[1], "ndim", 0) == 1


def _stack(value: Any, split: str) -> Stack:
    if _labelled(value):
        return _stack(value[0], split)._replace(labels=_array(value[1]))
    if isinstance(value, Dataset):
        if not hasattr(value, "__len__"):
            raise UserError(
                f"{_WHERE}: {split} is {type(value).__name__}, which has no length; give a dataset with one"
            )
        samples = (value[row] for row in range(len(value)))
        return collected(samples, len(value), f"{_WHERE}: {split}", mend="make them one size")
    layout = "NCHW" if isinstance(value, Tensor) else "NHWC"
    return Stack(images_of(_array(value), layout, f"{_WHERE}: {split}"))


def _array(values: Any) -> np.ndarray[Any, Any]:
    """An array, or a tensor of any device, as an array."""
    return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
