"""The base DataModule: images in memory, whole batches by indexing, an order that can be replayed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor

from caelab.data.prefetch import ahead, fits
from caelab.data.scale import BYTES, Range, scaled
from caelab.data.stored import Stored
from caelab.errors import UserError
from caelab.terminal import note
from caelab.texts import one_name

EVALUATION_BATCH = 500


def permutation(n: int, *seed: int) -> Tensor:
    """A permutation of 0..n-1, (n,) int64, that depends on its arguments only.

    It sorts the raw bits of PCG64: NumPy keeps these the same in every version and on every machine, but not
    the methods that draw from them.
    """
    bits = np.random.PCG64(np.random.SeedSequence(seed)).random_raw(n)
    return torch.from_numpy(np.argsort(bits, kind="stable"))


def in_order(rows: Tensor) -> Tensor:
    """Rows, (n,) int64, sorted; by NumPy, which needs no second thread for it."""
    return torch.from_numpy(np.sort(rows.numpy()))


def whole_number(key: str, value: object, minimum: int) -> int:
    """Return `value` if it is an int of at least `minimum`.

    Raises:
        UserError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise UserError(f"dataset.{key}={value}: must be a whole number, {minimum} or more")
    return value


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of a source array: an index beside the array, which is shared and never copied.

    Attributes:
        images: (M, C, H, W) uint8, uint16 or float32, the whole source array.
        labels: (M,) int64, one for each of its rows.
        index: (N,) int64, the rows of this split.
        between: least and largest value that images can have; of uint8 always ``BYTES``.
        clean: (M,) int64, for each row that of the image which a network is to make of it; None: itself.
        stored: reads ``images`` that memory cannot hold; None where they are taken from the map.
    """

    images: Tensor
    labels: Tensor
    index: Tensor
    between: Range = BYTES
    clean: Tensor | None = None
    stored: Stored | None = None

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, positions: Tensor | slice) -> Tensor:
        """Clean images (n, C, H, W) at these positions: uint8 in [0, 255], or float32 in [0, 1]."""
        rows = self.index[positions] if self.clean is None else self.clean[self.index[positions]]
        if self.images.device.type != "cpu":
            return scaled(self.images.index_select(0, rows), self.between)
        if self.stored:
            return scaled(torch.from_numpy(self.stored.take(rows.numpy())), self.between)
        # by NumPy, in one thread: as fast as index_select, many times as fast as images[rows], and without
        # the wait for a second thread where cores are shared
        return scaled(torch.from_numpy(self.images.numpy().take(rows.numpy(), axis=0)), self.between)

    @property
    def given(self) -> Split:
        """What a network is given of each image, before any corruption: of a pair the other one."""
        return self if self.clean is None else replace(self, clean=None)

    def pairs(self, positions: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Images (n, C, H, W) that a network is given, and those that it is to make; read once if equal."""
        given = self.given[positions]
        return given, given if self.clean is None else self[positions]

    def on(self, device: torch.device) -> Split:
        """This split with its images on a GPU, if they fit there with room to spare; else as it is.

        There they are uint8, or float32 in [0, 1].
        """
        size = self.images.numel() * (1 if self.images.dtype == torch.uint8 else 4)
        if device.type != "cuda" or 2 * size > torch.cuda.mem_get_info(device)[0]:
            return self
        return Split(
            _moved(self.images, self.between, device),
            self.labels.to(device),
            self.index.to(device),
            BYTES if self.images.dtype == torch.uint8 else (0, 1),
            None if self.clean is None else self.clean.to(device),
        )

    def some(self, limit: int, seed: int) -> Split:
        """This split, or of a larger one ``limit`` rows that depend on its length and ``seed`` only."""
        if len(self) <= limit:
            return self
        return replace(self, index=self.index[in_order(permutation(len(self), seed)[:limit])])

    @property
    def targets(self) -> Tensor:
        """The labels of this split, (N,) int64."""
        return self.labels[self.index]


@lru_cache(maxsize=2)  # the jobs of a sweep share them
def _moved(images: Tensor, between: Range, device: torch.device) -> Tensor:
    return scaled(images, between).to(device)


@dataclass(frozen=True)
class Place:
    """Where batches go: the device of this process, and which of several processes it is.

    With several processes every batch is shared out among them, each image to one.
    """

    device: torch.device = torch.device("cpu")
    rank: int = 0
    processes: int = 1


class Batches:
    """The in-memory loader: whole batches (n, C, H, W) of a split by indexing; a partial last batch is kept.

    Args:
        split: the images.
        batch_size: images in a batch, over all processes.
        order: called at the start of each pass; returns the positions, (N,) int64. In order without it.
        place: where the batches go.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        order: Callable[[], Tensor] | None = None,
        place: Place | None = None,
    ):
        self.place = place or Place()
        self.split, self.batch_size, self.order = split.on(self.place.device), batch_size, order

    def __len__(self) -> int:
        whole, rest = divmod(len(self.split), self.batch_size)
        return whole + (rest > self.place.rank)

    def images(self, batch: int) -> int:
        """Images of that batch over all processes."""
        return min(self.batch_size, len(self.split) - batch * self.batch_size)

    def given(self, batch: int) -> Tensor | None:
        """What a network is given in place of that batch's images; None: they themselves."""
        return None if self.split.clean is None else self._sent(self.split.given[self.rows(batch)])

    def __iter__(self) -> Iterator[Tensor]:
        positions = self.order() if self.order else torch.arange(len(self.split))
        self._positions = positions.to(self.split.index.device)
        rows = (self.rows(batch) for batch in range(len(self)))
        read = map if self.split.images.device.type != "cpu" or fits(self.split.images.nbytes) else ahead
        for batch in read(self.split.__getitem__, rows):
            yield self._sent(batch)

    def rows(self, batch: int) -> Tensor:
        """Places in the split of this process's images of that batch, (n,) int64, in the present pass."""
        start = batch * self.batch_size
        return self._positions[start : start + self.batch_size][self.place.rank :: self.place.processes]

    def _sent(self, batch: Tensor) -> Tensor:
        """Send a batch to its device: from pinned memory to CUDA, so that its way overlaps with a step."""
        if batch.device == self.place.device or self.place.device.type != "cuda":
            return batch.to(self.place.device)
        return batch.pin_memory().to(self.place.device, non_blocking=True)


class ImageDataModule(LightningDataModule):
    """Train, validation and test images of one dataset; a subclass says only where they come from.

    A subclass sets `name`, `shape` and, where known before reading, `class_names`, which else are the labels
    themselves; it overrides `load`. What its images show (`pictures`) and on what terms (`licence`) goes into
    the card of each exported model.

    Args:
        data_dir: the folder with one folder a dataset below it.
        batch_size: training images in a batch.
        train_size: train on a fixed subset of this size; a smaller one is part of every larger one.
        classes: keep only these classes, in all splits; labels stay as they are.
        order_seed: with the epoch it determines the order of the training images.

    Attributes:
        shape: (C, H, W) of an image, known before any data is read.
        expected: `sha256` of the images that these must be, where they were measured before.
        limits: of "val" and "test": batches, or a share, that stand for the whole split; set before `setup`.
        splits: "train", "val" and "test", after `setup`.
        sha256: identity of the arrays in use, after `setup`.
        bands: which bands of an image its pictures show, from 0: one or three; None shows the first ones.
        paired: whether networks are given other pictures than those that they are measured by.

    Raises:
        UserError: a value that cannot be right.
    """

    name: str
    class_names: tuple[str, ...] = ()
    shape: tuple[int, int, int]
    pictures: str = ""
    licence: str = ""
    bands: Sequence[int] | None = None
    paired: bool = False
    split_seed = 2_718_281  # never the run's seed: all runs share one validation set

    def __init__(
        self,
        data_dir: str,
        batch_size: int = 256,
        train_size: int | None = None,
        classes: Sequence[int] | None = None,
        order_seed: int = 0,
    ):
        super().__init__()
        self.folder = Path(data_dir).expanduser().absolute() / one_name(self.name)
        self.batch_size = whole_number("batch_size", batch_size, 1)
        self.train_size = None if train_size is None else whole_number("train_size", train_size, 1)
        self.classes = classes
        self.order_seed = order_seed
        self.splits: dict[str, Split] = {}
        self.sha256 = ""
        self.expected: str | None = None
        self.limits: Mapping[str, int | float] = {}
        if self.class_names:
            self._check_classes()

    def load(self) -> tuple[dict[str, Split], str]:
        """The official splits, and the sha256 of their arrays.

        Raises:
            UserError: the data cannot be had, and what would help.
        """
        raise NotImplementedError

    def at_hand(self) -> bool:
        """Whether the data can be had without a download of hundreds of megabytes."""
        return True

    def here(self) -> bool:
        """Whether the data are on this machine, so that nothing at all need be downloaded."""
        return True

    def place(self) -> str:
        """Where the data lie, as a message names it."""
        return f"dataset={self.name} in {self.folder}"

    def prepare_data(self) -> None:
        """Bring the arrays into the cache, unless they are there."""
        self.load()

    def setup(self, stage: str | None = None) -> None:
        """Open the arrays and fill `splits`, once.

        Args:
            stage: where it is `test`, a `train_size` above what there is takes all training images.

        Raises:
            UserError: other images than are expected, or a subset or a class that the data do not have.
        """
        if self.splits:
            return
        splits, sha256 = self.load()
        if self.expected not in (None, sha256):
            raise UserError(
                f"{self.place()}: not the images that the run was trained and measured on (checksum "
                f"{sha256[:10]}, in its record {str(self.expected)[:10]}); restore those, or train again; "
                f"caelab evaluate RUN dataset={self.name}, with its keys, scores the run on these images"
            )
        if not self.class_names:  # of a class that names none
            last = max(int(split.targets.max()) for split in splits.values())
            self.class_names = tuple(map(str, range(last + 1)))
        self._check_classes()
        self._check_bands()
        if self.classes is not None:
            splits = {key: self._of_classes(key, split) for key, split in splits.items()}
        splits["train"] = self._subset(splits["train"], stage)
        splits |= {key: self._first(splits[key], limit) for key, limit in self.limits.items()}
        self.splits, self.sha256 = splits, sha256

    def train_dataloader(self) -> Batches:
        """The training images, in an order that is a function of (order_seed, epoch).

        A `batch_size` above their number becomes their number, which it says.

        Raises:
            UserError: the last batch has fewer images than there are processes.
        """
        place, n = self._place(), len(self.splits["train"])
        if self.batch_size > n:
            if not place.rank:
                note(f"dataset.batch_size={self.batch_size}: a step takes all {n:,} training images at once")
            self.batch_size = n
        rest = n % self.batch_size
        if 0 < rest < place.processes or self.batch_size < place.processes:
            raise UserError(
                f"dataset.batch_size={self.batch_size}: a batch of {rest or self.batch_size} images is too "
                f"few for {place.processes} devices; use another batch_size"
            )
        return Batches(self.splits["train"], self.batch_size, self._order, place)

    def val_dataloader(self) -> Batches:
        """The validation images, in order."""
        return Batches(self.splits["val"], max(self.batch_size, EVALUATION_BATCH), place=self._place())

    def test_dataloader(self) -> Batches:
        """The test images, in order."""
        return Batches(self.splits["test"], max(self.batch_size, EVALUATION_BATCH), place=self._place())

    def _place(self) -> Place:
        if not self.trainer:
            return Place()
        strategy = self.trainer.strategy
        return Place(strategy.root_device, self.trainer.global_rank, self.trainer.world_size)

    def _order(self) -> Tensor:
        epoch = self.trainer.current_epoch if self.trainer else 0
        return permutation(len(self.splits["train"]), self.order_seed, epoch)

    def _check_classes(self) -> None:
        if self.classes is None:
            return
        last = len(self.class_names) - 1
        given = list(self.classes) if isinstance(self.classes, Sequence) else []
        known = {c for c in given if type(c) is int and 0 <= c <= last}
        if not known or len(known) < len(given):
            raise UserError(
                f"dataset.classes={self.classes}: give a list of different classes from 0 to {last}, "
                f"such as [0] (0 is {self.class_names[0]})"
            )

    def _check_bands(self) -> None:
        given, channels = self.bands, self.shape[0]
        if given is None:
            return
        bands = list(given) if isinstance(given, Sequence) else []
        if len(bands) not in (1, 3) or not all(type(one) is int and 0 <= one < channels for one in bands):
            raise UserError(
                f"dataset.bands={given}: give one or three of the bands from 0 to {channels - 1} that "
                "pictures show, such as [0]"
            )

    def _of_classes(self, key: str, split: Split) -> Split:
        index = split.index[torch.isin(split.targets, torch.tensor(list(self.classes or ())))]
        if not len(index):
            raise UserError(f"dataset.classes={self.classes}: no {key} images of these classes")
        return replace(split, index=index)

    def _first(self, split: Split, limit: int | float) -> Split:
        batch = max(self.batch_size, EVALUATION_BATCH)
        images = limit * batch if isinstance(limit, int) else math.ceil(limit * len(split))
        return replace(split, index=split.index[:images])

    def _subset(self, split: Split, stage: str | None) -> Split:
        if self.train_size is None or self.train_size == len(split):
            return split
        if self.train_size > len(split) and stage == "test":
            return split
        if self.train_size > len(split):
            raise UserError(
                f"dataset.train_size={self.train_size}: only {len(split):,} training images; "
                f"use at most {len(split)}"
            )
        # a prefix of one fixed permutation: a small subset lies within each larger one
        chosen = permutation(len(split), self.split_seed, 1)[: self.train_size]
        return replace(split, index=split.index[in_order(chosen)])
