"""Datasets of Hugging Face, from local folders in the formats that its library reads."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from caelab.config import places
from caelab.data.hf import HuggingFace
from caelab.data.unused import clear, unused
from caelab.errors import UserError

datasets = pytest.importorskip("datasets")

PIXELS = np.random.default_rng(3).integers(0, 256, (30, 9, 12, 3), np.uint8)


def table(rows, names=("cat", "owl"), **more):
    pictures = [Image.fromarray(PIXELS[row]) for row in rows]
    features = {"img": datasets.Image(), "fine": datasets.ClassLabel(names=list(names))}
    features |= {key: datasets.Value("int64") for key in more}
    columns = {"img": pictures, "fine": [row % len(names) for row in rows], **more}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


@pytest.fixture
def saved(tmp_path):
    parts = {"train": range(0, 20), "validation": range(20, 24), "test": range(24, 30)}
    folder = tmp_path / "saved"
    datasets.DatasetDict({name: table(rows) for name, rows in parts.items()}).save_to_disk(str(folder))
    return folder


def ready(tmp_path, path, **options) -> HuggingFace:
    module = HuggingFace(str(tmp_path / "data"), str(path), **options)
    module.prepare_data()
    module.setup()
    return module


def test_columns_and_splits_are_found(tmp_path, saved):
    module = ready(tmp_path, saved)
    assert module.shape == (3, 9, 12)
    assert module.class_names == ("cat", "owl")
    assert {key: len(split) for key, split in module.splits.items()} == {"train": 20, "val": 4, "test": 6}
    assert np.array_equal(module.splits["val"][:].numpy(), PIXELS[20:24].transpose(0, 3, 1, 2))
    assert module.splits["test"].targets.tolist() == [0, 1] * 3
    assert ready(tmp_path, saved).sha256 == module.sha256


def test_hidden_labels_of_a_split_leave_the_classes_as_they_are(tmp_path):
    parts = {"train": table(range(20)), "test": table(range(20, 30))}
    parts["test"] = parts["test"].map(lambda row: {"fine": -1})
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    module = ready(tmp_path, tmp_path / "saved")
    assert module.class_names == ("cat", "owl", "unlabelled")
    train = module.splits["train"]
    assert train.targets.tolist() == [row % 2 for row in train.index.tolist()]
    assert module.splits["test"].targets.tolist() == [2] * 10


def test_labels_that_are_text_become_classes(tmp_path):
    names = ["owl", "cat", "emu"]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    parts = {}
    for split, rows in (("train", range(20)), ("test", range(20, 30))):
        columns = {
            "image": [Image.fromarray(PIXELS[row]) for row in rows],
            "label": [names[row % 2 if split == "train" else 2] for row in rows],
        }
        parts[split] = datasets.Dataset.from_dict(columns, features=features)
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    module = ready(tmp_path, tmp_path / "saved")
    assert module.class_names == ("cat", "emu", "owl")
    train = module.splits["train"]
    assert train.targets.tolist() == [[2, 0][row % 2] for row in train.index.tolist()]
    assert module.splits["test"].targets.tolist() == [1] * 10


def test_caches_of_a_folder_as_it_was_can_be_cleared(tmp_path, saved):
    ready(tmp_path, saved)
    assert unused(tmp_path / "data") == {}
    (saved / "more.txt").write_text("more")
    assert [path.parent.name for path in clear(tmp_path / "data")] == ["read"]
    assert ready(tmp_path, saved).class_names == ("cat", "owl")


def test_a_folder_of_parquet_is_read(tmp_path):
    folder = tmp_path / "parquet" / "data"
    folder.mkdir(parents=True)
    table(range(30)).to_parquet(str(folder / "train-00000-of-00001.parquet"))
    module = ready(tmp_path, folder.parent, image_size=8)
    assert module.shape == (3, 8, 8)
    assert {key: len(split) for key, split in module.splits.items()} == {"train": 24, "val": 3, "test": 3}


def test_columns_and_their_mistakes_are_named(tmp_path, saved):
    assert ready(tmp_path, saved, label="fine", image="img").class_names == ("cat", "owl")
    with pytest.raises(UserError, match=r"dataset\.image=imgs: there is no such column.*img"):
        ready(tmp_path, saved, image="imgs")
    folder = tmp_path / "plain"
    datasets.Dataset.from_dict({"n": [1, 2, 3]}).save_to_disk(str(folder))
    with pytest.raises(UserError, match=r"no column of n is of type Image; give dataset\.image=COLUMN"):
        ready(tmp_path, folder)


def test_splits_without_a_training_split_are_refused(tmp_path):
    folder = tmp_path / "saved"
    parts = {"one": table(range(5)), "two": table(range(5))}
    datasets.DatasetDict(parts).save_to_disk(str(folder))
    with pytest.raises(UserError, match="its splits are one, two; none is named train"):
        ready(tmp_path, folder)


def test_what_cannot_be_loaded_is_one_line(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise ConnectionError("no\nnetwork")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(
        UserError,
        match=r"dataset\.path=owner/none: there is no such folder here, and Hugging Face cannot load it: ",
    ) as refused:
        ready(tmp_path, "owner/none")
    assert "\n" not in str(refused.value)


def test_a_name_on_the_hub_is_no_place_here(tmp_path, saved):
    node = {"_target_": "caelab.data.hf.HuggingFace", "data_dir": "data", "path": "owner/name"}
    assert places.of_dataset(node, tmp_path) == {"data_dir": f"{tmp_path}/data"}
    assert places.of_dataset(node | {"path": "saved"}, tmp_path)["path"] == str(saved)
    paths = {"data": "data", "output": "out"}
    assert places.by_content(node, node, paths, tmp_path) == node
    known = places.by_content(node, node | {"path": "saved"}, paths, tmp_path)["path"]
    assert len(known) == 64


def test_without_the_library_a_line_says_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("caelab.data.hf.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'caelab\[hf\]'"):
        HuggingFace(str(tmp_path), "owner/name")
