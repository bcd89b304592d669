"""A user's own arrays: files, layouts, types, ranges, and what is wrong with them."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch

from caelab.config import places
from caelab.data import array as files
from caelab.data.array import Array
from caelab.errors import UserError

N = 30
DEEP = np.random.default_rng(0).integers(0, 4096, (N, 6, 7, 5), np.uint16)  # (N, H, W, C)
GREY = np.arange(N * 16, dtype=np.float32).reshape(N, 4, 4) / (N * 16)


def written(folder, name, *arrays, **named):
    path = folder / name
    if path.suffix == ".npz":
        np.savez(path, *arrays, **named)
    elif path.suffix == ".npy":
        np.save(path, arrays[0])
    else:
        tifffile.imwrite(path, arrays[0])
    return path


def ready(path, **options) -> Array:
    module = Array(str(path.parent / "data"), str(path), **options)
    module.prepare_data()
    module.setup()
    return module


def rows(module):
    """Where each image of each split stands in the file, from the values of its array."""
    return {name: split.index.tolist() for name, split in module.splits.items()}


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.tif"])
def test_images_of_five_bands_are_the_same_from_every_format(tmp_path, name):
    path = written(tmp_path, name, *[DEEP] * (name != "x.npz"), **{"images": DEEP} if name == "x.npz" else {})
    module = ready(path)
    assert module.shape == (5, 6, 7)
    assert module.class_names == ("images",)
    assert {key: len(split) for key, split in module.splits.items()} == {"train": 24, "val": 3, "test": 3}
    assert sorted(sum(rows(module).values(), [])) == list(range(N))
    split = module.splits["train"]
    assert split.between == (0, 65_535)
    expected = (DEEP[split.index.numpy()] / 65_535).transpose(0, 3, 1, 2)
    assert np.allclose(split[:].numpy(), expected, atol=1e-7)
    assert split.images.dtype == torch.uint16


def test_the_split_is_the_same_for_as_many_images(tmp_path):
    first = rows(ready(written(tmp_path, "a.npy", GREY)))
    assert rows(ready(written(tmp_path, "b.npy", GREY[::-1]), order_seed=3)) == first


@pytest.mark.parametrize("array", [GREY, np.ascontiguousarray(DEEP.transpose(0, 3, 1, 2))])
def test_an_npy_in_the_order_of_networks_stays_on_the_disk(tmp_path, monkeypatch, array):
    path = written(tmp_path, "x.npy", array)
    before, read, kept = path.read_bytes(), files._arrays, []
    monkeypatch.setattr(files, "_arrays", lambda path: kept.append(read(path)) or kept[0])
    split = ready(path, layout="NCHW").splits["train"]
    assert split.images.shape == (array[:, None] if array.ndim == 3 else array).shape
    (mapped,) = kept
    assert isinstance(mapped["images"], np.memmap)
    assert np.shares_memory(mapped["images"], split.images.numpy())
    split.images.numpy()[:] = 0
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("kind", "stored"), [("f2", "float32"), ("f8", "float32"), (">u2", "uint16"), ("u1", "uint8")]
)
def test_types_are_kept_or_become_float32(tmp_path, kind, stored):
    module = ready(written(tmp_path, "x.npy", (GREY * (1 if "f" in kind else 200)).astype(kind)))
    assert str(module.splits["val"].images.dtype) == f"torch.{stored}"


def test_bytes_are_plain_bytes(tmp_path):
    split = ready(written(tmp_path, "x.npy", (255 * GREY).astype(np.uint8))).splits["test"]
    assert split[:].dtype == torch.uint8
    assert split.between == (0, 255)


def test_a_range_is_what_networks_see_as_0_and_1(tmp_path):
    module = ready(written(tmp_path, "x.npy", 100 * GREY - 50), value_range=[-50, 50])
    split = module.splits["train"]
    assert torch.allclose(split[:], torch.from_numpy(GREY[split.index.numpy()])[:, None], atol=1e-6)
    assert ready(written(tmp_path, "y.npy", DEEP), value_range=[0, 4095]).splits["val"].between == (0, 4095)


def test_a_range_ends_at_the_nearest_float(tmp_path):
    np.save(tmp_path / "x.npy", np.linspace(0, 0.1, 48, dtype=np.float32).reshape(3, 4, 4))
    assert ready(tmp_path / "x.npy", value_range=[0, 0.1]).splits["train"].between == (0, 0.1)
    with pytest.raises(UserError, match=r"outside \[0, 0\.0999"):
        ready(tmp_path / "x.npy", value_range=[0, 0.09999])


def test_an_archive_may_have_splits_and_labels(tmp_path):
    words = np.array(["owl", "cat"])
    path = written(
        tmp_path,
        "x.npz",
        train_images=GREY[:20],
        train_labels=words[np.arange(20) % 2],
        test_images=GREY[20:],
        test_labels=words[np.ones(10, int)][:, None],  # as MedMNIST has them
    )
    module = ready(path)
    assert module.class_names == ("cat", "owl")
    assert {key: len(split) for key, split in module.splits.items()} == {"train": 18, "val": 2, "test": 10}
    assert module.splits["test"].targets.tolist() == [0] * 10
    assert torch.equal(module.splits["train"].targets, 1 - module.splits["train"].index % 2)
    with pytest.raises(UserError, match=r"from 0 to 1, such as \[0\] \(0 is cat\)"):
        ready(path, classes=[2])


def test_labels_of_whole_numbers_are_classes(tmp_path):
    module = ready(written(tmp_path, "x.npz", images=GREY, labels=np.arange(N) % 3 + 5))
    assert module.class_names == ("5", "6", "7")
    assert torch.equal(module.splits["train"].targets, module.splits["train"].index % 3)


def broken(array, place, value):
    array = array.copy()
    array[place] = value
    return array


@pytest.mark.parametrize(
    ("name", "arrays", "options", "message"),
    [
        ("x.npy", GREY[0], {}, r"an array of shape \(4, 4\); give images \(N, H, W\) or \(N, H, W, C\)"),
        ("x.npy", np.zeros((4, 0, 4), np.uint8), {}, "an array of shape"),
        ("x.npy", GREY.astype(np.int16), {}, "values of int16; give uint8, uint16 or floating point"),
        ("x.npy", np.array([GREY[0], None], object), {}, "Python objects"),
        ("x.npy", broken(GREY, (7, 1, 2), np.nan), {}, "image 7 has a value that is nan"),
        ("x.npy", broken(GREY, (29, 0, 0), np.inf), {}, "image 29 has a value that is inf"),
        ("x.npy", 100 * GREY, {}, r"from 0 to 99\.7917, outside \[0, 1\]; give a dataset\.value_r"),
        ("x.npy", DEEP, {"value_range": [0, 1000]}, r"outside \[0, 1000\]"),
        ("x.npy", DEEP, {"value_range": [5, 5]}, r"value_range=\[5, 5\]; give \[LOW, HIGH\]"),
        ("x.npy", DEEP, {"value_range": 255}, r"value_range=255; give \[LOW, HIGH\]"),
        ("x.npy", DEEP, {"value_range": [[0, 1], 2]}, r"value_range=\[\[0, 1\], 2\]; give \[LOW, HIGH\]"),
        ("x.npy", (99 * GREY).astype("u1"), {"value_range": [0, 99]}, r"that of uint8 is always \[0, 255\]"),
        ("x.npy", GREY[:2], {}, "2 images are too few; give 3 or more"),
        ("x.npy", GREY, {"layout": "NHCW"}, "layout=NHCW: must be NHWC or NCHW"),
        ("x.npz", {"pictures": GREY}, {}, "its arrays are pictures; give images, or train_images and"),
        ("x.npz", {"val_images": GREY}, {}, "its arrays are val_images; give images"),
        ("x.npz", {"images": GREY, "labels": np.zeros(7)}, {}, "7 labels for 30 train images; give one each"),
        ("x.npz", {"images": GREY, "labels": np.array(7)}, {}, "1 labels for 30 train images; give one each"),
        ("x.npz", {"train_images": GREY, "test_images": DEEP}, {}, "the splits have different images"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(tmp_path, name, arrays, options, message):
    plain = {} if isinstance(arrays, dict) else [arrays]
    path = tmp_path / name
    if isinstance(arrays, dict):
        np.savez(path, **arrays)
    else:
        np.save(path, *plain, allow_pickle=True)
    with pytest.raises(UserError, match=message) as refused:
        ready(path, **options)
    assert "\n" not in str(refused.value)


def test_files_that_are_none_are_named(tmp_path):
    for name, text in {"gone.npy": "no such file", "x.csv": "must end in .npy, .npz"}.items():
        if name != "gone.npy":
            (tmp_path / name).write_text("1, 2")
        with pytest.raises(UserError, match=text):
            ready(tmp_path / name)
    for name in ("x.npy", "x.npz", "x.tif"):
        (tmp_path / name).write_text("no array")
        with pytest.raises(UserError, match=f"dataset.path={tmp_path / name}: cannot be read: "):
            ready(tmp_path / name)
    with pytest.raises(UserError, match="dataset=folder takes"):
        ready(tmp_path)


def test_a_run_knows_its_file_by_its_content(tmp_path):
    node = {"_target_": "caelab.data.array.Array", "data_dir": "data", "path": "${x}", "layout": "NHWC"}

    def known(path):
        data = {"data": str(tmp_path / "data"), "output": "out"}
        return places.by_content(node, node | {"path": str(path)}, data, tmp_path)["path"]

    path = written(tmp_path, "x.npy", GREY)
    first = known(path)
    assert len(first) == 64
    assert known(path.rename(tmp_path / "moved.npy")) == first
    assert known(written(tmp_path, "x.npy", GREY / 2)) != first
    assert ready(tmp_path / "moved.npy").sha256 == ready(tmp_path / "moved.npy").sha256
    assert ready(tmp_path / "moved.npy").sha256 != ready(path).sha256
