"""Images that a Python program gives a run."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import caelab
from caelab.data import in_memory
from caelab.data.in_memory import InMemory, hold, holds
from caelab.errors import UserError

DEEP = np.random.default_rng(4).integers(0, 4096, (30, 12, 14, 5), np.uint16)
LABELS = np.arange(30) % 3
SMALL = {
    "model.channels": [4, 8],
    "model.latent": 8,
    "trainer.accelerator": "cpu",
    "dataset.value_range": [0, 4095],
    "dataset.bands": [4, 2, 0],
}


class Pictures(Dataset):
    """Ten pictures of one grey each, with a label."""

    classes = ("even", "odd")

    def __len__(self):
        return 10

    def __getitem__(self, row):
        return Image.new("L", (6, 4), 10 * row), row % 2


class Endless(IterableDataset):
    def __iter__(self):
        yield torch.zeros(1, 4, 4)


@pytest.fixture(autouse=True)
def _none_held(monkeypatch):
    monkeypatch.setattr(in_memory, "_held", {})


def ready(value, **options) -> InMemory:
    module = InMemory("data", **hold(value), **options)
    module.setup()
    return module


def sizes(module):
    return {name: len(split) for name, split in module.splits.items()}


def test_images_that_changed_since_they_were_given_are_refused():
    images = torch.zeros(30, 1, 4, 4, dtype=torch.uint8)  # held as they are, without a copy
    module = InMemory("data", **hold(images))
    images[3] = 1
    with pytest.raises(UserError, match=r"^dataset: these images have changed since caelab\.run got them; "):
        module.setup()
    assert len(ready(images).splits["train"]) == 24


def test_an_array_is_split_and_scaled_by_its_range():
    module = ready(DEEP, value_range=[0, 4095])
    assert module.shape == (5, 12, 14)
    assert sizes(module) == {"train": 24, "val": 3, "test": 3}
    split = module.splits["val"]
    expected = DEEP[split.index.numpy()].transpose(0, 3, 1, 2) / 4095
    assert np.allclose(split[:].numpy(), expected, atol=1e-6)


def test_splits_and_labels_may_be_given():
    module = ready((DEEP[:20], DEEP[20:]))
    assert sizes(module) == {"train": 18, "val": 2, "test": 10}
    module = ready(
        {
            "train": (DEEP[:20], LABELS[:20]),
            "val": (DEEP[20:24], LABELS[20:24]),
            "test": (DEEP[24:], LABELS[24:]),
        }
    )
    assert sizes(module) == {"train": 20, "val": 4, "test": 6}
    assert module.class_names == ("0", "1", "2")
    assert module.splits["test"].targets.tolist() == LABELS[24:].tolist()
    assert sizes(ready((DEEP, LABELS))) == {"train": 24, "val": 3, "test": 3}


def test_tensors_have_their_channels_first():
    tensors = torch.from_numpy(DEEP).movedim(-1, 1)
    assert hold(tensors) == hold(DEEP)


def test_tensors_may_be_part_of_a_graph():
    images = torch.rand(5, 1, 3, 4, requires_grad=True)
    assert hold(images) == hold(images.detach())
    assert hold({"train": (images, torch.arange(5))})["shape"] == [1, 3, 4]


def test_a_dataset_of_pictures_is_read_once():
    module = ready(Pictures())
    assert module.shape == (1, 4, 6)
    assert module.class_names == ("even", "odd")
    split = module.splits["train"]
    assert split[:][:, 0, 0, 0].tolist() == (10 * split.index).tolist()
    assert torch.equal(split.targets, split.index % 2)


def test_a_dataset_of_float_tensors_stays_within_0_and_1():
    images = torch.rand(20, 2, 5, 7)
    module = ready(TensorDataset(images, torch.arange(20)))
    assert module.shape == (2, 5, 7)
    split = module.splits["train"]
    assert torch.equal(split[:], images[split.index])
    with pytest.raises(UserError, match=r"values from .* outside \[0, 1\]"):
        ready(TensorDataset(5 * images))


def test_the_identity_is_of_images_and_labels():
    known = hold((DEEP, LABELS))["sha256"]
    assert hold((DEEP.copy(), LABELS.copy()))["sha256"] == known
    assert hold((DEEP, LABELS + 1))["sha256"] != known
    assert hold(DEEP)["sha256"] != known


@pytest.mark.parametrize("value", ["shapes", None, 3, [], {}, (), (DEEP, "x"), Pictures])
def test_what_is_no_images_is_left_to_others(value):
    assert not holds(value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"training": DEEP}, r"split 'training' is unknown; did you mean 'train'\?$"),
        ({"val": DEEP}, "dataset: only val; give train, and optionally val and test"),
        ((DEEP,) * 4, r"4 sets of images; give \(train, test\)"),
        (Endless(), "train is Endless, which has no length"),
        (DEEP[0, 0], r"train: an array of shape \(14, 5\)"),
        (TensorDataset(torch.zeros(3)), r"sample 0 is an array of shape \(\)"),
    ],
)
def test_what_cannot_be_is_one_line(value, message):
    with pytest.raises(UserError, match=message):
        hold(value)


def test_another_process_does_not_have_them():
    keys = hold(DEEP)
    in_memory._held.clear()
    with pytest.raises(UserError, match="existed only in another process"):
        InMemory("data", **keys).prepare_data()
    assert not InMemory("data", **keys).here()


def test_few_are_kept_in_memory():
    keys = [hold(DEEP[start:]) for start in range(4)]
    assert [InMemory("data", **one).here() for one in keys] == [False, False, True, True]


def test_the_same_images_are_the_same_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAELAB_DATA", str(tmp_path / "data"))
    run = caelab.run(SMALL, model="base", dataset=(DEEP[:20], DEEP[20:]), epochs=1)
    data = run.record.data
    assert (data.train, data.val, data.test, data.shape) == (18, 2, 10, [5, 12, 14])
    assert (data.dtype, data.between) == ("uint16", [0, 4095])
    assert caelab.run(SMALL, model="base", dataset=(DEEP[:20].copy(), DEEP[20:]), epochs=1).dir == run.dir
    with pytest.raises(UserError, match="takes images from Python; save them for dataset=array"):
        caelab.sweep(SMALL, model=["base", "pca"], dataset=DEEP, epochs=1)


def test_colour_among_grey_is_told(monkeypatch):
    monkeypatch.setattr(
        Pictures, "__getitem__", lambda _, row: (Image.new("L" if row < 3 else "RGB", (6, 4)), row)
    )
    with pytest.raises(
        UserError,
        match=r"sample 3 is in colour, and those before it are grey; give dataset\.channels=3, or 1$",
    ):
        hold(Pictures())
    monkeypatch.setattr(
        Pictures, "__getitem__", lambda _, row: (Image.new("RGB" if row < 3 else "L", (6, 4)), row)
    )
    assert hold(Pictures())["shape"] == [3, 4, 6]
