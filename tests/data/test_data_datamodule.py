"""The base DataModule, on images whose only pixel says which row they are."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer

from caelab.data.datamodule import Batches, ImageDataModule, Place, Split, permutation
from caelab.errors import UserError

N = 200
IMAGES = torch.arange(N, dtype=torch.uint8).reshape(N, 1, 1, 1).expand(N, 3, 2, 2).contiguous()
LABELS = torch.arange(N) % 4


class Numbers(ImageDataModule):
    name = "numbers"
    class_names = ("zero", "one", "two", "three")
    shape = (3, 2, 2)

    def load(self):
        rows = {"train": range(0, 120), "val": range(120, 160), "test": range(160, N)}
        return {
            key: Split(IMAGES, LABELS, torch.tensor(list(value))) for key, value in rows.items()
        }, "ab" * 32


def ready(**options) -> Numbers:
    module = Numbers("unused", **({"batch_size": 32} | options))
    module.prepare_data()
    module.setup("fit")
    return module


def seen(batches: Batches) -> list[int]:
    return [int(image[0, 0, 0]) for batch in batches for image in batch]


def test_classes_without_names_are_called_by_their_labels(monkeypatch):
    monkeypatch.delattr(Numbers, "class_names")
    assert ready().class_names == ("0", "1", "2", "3")
    assert ready(classes=[1, 3]).class_names == ("0", "1", "2", "3")
    with pytest.raises(
        UserError, match=r"dataset\.classes=\[4\]: give .* from 0 to 3, such as \[0\] \(0 is 0\)"
    ):
        ready(classes=[4])


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_permutation_has_each_number_once(n):
    assert permutation(n, 3, 4).dtype == torch.int64
    assert sorted(permutation(n, 3, 4).tolist()) == list(range(n))


def test_permutation_is_the_same_in_all_versions():
    # computed once and written down: runs of today must be comparable with runs of next year
    assert permutation(10, 7, 1).tolist() == [1, 3, 2, 7, 8, 4, 5, 9, 0, 6]


def test_permutations_of_other_seeds_share_no_more_places_than_chance():
    n = 10_000
    agreeing = sum(
        int((permutation(n, 0, a) == permutation(n, 0, b)).sum()) for a in range(5) for b in range(a)
    )
    assert agreeing < 40  # 10 pairs, one place each expected: a Poisson count of mean 10


def test_a_split_indexes_the_shared_array():
    split = Split(IMAGES, LABELS, torch.tensor([7, 3, 150]))
    assert len(split) == 3
    assert split[torch.tensor([2, 0])][:, 0, 0, 0].tolist() == [150, 7]
    assert split[0:2][:, 2, 1, 1].tolist() == [7, 3]
    assert split[0:2].dtype == torch.uint8
    assert split.targets.tolist() == [3, 3, 2]
    assert split.images.data_ptr() == IMAGES.data_ptr()


def test_a_split_of_other_values_gives_floats_within_its_range():
    rows = torch.tensor([2, 0])
    deep = torch.tensor([0, 1_000, 65_535], dtype=torch.uint16).reshape(3, 1, 1, 1)
    found = Split(deep, LABELS, rows, (0, 65_535))[:]
    assert found.dtype == torch.float32
    assert found.flatten().tolist() == [1, 0]
    floats = torch.tensor([-1.0, 0.5, 3.0]).reshape(3, 1, 1, 1)
    assert Split(floats, LABELS, rows, (-1, 3))[:].flatten().tolist() == [1, 0]
    assert Split(floats, LABELS, torch.tensor([1]), (-1, 3))[:].item() == 0.375


@pytest.mark.parametrize("bands", [[0, 1], [3], [-1], [True], 0, [0, 1, 2, 0]])
def test_bands_that_pictures_cannot_show_are_refused(bands):
    module = Numbers("unused")
    module.bands = bands
    with pytest.raises(UserError, match=r"dataset\.bands=.* from 0 to 2 "):
        module.setup()


@pytest.mark.parametrize(("size", "batches"), [(1, [1] * 7), (3, [3, 3, 1]), (7, [7]), (100, [7])])
def test_batches_keep_the_partial_last_one(size, batches):
    loader = Batches(Split(IMAGES, LABELS, torch.arange(7)), size)
    assert [len(batch) for batch in loader] == batches
    assert len(loader) == len(batches)
    assert seen(loader) == list(range(7))


def test_batches_and_what_a_network_is_given_go_to_any_device():
    split = Split(IMAGES, LABELS, torch.arange(7), clean=torch.arange(N).flip(0))
    loader = Batches(split, 4, place=Place(torch.device("meta")))
    assert [(batch.shape, batch.device.type) for batch in loader] == [((n, 3, 2, 2), "meta") for n in (4, 3)]
    given = loader.given(1)
    assert (given.shape, given.device.type) == ((3, 3, 2, 2), "meta")


def test_splits_are_those_of_load():
    module = ready()
    assert {key: len(split) for key, split in module.splits.items()} == {"train": 120, "val": 40, "test": 40}
    assert seen(module.val_dataloader()) == list(range(120, 160))
    assert seen(module.test_dataloader()) == list(range(160, 200))
    assert module.sha256 == "ab" * 32


def test_evaluation_batches_are_at_least_500():
    assert ready(batch_size=8).val_dataloader().batch_size == 500
    assert ready(batch_size=8).train_dataloader().batch_size == 8


def alone(epoch):
    """Return a trainer of one process on the CPU, in that epoch."""
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    return SimpleNamespace(current_epoch=epoch, strategy=strategy, global_rank=0, world_size=1)


def test_training_order_is_a_function_of_seed_and_epoch():
    orders = {}
    for seed in (0, 1):
        module = ready(order_seed=seed)
        loader = module.train_dataloader()
        for epoch in (0, 1, 2):
            module.trainer = alone(epoch)
            orders[seed, epoch] = seen(loader)
    assert all(sorted(order) == list(range(120)) for order in orders.values())
    assert len({tuple(order) for order in orders.values()}) == 6
    again = ready(order_seed=1)
    again.trainer = alone(2)  # as after a resume: no earlier epoch was run
    assert seen(again.train_dataloader()) == orders[1, 2]


class Recorder(LightningModule):
    """Trains nothing and writes down what reaches it."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.trained, self.validated, self.tested = [], [], []

    def configure_optimizers(self):
        return None

    def training_step(self, x):
        self.trained += x[:, 0, 0, 0].tolist()

    def validation_step(self, x):
        self.validated += x[:, 0, 0, 0].tolist()

    def test_step(self, x):
        self.tested += x[:, 0, 0, 0].tolist()


@pytest.mark.filterwarnings("ignore:.*configure_optimizers.*:UserWarning")
def test_lightning_gets_the_order_of_each_epoch():
    module, recorder = Numbers("unused", batch_size=32, order_seed=4), Recorder()
    trainer = Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(recorder, module)
    trainer.test(recorder, module, verbose=False)
    assert recorder.trained == sum((permutation(120, 4, epoch).tolist() for epoch in range(3)), [])
    assert recorder.validated == 3 * list(range(120, 160))
    assert recorder.tested == list(range(160, 200))


def test_without_a_trainer_it_is_epoch_0():
    module = ready(order_seed=5)
    assert seen(module.train_dataloader()) == permutation(120, 5, 0).tolist()
    assert seen(module.train_dataloader()) == seen(module.train_dataloader())


def test_order_does_not_touch_the_global_generators():
    module = ready()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(module.train_dataloader())
    assert torch.equal(before, torch.get_rng_state())


def test_train_sizes_are_nested_exact_and_independent_of_the_order_seed():
    rows = {n: set(ready(train_size=n).splits["train"].index.tolist()) for n in (32, 50, 100, 120)}
    assert [len(rows[n]) for n in (32, 50, 100, 120)] == [32, 50, 100, 120]
    assert rows[32] < rows[50] < rows[100] < rows[120]
    assert set(ready(train_size=50, order_seed=9).splits["train"].index.tolist()) == rows[50]
    assert rows[50] != set(range(50))
    assert len(ready(train_size=50).splits["val"]) == 40


def test_classes_are_kept_in_all_splits_before_train_size():
    module = ready(classes=[1, 3], train_size=40)
    assert {key: len(split) for key, split in module.splits.items()} == {"train": 40, "val": 20, "test": 20}
    for split in module.splits.values():
        assert set(split.targets.tolist()) == {1, 3}
        assert np.array_equal(split.targets, split.index % 4)


def test_setup_twice_keeps_the_splits():
    module = ready()
    splits = module.splits
    module.setup("test")
    assert module.splits is splits


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, r"^dataset\.batch_size=0: must be a whole number, 1 or more$"),
        ({"batch_size": "abc"}, r"^dataset\.batch_size=abc: must be a whole number"),
        ({"batch_size": True}, r"^dataset\.batch_size=True"),
        ({"train_size": -5}, r"^dataset\.train_size=-5"),
        ({"train_size": 2.5}, r"^dataset\.train_size=2\.5"),
        ({"train_size": 121}, r"^dataset\.train_size=121: only 120 training images; use at most 120$"),
        ({"classes": [1], "train_size": 90}, r"^dataset\.train_size=90: only 30 training images"),
        ({"classes": [12]}, r"^dataset\.classes=\[12\]: give a list of different classes from 0 to 3"),
        ({"classes": [1, 1]}, r"^dataset\.classes=\[1, 1\]"),
        ({"classes": []}, r"^dataset\.classes=\[\]"),
        ({"classes": ["one"]}, r"^dataset\.classes=\['one'\]"),
        ({"classes": 3}, r"^dataset\.classes=3"),
    ],
)
def test_a_users_mistake_is_one_line_that_names_the_key(options, message):
    with pytest.raises(UserError, match=message) as caught:
        ready(**options)
    assert "\n" not in str(caught.value)


def test_a_batch_above_the_training_set_is_all_of_it(capsys):
    module = ready(batch_size=121)
    assert capsys.readouterr().err == ""  # before anything is trained
    assert len(module.train_dataloader()) == 1
    assert module.batch_size == 120
    assert capsys.readouterr().err == "dataset.batch_size=121: a step takes all 120 training images at once\n"


def test_an_evaluation_asks_for_no_size_of_a_training():
    module = Numbers("unused", batch_size=9999, train_size=9999)
    module.setup("test")
    assert [len(module.splits[key]) for key in ("train", "val", "test")] == [120, 40, 40]


def test_other_images_than_are_expected_are_refused():
    module = Numbers("unused")
    module.expected = "ab" * 32
    module.setup("test")
    module = Numbers("unused")
    module.expected = "cd" * 32
    with pytest.raises(
        UserError, match=r"dataset=numbers in .*\(checksum ababababab, in its record cdcdcdcdcd\)"
    ):
        module.setup("test")
