"""Datasets of torchvision, from tiny files in their own formats."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from caelab.data import unused
from caelab.data.torchvision import Torchvision
from caelab.errors import UserError

PIXELS = np.random.default_rng(1).integers(0, 256, (30, 28, 28), np.uint8)


def leave_idx(folder, name, array):
    """Write an IDX file of bytes, as Yann LeCun defined it."""
    folder.mkdir(parents=True, exist_ok=True)
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    (folder / name).write_bytes(head + array.astype(np.uint8).tobytes())


def fashion(tmp_path):
    raw = tmp_path / "torchvision" / "FashionMNIST" / "FashionMNIST" / "raw"
    for name, part in {"train": slice(0, 20), "t10k": slice(20, 30)}.items():
        leave_idx(raw, f"{name}-images-idx3-ubyte", PIXELS[part])
        leave_idx(raw, f"{name}-labels-idx1-ubyte", np.arange(30)[part] % 10)


def ready(tmp_path, name, **options) -> Torchvision:
    module = Torchvision(str(tmp_path), name, **options)
    module.prepare_data()
    module.setup()
    return module


def test_fashion_mnist_has_its_own_test_split_and_classes(tmp_path):
    fashion(tmp_path)
    module = ready(tmp_path, "FashionMNIST")
    assert module.shape == (1, 28, 28)
    assert module.class_names[:2] == ("T-shirt/top", "Trouser")
    assert {key: len(split) for key, split in module.splits.items()} == {"train": 18, "val": 2, "test": 10}
    assert np.array_equal(module.splits["test"][:][:, 0].numpy(), PIXELS[20:])
    assert module.splits["test"].targets.tolist() == list(range(10))
    rows = module.splits["train"].index.numpy()
    assert np.array_equal(module.splits["train"][:][:, 0].numpy(), PIXELS[rows])


def test_what_is_read_is_cached(tmp_path, monkeypatch):
    fashion(tmp_path)
    first = ready(tmp_path, "FashionMNIST")
    assert first.here()
    assert unused.unused(tmp_path) == {}  # what a clean-up would take
    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", None)
    monkeypatch.setattr(Torchvision, "_known", lambda self: (None, {}))
    again = ready(tmp_path, "FashionMNIST")
    assert again.sha256 == first.sha256
    assert not Torchvision(str(tmp_path), "FashionMNIST", image_size=14).here()


def test_pictures_are_scaled_and_made_grey(tmp_path):
    fashion(tmp_path)
    module = ready(tmp_path, "FashionMNIST", image_size=[12, 20], channels=3)
    assert module.shape == (3, 12, 20)
    image = Image.fromarray(PIXELS[20]).convert("RGB").crop((0, 6, 28, 22))
    assert module.splits["test"][:1].float().mean() == pytest.approx(np.asarray(image).mean(), rel=0.1)


def test_a_dataset_without_splits_is_split(tmp_path):
    options = {"size": 30, "image_size": [3, 9, 11], "num_classes": 4}
    module = ready(tmp_path, "FakeData", options=options)
    assert module.shape == (3, 9, 11)
    assert {key: len(split) for key, split in module.splits.items()} == {"train": 24, "val": 3, "test": 3}
    assert set(module.class_names) <= {"0", "1", "2", "3"}


def test_a_validation_split_by_another_name_is_found(tmp_path, monkeypatch):
    class Country211:
        classes = ("here", "there")

        def __init__(self, root, split="train", transform=None, download=False):
            if split not in ("train", "valid", "test"):
                raise ValueError(f"Unknown value {split!r} for argument split")
            if not download:
                raise RuntimeError("Dataset not found")
            self.grey = {"train": 10, "valid": 20, "test": 30}[split]

        def __len__(self):
            return 5

        def __getitem__(self, row):
            return Image.new("RGB", (8, 6), (self.grey + row,) * 3), row % 2

    monkeypatch.setattr(torchvision.datasets, "Country211", Country211)
    module = ready(tmp_path, "Country211")
    assert {key: split[:][:, 0, 0, 0].tolist() for key, split in module.splits.items()} == {
        "train": [10, 11, 12, 13, 14],
        "val": [20, 21, 22, 23, 24],
        "test": [30, 31, 32, 33, 34],
    }
    assert module.class_names == ("here", "there")
    assert module.splits["val"].targets.tolist() == [0, 1, 0, 1, 0]


def test_pictures_of_several_sizes_need_one(tmp_path, monkeypatch):
    class EuroSAT:
        def __init__(self, root, transform=None):
            pass

        def __len__(self):
            return 10

        def __getitem__(self, row):
            return Image.new("RGB", (20 + row, 16)), row

    monkeypatch.setattr(torchvision.datasets, "EuroSAT", EuroSAT)
    with pytest.raises(UserError, match=r"sample 0 is 3x16x20 uint8, sample 1 is 3x16x21 .*dataset\.image_s"):
        ready(tmp_path, "EuroSAT")
    assert ready(tmp_path, "EuroSAT", image_size=16).shape == (3, 16, 16)


def of(monkeypatch, images):
    """Let EuroSAT hold these."""
    kind = type("EuroSAT", (), {"__init__": lambda self, root: None, "__len__": lambda self: len(images)})
    kind.__getitem__ = lambda self, row: (images[row], row)
    monkeypatch.setattr(torchvision.datasets, "EuroSAT", kind)


DEEP = np.arange(64, dtype=np.uint16).reshape(8, 8)


@pytest.mark.parametrize(
    "image", [Image.fromarray(DEEP), DEEP.astype(np.uint8), DEEP.astype(np.uint8)[..., None]]
)
def test_grey_of_any_kind_becomes_as_many_channels_as_are_asked_for(tmp_path, monkeypatch, image):
    of(monkeypatch, [image] * 5)
    module = ready(tmp_path, "EuroSAT", channels=3)
    white = 1 if isinstance(image, np.ndarray) else np.float32(65_535)
    assert module.shape == (3, 8, 8)
    assert np.array_equal(module.splits["train"].images[0].numpy(), [DEEP / white] * 3)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (
            [Image.new("L", (8, 8)), Image.fromarray(DEEP)],
            {},
            "1x8x8 uint8, sample 1 is 1x8x8 float32; give images of one kind$",
        ),
        ([DEEP] * 5, {"channels": 3}, "sample 0: dataset.image_size and channels take pictures and 8-bit"),
        (
            [Image.new("L", (8, 8)), Image.new("F", (8, 8), 99)],
            {},
            "sample 1 cannot be read: its values go from 99 to 99",
        ),
    ],
)
def test_a_sample_that_does_not_fit_is_named(tmp_path, monkeypatch, images, options, message):
    of(monkeypatch, images)
    with pytest.raises(UserError, match=message):
        ready(tmp_path, "EuroSAT", **options)


def test_a_damaged_picture_that_is_opened_late_is_named(tmp_path, monkeypatch):
    Image.fromarray(PIXELS[0]).save(tmp_path / "x.png")
    (tmp_path / "x.png").write_bytes((tmp_path / "x.png").read_bytes()[:400])
    with Image.open(tmp_path / "x.png") as image:
        of(monkeypatch, [Image.fromarray(PIXELS[0]), image])
        with pytest.raises(UserError, match="dataset.name=EuroSAT: sample 1 cannot be read: .*truncated"):
            ready(tmp_path, "EuroSAT")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("FashonMNIST", {}, r"dataset\.name=FashonMNIST: torchvision has no such dataset.*FashionMNIST"),
        ("EMNIST", {}, r"dataset\.name=EMNIST needs 'dataset\.options={split: VALUE}'"),
        ("EMNIST", {"options": {"splt": "letters"}}, r"EMNIST has no splt.*split"),
        (
            "CIFAR100",
            {"image_size": [1, 2, 3]},
            r"image_size=\[1, 2, 3\]: give a number, or \[HEIGHT, WIDTH\]",
        ),
        ("CIFAR100", {"channels": 2}, r"channels=2: must be 1 \(grey\), 3 \(colour\) or null"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(tmp_path, name, options, message):
    with pytest.raises(UserError, match=message):
        Torchvision(str(tmp_path), name, **options)
    assert not list(tmp_path.iterdir())


def test_without_files_and_network_a_line_says_what_is_missing(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", refuse)
    monkeypatch.setattr("torchvision.datasets.mnist.URLError", OSError)
    with pytest.raises(UserError, match=r"not in .*torchvision/KMNIST and cannot be fetched \(") as refused:
        ready(tmp_path, "KMNIST")
    assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match=r"torchvision does not download it"):
        ready(tmp_path, "FER2013")


def test_pictures_come_as_bytes(tmp_path):
    fashion(tmp_path)
    assert ready(tmp_path, "FashionMNIST").splits["train"].images.dtype == torch.uint8
