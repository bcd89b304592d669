"""MedMNIST, from tiny files of its own format."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from caelab.data.medmnist import NAMES, MedMNIST
from caelab.errors import UserError

PIXELS = np.random.default_rng(2).integers(0, 256, (30, 64, 64, 3), np.uint8)


def leave(tmp_path, name, images, labels):
    folder = tmp_path / "medmnist"
    folder.mkdir(exist_ok=True)
    parts = {"train": slice(0, 16), "val": slice(16, 20), "test": slice(20, 30)}
    arrays = {f"{split}_images": images[part] for split, part in parts.items()}
    np.savez(folder / name, **arrays, **{f"{split}_labels": labels[part] for split, part in parts.items()})


def ready(tmp_path, name, **options) -> MedMNIST:
    module = MedMNIST(str(tmp_path), name, **options)
    module.prepare_data()
    module.setup()
    return module


def test_its_splits_are_the_official_ones(tmp_path):
    leave(tmp_path, "pathmnist_64.npz", PIXELS, np.arange(30)[:, None] % 9)
    module = ready(tmp_path, "PathMNIST", image_size=64)
    assert module.shape == (3, 64, 64)
    assert module.class_names == tuple("012345678")
    assert np.array_equal(module.splits["val"][:].numpy(), PIXELS[16:20].transpose(0, 3, 1, 2))
    assert module.splits["test"].targets.tolist() == [n % 9 for n in range(20, 30)]


def test_many_labels_an_image_are_one_class(tmp_path):
    leave(tmp_path, "chestmnist.npz", PIXELS[:, :28, :28, 0], np.zeros((30, 14), np.uint8))
    module = ready(tmp_path, "ChestMNIST")
    assert module.shape == (1, 28, 28)
    assert module.class_names == ("images",)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("PathMNST", {}, r"dataset\.name=PathMNST: MedMNIST has no such dataset.*PathMNIST"),
        ("OrganMNIST3D", {}, "no such dataset"),
        ("PathMNIST", {"image_size": 32}, r"dataset\.image_size=32: MedMNIST has 28, 64, 128, 224"),
    ],
)
def test_what_it_does_not_have_is_refused(tmp_path, name, options, message):
    with pytest.raises(UserError, match=message):
        MedMNIST(str(tmp_path), name, **options)


def test_a_missing_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("caelab.data.medmnist.find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"PathMNIST in .*/medmnist/pathmnist_128\.npz: there is no such file"
    ):
        ready(tmp_path, "PathMNIST", image_size=128)


@pytest.fixture
def package(monkeypatch):
    """A stand-in for the package, without its datasets."""
    package = type(sys)("medmnist")
    monkeypatch.setattr("caelab.data.medmnist.find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "medmnist", package)
    return package


def test_a_download_that_fails_is_one_line_and_leaves_no_file(tmp_path, package):
    def half(split, download, root, size):
        (Path(root) / "pathmnist.npz").write_bytes(b"half")
        raise RuntimeError("\n  Automatic download failed! Please download\n  it")

    package.PathMNIST = half
    with pytest.raises(UserError, match=r"cannot be fetched \(.*Automatic download failed") as refused:
        ready(tmp_path, "PathMNIST")
    assert "\n" not in str(refused.value)
    assert [path.name for path in (tmp_path / "medmnist").iterdir() if path.name != ".lock"] == []


def test_a_file_has_its_name_when_it_is_whole(tmp_path, package):
    def fetched(split, download, root, size):
        assert (split, download, size) == ("train", True, 28)
        leave(tmp_path, "pathmnist.npz", PIXELS[:, :28, :28], np.arange(30)[:, None] % 9)
        (tmp_path / "medmnist" / "pathmnist.npz").rename(Path(root) / "pathmnist.npz")

    package.PathMNIST = fetched
    assert len(ready(tmp_path, "PathMNIST").splits["test"]) == 10
    left = {path.name for path in (tmp_path / "medmnist").iterdir()}
    assert left - {".lock"} == {"pathmnist.npz"}


def test_its_names_are_the_packages_own():
    info = pytest.importorskip("medmnist").INFO
    flat = {one["python_class"] for one in info.values() if "3D" not in one["python_class"]}
    assert {*NAMES} == flat
