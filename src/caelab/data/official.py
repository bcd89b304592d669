"""Datasets with an official training set, from which validation is held out, and an official test set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from caelab.data.cache import CACHE, Arrays, open_or_build
from caelab.data.datamodule import ImageDataModule, Split, in_order, permutation
from caelab.data.sources import Source, obtain


class OfficialDataModule(ImageDataModule):
    """MNIST and CIFAR-10: `holdout` training images, the same in every run, are validation.

    A subclass gives the sources of the arrays train_images, train_labels, test_images and test_labels, with
    the checksum of each.
    """

    sources: ClassVar[tuple[Source, ...]]
    checksums: ClassVar[Mapping[str, str]]
    remedy: ClassVar[str]
    holdout = 10_000

    def load(self) -> tuple[dict[str, Split], str]:
        """The training set without the held-out rows, these, and the test set, each in its official order."""
        opened = open_or_build(self.folder, self.name, self._obtain, self.checksums)
        train: tuple[Tensor, Tensor] = (opened.arrays["train_images"], opened.arrays["train_labels"])
        test: tuple[Tensor, Tensor] = (opened.arrays["test_images"], opened.arrays["test_labels"])
        rows = permutation(len(train[0]), self.split_seed)
        splits = {
            "train": Split(*train, in_order(rows[self.holdout :])),
            "val": Split(*train, in_order(rows[: self.holdout])),
            "test": Split(*test, torch.arange(len(test[0]))),
        }
        return splits, opened.sha256

    def here(self) -> bool:
        """Whether the cache, or a source with every file, lies in the dataset's folder."""
        files = (source.find(self.folder).keys() for source in self.sources)
        return (self.folder / CACHE).is_dir() or any(found >= self.checksums.keys() for found in files)

    def _obtain(self) -> Arrays:
        own = self.remedy.format(folder=self.folder)
        remedy = f"{own}; or use dataset=shapes, which needs no download"
        return obtain(self.name, self.folder, self.sources, self.checksums, remedy)
