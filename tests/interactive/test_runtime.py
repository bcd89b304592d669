"""ONNX Runtime Web: taken from its files or its package, kept, and named where it cannot be had."""

import io
import tarfile

import numpy as np
import pytest

from caelab.data.cache import checksum
from caelab.data.download import UnavailableError
from caelab.errors import UserError
from caelab.interactive import runtime as module
from caelab.interactive.runtime import runtime

FILES = {"script": b"export const env = {};", "wasm": b"\0asm"}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """A small package in the place of the true one, and no network."""

    def unreachable(*_):
        raise UnavailableError("no network")

    sums = {name: checksum(np.frombuffer(content, np.uint8)) for name, content in FILES.items()}
    monkeypatch.setattr(module, "_CHECKSUMS", sums)
    monkeypatch.setattr(module, "download", unreachable)
    monkeypatch.setattr(module, "npm_pack", unreachable)


def package(path, files):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/dist/{module._FILES[name]}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def test_it_is_read_from_the_package_and_kept(tmp_path):
    folder = tmp_path / "onnxruntime-web-1.30.0"
    folder.mkdir()
    package(folder / module.TARBALL, FILES)
    assert runtime(tmp_path) == FILES
    (folder / module.TARBALL).unlink()
    assert runtime(tmp_path) == FILES


def test_its_two_files_will_do(tmp_path, monkeypatch):
    fetched = []

    def download(urls, target, _md5):
        fetched.extend(urls)
        target.write_bytes(FILES["wasm"])

    monkeypatch.setattr(module, "download", download)
    folder = tmp_path / "onnxruntime-web-1.30.0"
    folder.mkdir()
    (folder / "ort.wasm.bundle.min.mjs").write_bytes(FILES["script"])
    assert runtime(tmp_path) == FILES
    assert [url.rpartition("/")[2] for url in fetched] == ["ort-wasm-simd-threaded.wasm"]


def test_without_network_one_line_says_which_file_goes_where(tmp_path):
    with pytest.raises(UserError) as error:
        runtime(tmp_path)
    line = str(error.value)
    files = "ort.wasm.bundle.min.mjs and ort-wasm-simd-threaded.wasm"
    assert line.startswith(f"onnxruntime-web: none of its sources works. Put {files} (https://")
    assert line.endswith(f" into {tmp_path / 'onnxruntime-web-1.30.0'}")


def test_a_package_with_other_contents_is_not_used(tmp_path, capsys):
    folder = tmp_path / "onnxruntime-web-1.30.0"
    folder.mkdir()
    package(folder / module.TARBALL, FILES | {"wasm": b"\0other"})
    with pytest.raises(UserError, match="none of its sources works"):
        runtime(tmp_path)
    assert "is damaged (its content is not the expected data)" in capsys.readouterr().err
    assert (folder / f"{module.TARBALL}.damaged").is_file()
