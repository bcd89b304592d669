"""What the datasets of other libraries share: read once, one sample after another, into the array cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from caelab.data.cache import CACHE, Arrays, Opened, open_or_build
from caelab.data.contents import Origin
from caelab.data.datamodule import ImageDataModule, Split
from caelab.data.samples import channels_of, size_of
from caelab.data.stack import SPLITS, Stack, numbered, splits_of


class Collected(ImageDataModule):
    """Images of another library's dataset; a subclass gives its splits as they come.

    Args:
        data_dir: as in the base class, like `batch_size`, `train_size`, `classes` and `order_seed`.
        batch_size: see there.
        train_size: see there.
        classes: see there.
        order_seed: see there.
        image_size: height and width after scaling and cutting, one number or two; None: as they are.
        channels: 1 for grey, 3 for colour; None: those of the first image.

    Attributes:
        class_names: known after `setup`; `shape` is read when it is first asked for.
    """

    licence = "Whoever gives the model away must know the terms of the dataset."

    def __init__(
        self,
        data_dir: str,
        batch_size: int = 256,
        train_size: int | None = None,
        classes: Sequence[int] | None = None,
        order_seed: int = 0,
        image_size: int | Sequence[int] | None = None,
        channels: int | None = None,
    ):
        super().__init__(data_dir, batch_size, train_size, classes, order_seed)
        self.size, self.channels = size_of(image_size), channels_of(channels)

    def source(self) -> str:
        """What identifies the images before they are scaled."""
        raise NotImplementedError

    def stacks(self) -> tuple[Mapping[str, Stack], Sequence[str]]:
        """Images and labels of each split there is, "train" among them, and the names of classes 0, 1, ...

        Without names classes are called by their labels.

        Raises:
            UserError: they cannot be had, and what would help.
        """
        raise NotImplementedError

    def load(self) -> tuple[dict[str, Split], str]:
        """The splits, from the cache of such images."""
        arrays = self._opened.arrays
        stacks = {}
        for name in SPLITS:
            if f"{name}_images" in arrays:
                labels = arrays.get(f"{name}_labels")
                images = arrays[f"{name}_images"].numpy()
                stacks[name] = Stack(images, None if labels is None else labels.numpy())
        names = json.loads(arrays["classes"].numpy().tobytes())
        splits, self.class_names = splits_of(stacks, None, self.split_seed, self.place(), names)
        return splits, self._opened.sha256

    @cached_property
    def shape(self) -> tuple[int, int, int]:  # type: ignore[override]
        """(C, H, W) of an image; they are read for it."""
        channels, height, width = self._opened.arrays["train_images"].shape[1:]
        return channels, height, width

    def origin(self) -> Origin | None:
        """The folder of a user that the images are read from; None where there is none."""
        return None

    def here(self) -> bool:
        """Whether they have been read before."""
        return (self._cache / CACHE).is_dir()

    at_hand = here

    @property
    def _cache(self) -> Path:
        key = hashlib.sha256(f"{self.source()} {self.size} {self.channels}".encode()).hexdigest()[:16]
        return self.folder / "read" / key

    @cached_property
    def _opened(self) -> Opened:
        return open_or_build(self._cache, self.name, self._build, origin=self.origin())

    def _build(self) -> Arrays:
        stacks, names = numbered(*self.stacks())
        arrays: Arrays = {"classes": np.frombuffer(json.dumps(list(names)).encode(), np.uint8)}
        for name, stack in stacks.items():
            arrays[f"{name}_images"] = stack.images
            if stack.labels is not None:
                arrays[f"{name}_labels"] = stack.labels
        return arrays
