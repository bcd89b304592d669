"""What runs are called: what differs in their configs, whatever words their commands had."""

import pytest
import toys

from caelab.runs.labels import image_sets, labels
from caelab.runs.record import Record

DATA = {"name": "mnist", "test": 50, "sha256": "d66dd66dd66d"}


def record(model="base", seed=0, config=None, **changes):
    choices = {"dataset": "mnist", "model": model, "loss": "mse", "optimizer": "adam"}
    choices |= {"corruption": "none", "scheduler": "none"}
    whole = {"choices": choices, "seed": seed, "config": {"seed": seed, **(config or {})}, "data": DATA}
    return toys.exact(**whole | changes)


def test_the_words_of_the_command_that_trained_a_run_first_do_not_name_it():
    plain = {"optimizer": {"lr": 0.001}, "flip": False}
    runs = [record(seed=0, config=plain, overrides=["optimizer.lr=1e-3", "flip=false"])]
    runs += [record(seed=1, config=plain, overrides=[])]
    assert labels(runs) == [{"seed": "0"}, {"seed": "1"}]


def test_a_setting_that_differs_names_a_run_whoever_wrote_it():
    levels = [[1, 2], None]
    runs = [
        record(config={"model": {"skips": one, "latent": 8}, "trainer": {"max_epochs": 1}}) for one in levels
    ]
    assert labels(runs) == [{"model.skips": "[1,2]"}, {"model.skips": "null"}]


def test_what_follows_from_the_option_of_a_group_is_not_named_beside_it():
    base, pca = {"model": {"_target_": "Base", "width": 3}}, {"model": {"_target_": "PCA", "latent": 8}}
    assert labels([record("base", config=base), record("pca", config=pca)]) == [
        {"model": "base"},
        {"model": "pca"},
    ]
    wide = {"model": base["model"] | {"width": 4}}
    found = labels([record("base", config=base), record("base", config=wide), record("pca", config=pca)])
    assert found == [
        {"model": "base", "model.width": "3"},
        {"model": "base", "model.width": "4"},
        {"model": "pca", "model.width": "-"},
    ]


def test_the_figure_that_a_bottleneck_is_chosen_by_is_not_named_beside_it():
    def chosen(bottleneck, select):
        config = {"select": select}
        one = record(config=config)
        return toys.exact(choices=one.choices | {"bottleneck": bottleneck}, config=config, data=DATA)

    runs = [chosen("none", "val/psnr"), chosen("entropy", "val/objective")]
    assert labels(runs) == [{"bottleneck": "none"}, {"bottleneck": "entropy"}]
    runs.append(chosen("entropy", "val/psnr"))
    assert [label["select"] for label in labels(runs)] == ["val/psnr", "val/objective", "val/psnr"]


def test_an_older_record_means_the_default_of_what_it_lacks():
    younger = {"flip": False, "corruption": {"_target_": "caelab.corruptions.Clean"}, "speed": "exact"}
    runs = [record(seed=0), record(seed=1, config=younger)]
    assert labels(runs) == [{"seed": "0"}, {"seed": "1"}]
    assert labels([record(), record(config={"flip": True})]) == [{"flip": "false"}, {"flip": "true"}]


def test_places_and_loggers_do_not_name_a_run():
    def at(place, seed):
        config = {
            "paths": {"data": place},
            "dataset": {"data_dir": place},
            "logger": {"csv": {"save_dir": place}},
        }
        return record(seed=seed, config=config)

    assert labels([at("here", 0), at("there", 1)]) == [{"seed": "0"}, {"seed": "1"}]


def test_runs_that_do_not_differ_are_named_by_their_model():
    assert labels([record("pca")]) == [{"model": "pca"}]
    assert labels([record("pca"), record("pca")]) == [{"model": "pca"}] * 2


def test_a_run_that_was_never_composed_adds_no_column():
    lost = Record(status="failed", overrides=["dataset=mnist"])
    runs = [record(seed=0, config={"flip": True}), record(seed=1, config={"flip": True}), lost]
    assert labels(runs) == [{"seed": "0"}, {"seed": "1"}, {"seed": "-"}]


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        ({}, {"config": {"dataset": {"train_size": 3}}}, ["50 of mnist"] * 2),
        (
            {},
            {"config": {"dataset": {"classes": [0, 1]}}, "data": DATA | {"test": 9}},
            ["50 of mnist", "9 of mnist, classes [0,1]"],
        ),
        ({}, {"data": DATA | {"sha256": "beefbeefbeef"}}, ["50 of mnist, d66dd66d", "50 of mnist, beefbeef"]),
        ({}, {"data": DATA | {"name": "photos"}}, ["50 of mnist", "50 of photos"]),
    ],
)
def test_test_images_are_told_apart_by_what_they_are(first, second, names):
    runs = [record(seed=0, **first), record(seed=1, **second)]
    assert image_sets(runs) == names
    assert [label.get("test images") for label in labels(runs)] == (
        [None] * 2 if names[0] == names[1] else names
    )


def test_drawn_test_images_do_not_depend_on_the_number_of_training_images():
    def drawn(sha256, **sizes):
        return record(
            config={"dataset": {"test_size": 50, "seed": 0, **sizes}}, data=DATA | {"sha256": sha256}
        )

    assert image_sets([drawn("aa", train_size=8), drawn("bb", train_size=9)]) == ["50 of mnist"] * 2
    shapes = {"_target_": "caelab.data.shapes.Shapes"}
    assert image_sets([drawn("aa", **shapes), drawn("aa", data_dir="/b", **shapes)]) == ["50 of mnist"] * 2
    assert image_sets([drawn("aa"), drawn("bb", seed=1)]) == ["50 of mnist, aa", "50 of mnist, bb"]
