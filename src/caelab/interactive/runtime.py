"""ONNX Runtime Web, which runs a network inside a page: fetched once, and kept with the data."""

from functools import partial
from pathlib import Path

import numpy as np

from caelab.data.cache import Arrays, open_or_build
from caelab.data.download import download, npm_pack
from caelab.data.sources import Source, members, obtain, reading

PACKAGE = "onnxruntime-web"
VERSION = "1.30.0"
TARBALL = f"{PACKAGE}-{VERSION}.tgz"

_URL = f"https://registry.npmjs.org/{PACKAGE}/-/{TARBALL}"
_MD5 = "7677e2cac4b2d0a14154aef901cdab13"
_FILES = {
    "script": "package/dist/ort.wasm.bundle.min.mjs",
    "wasm": "package/dist/ort-wasm-simd-threaded.wasm",
}
_CHECKSUMS = {
    "script": "d07dba9784a8ed39e89fe8a59a0b2a28ee2ba5fece67c4edb5221a9b6f5a5d11",
    "wasm": "a6ffaefaeefd4a19eda6d3949a0de4069e46e20dcc0a9fb8d6dea38364990633",
}


def runtime(data: Path) -> dict[str, bytes]:
    """Return ``script``, a JavaScript module, and ``wasm``, what it runs (MIT, by Microsoft).

    Args:
        data: the folder of all data, below which it is kept.

    Raises:
        UserError: it is not there and cannot be fetched, or the folder cannot be written.
    """
    folder = data / f"{PACKAGE}-{VERSION}"
    opened = open_or_build(folder, PACKAGE, lambda: _obtain(folder), _CHECKSUMS)
    return {name: array.numpy().tobytes() for name, array in opened.arrays.items()}


def _obtain(folder: Path) -> Arrays:
    sources = (
        Source("its package at the npm registry", _find, _read, _download),
        Source("the same by the npm client", _find, _read, partial(npm_pack, f"{PACKAGE}@{VERSION}")),
    )
    return obtain(PACKAGE, folder, sources, _CHECKSUMS, f"Put {TARBALL} ({_URL}) into {folder}")


def _download(folder: Path) -> None:
    download([_URL], folder / TARBALL, _MD5)


def _find(folder: Path) -> dict[str, Path]:
    path = folder / TARBALL
    return dict.fromkeys(_FILES, path) if path.is_file() else {}


def _read(files: dict[str, Path]) -> Arrays:
    path = files["script"]
    with reading(path):
        contents = members(path)
        return {name: np.frombuffer(contents[file], np.uint8) for name, file in _FILES.items()}
