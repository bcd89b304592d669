"""From runs on disk to the rows of studies: what is found, what is missing and why, and what is left over."""

import json
import math
import pickle
from dataclasses import replace

import pytest
import toys

from caelab import studies
from caelab.composition import compose
from caelab.report import measure, tables
from caelab.runs import results
from caelab.runs.record import RECORD
from caelab.studies.index import index, score

GROUPS = {"model": "base", "loss": "mse", "optimizer": "adam", "dataset": "cifar10"}
DATA = {"name": "cifar10", "train": 40000, "val": 10000, "test": 10000, "sha256": "d66d"}
FIGURES = {"test/psnr": 20.0, "test/ssim": 0.5, "val/psnr": 19.0}


def no_score(trial):
    return None


def record(variant, seed, psnr=20.0, **changes):
    """The record of a variant's run, begun as a training begins it."""
    cfg = compose.variant(variant.overrides).copy()
    cfg.seed = seed
    given = dict(override.split("=", 1) for override in variant.overrides)
    choices = {group: given.get(group, default) for group, default in GROUPS.items()}
    started = results.start(toys.job(cfg, choices=choices, overrides=variant.at(seed)))
    metrics = FIGURES | {"test/psnr": psnr, "val/psnr": psnr - 1}
    own = {"status": "finished", "metrics": metrics, "data": DATA, "artifacts": {}, "error": ""}
    return toys.record(**vars(started) | own | changes)


@pytest.fixture
def run(tmp_path):
    """Leave the directory of a run, whose loggers know it, and return it."""

    def leave(name, variant, seed=0, psnr=20.0, **changes):
        path = tmp_path / "runs" / name
        path.mkdir(parents=True)
        made = record(variant, seed, psnr, **changes)
        made["config"]["logger"] = {"csv": {"save_dir": str(path)}}
        (path / RECORD).write_text(json.dumps(made))
        return path

    return leave


@pytest.fixture(scope="module")
def table2():
    return studies.load("table2")


@pytest.fixture(scope="module")
def variants(table2):
    return {one.label: one for one in table2.variants("cifar10", no_score)}


def unstudied(*overrides):
    return studies.Variant("", "cifar10", ("dataset=cifar10", *overrides))


def test_a_section_can_be_drawn_in_another_process(run, variants, table2, tmp_path):
    run("base", variants["base"])
    found = measure.section(table2, "cifar10", index(tmp_path / "runs"), {})
    assert sum(len(row.runs) for row in found.rows) == 1
    assert pickle.loads(pickle.dumps(found)) == found


def test_runs_are_found_by_what_they_are(run, variants, tmp_path):
    paths = {seed: run(f"base-{seed}", variants["base"], seed) for seed in (0, 1)}
    found = index(tmp_path / "runs")
    assert {key: path for key, (path, _) in found.items()} == {
        variants["base"].identity(seed): path for seed, path in paths.items()
    }
    assert [record.seed for _, record in found.values()] == [0, 1]


@pytest.mark.parametrize("finished", ["a", "b"])
def test_of_equal_runs_the_finished_one_counts(run, variants, tmp_path, finished):
    for name in "ab":
        status = "finished" if name == finished else "failed"
        run(f"{name}/x", variants["base"], status=status, error="stopped")
    for roots in ((tmp_path,), (tmp_path / "runs/a", tmp_path / "runs/b")):
        ((path, record),) = index(*roots).values()
        assert (path, record.status) == (tmp_path / "runs" / finished / "x", "finished")


def test_a_section_has_each_variant_with_its_runs_and_what_is_missing(run, table2, variants, tmp_path):
    psnr = {0: 20.0, 2: 21.5}
    paths = {seed: run(f"base-{seed}", variants["base"], seed, value) for seed, value in psnr.items()}
    run("base-1", variants["base"], 1, status="failed", error="loss is not finite")
    run("pca", variants["PCA 256"], 0, 26.0)
    found = measure.section(table2, "cifar10", index(tmp_path))
    assert (found.study, found.title, found.dataset) == ("table2", table2.title, "cifar10")
    assert (found.text, found.claims, found.reference) == (table2.text, table2.claims, None)
    trained = [name + own for name in ("improved", "improved_skip") for own in ("", ", authors' code")]
    assert [row.label for row in found.rows] == ["base", *trained, "mean image", "PCA 256"]
    base, improved, *_, floor, pca = found.rows
    assert base.values("test/psnr") == psnr
    assert {seed: one.path for seed, one in base.runs.items()} == paths
    assert base.missing == {1: "failed: loss is not finite"}
    assert (improved.runs, improved.missing) == ({}, dict.fromkeys(range(3), "not run"))
    assert (floor.floor, floor.missing) == (True, {0: "not run"})
    assert (pca.floor, pca.values("test/psnr"), pca.missing) == (True, {0: 26.0}, {})


def test_runs_with_more_seeds_than_a_study_has_are_found(run, table2, variants, tmp_path):
    for seed in (0, 3, 4):
        run(f"base-{seed}", variants["base"], seed, sweep="table2-full")
    run("improved", variants["improved"], 3, sweep="table2-full", status="failed", error="stopped")
    run("improved-4", variants["improved"], 4, sweep="table1-full")
    run("other", unstudied("model=base", "model.latent=7"), 5, sweep="table2-full")
    assert measure.beyond(table2, "cifar10", index(tmp_path)) == [3, 4]
    assert measure.beyond(replace(table2, seeds=5), "cifar10", index(tmp_path)) == []


def test_published_figures_stand_with_their_rows(table2):
    found = measure.section(table2, "cifar10", {})
    assert found.row("base").published == {"psnr": 20.75, "ssim": 0.64, "loss": 0.008}
    assert found.row("improved").published["psnr"] == 23.92
    assert found.row("PCA 256").published == {}


def test_a_run_at_another_budget_is_another_run(run, table2, variants, tmp_path):
    run("base", variants["base"])
    runs = index(tmp_path)
    quick = measure.section(studies.load("table2", "quick"), "cifar10", runs)
    assert (quick.row("base").runs, quick.row("base").missing) == ({}, {0: "not run"})
    wider = measure.section(studies.load("table2", overrides=["dataset.batch_size=64"]), "cifar10", runs)
    assert [row.label for row in wider.rows if row.runs] == []
    assert len(measure.section(table2, "cifar10", runs).row("base").runs) == 1


@pytest.fixture(scope="module")
def optimizers():
    return studies.load("optimizers")


def tried(run, study, label, psnr, last=None):
    """Leave the first trials of a search, with these figures; ``last`` changes the record of the last one."""
    trials = study.trials("cifar10")[label]
    for number, (trial, value) in enumerate(zip(trials, psnr, strict=False)):
        changes = last if last and number == len(trials) - 1 else {}
        run(f"{label}-{number}", trial, 1000, value, sweep="optimizers-full", **changes)
    return trials


def test_the_score_of_a_trial_is_its_validation_psnr(run, optimizers, tmp_path):
    failed = {"status": "failed", "error": "loss is not finite"}
    trials = tried(run, optimizers, "adam", [21.0, 22.0, 23.5, 22.5, 12.0], last=failed)
    of_trial = score(optimizers, index(tmp_path))
    assert [of_trial(trial) for trial in trials] == [20.0, 21.0, 22.5, 21.5, -math.inf]
    assert of_trial(optimizers.trials("cifar10")["sgd"][0]) is None


def test_the_best_trial_becomes_the_row(run, optimizers, tmp_path):
    tried(run, optimizers, "adam", [21.0, 22.0, 23.5, 24.5, 12.0])
    tuned = unstudied(
        "model=base", "optimizer=adam", "optimizer.lr=0.003", f"trainer.max_epochs={optimizers.epochs}"
    )
    run("tuned", tuned, 1, 25.25)
    found = measure.section(optimizers, "cifar10", index(tmp_path))
    adam = found.row("adam")
    assert adam.settings == {"optimizer.lr": 3e-3}
    assert adam.values("test/psnr") == {1: 25.25}
    assert adam.missing == {0: "not run", 2: "not run"}


def test_rows_whose_search_is_not_finished_say_so_in_their_place(run, optimizers, tmp_path):
    tried(run, optimizers, "adam", [21.0, 22.0, 23.5, 22.5, 12.0])
    tried(run, optimizers, "sgd", [21.0] * 5, last={"status": "failed", "error": "stopped"})
    tried(run, optimizers, "adamw", [21.0] * 4)
    found = measure.section(optimizers, "cifar10", index(tmp_path))
    names = ["sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamax", "adamw"]
    assert [row.label for row in found.rows] == [*names, *(f"{name}, default" for name in names), "PCA 256"]
    waiting = dict.fromkeys(range(3), "not all of its 5 trials are finished")
    missing = {row.label: row.missing for row in found.rows[:7]}
    assert missing == dict.fromkeys(names, waiting) | {
        name: dict.fromkeys(range(3), "not run") for name in ("adam", "sgd")
    }


def test_runs_of_no_study_are_a_row_a_variant(run, table2, variants, tmp_path):
    run("base", variants["base"])
    wide, narrow = unstudied("model=base", "model.latent=512"), unstudied("model=base", "model.latent=16")
    psnr = {0: 23.0, 1: 23.5, 7: 22.0}
    for seed, value in psnr.items():
        run(f"wide-{seed}", wide, seed, value)
    run("narrow", narrow, 3, 15.0, sweep="sweep-2026-05-01_12-00-00")
    run("lost", narrow, 4, status="failed", error="stopped")
    runs = index(tmp_path)
    (found,) = measure.others(runs, [measure.section(table2, "cifar10", runs)])
    assert (found.study, found.title, found.dataset, found.claims) == ("runs", "Other runs", "cifar10", ())
    assert found.text == "All with model=base, loss=mse, optimizer=adam."
    assert {row.label: (row.values("test/psnr"), row.missing) for row in found.rows} == {
        "model.latent=16": ({3: 15.0}, {4: "failed: stopped"}),
        "model.latent=512": (psnr, {}),
    }
    # without the section, the study's own run is another one
    (more,) = measure.others(runs, [])
    assert sorted(len(row.runs) for row in more.rows) == [1, 1, 3]


def test_other_runs_are_parted_by_dataset_and_test_images(run, tmp_path):
    same, fitted = unstudied("model=pca"), {"time": {"epochs": 0}}
    run("all", same, psnr=20.0, **fitted)
    run("fewer", same, 1, psnr=21.0, data=DATA | {"train": 30000}, **fitted)
    run("part", same, 2, psnr=22.0, data=DATA | {"sha256": "beef"}, **fitted)
    run("digits", studies.Variant("", "mnist", ("dataset=mnist", "model=base")), psnr=30.0)
    found = measure.others(index(tmp_path), [])
    rows = [{row.label: row.values("test/psnr") for row in one.rows} for one in found]
    assert [(one.study, one.dataset, there) for one, there in zip(found, rows, strict=True)] == [
        ("runs", "cifar10", {"pca": {0: 20.0}, "pca (2)": {1: 21.0}}),
        ("runs-2", "cifar10", {"pca": {2: 22.0}}),
        ("runs", "mnist", {"base": {0: 30.0}}),
    ]
    images = "Runs, test images: 10,000 of cifar10"
    assert [one.title for one in found] == [f"{images}, d66d", f"{images}, beef", "Runs"]
    assert [[row.floor for row in one.rows] for one in found] == [[True, True], [True], [False]]


def test_a_seed_that_failed_is_missing_in_its_own_row_alone(run, tmp_path):
    failed = {"status": "failed", "error": "the loss is nan"}
    for place in "ab":
        one = unstudied("model=base", f"dataset.data_dir=/{place}")
        for seed in (0, 1):
            run(f"{place}-{seed}", one, seed, 20.0, fingerprint=f"{place}{seed}", data={"sha256": place})
        for seed in (1, 5, 2)[: "ab".index(place) * 3]:  # one of b's seeds ran again, on other images
            run(f"lost-{place}-{seed}", one, seed, **failed)
    found = measure.others(index(tmp_path))
    why = "failed: the loss is nan"
    assert [[row.missing for row in one.rows] for one in found] == [[{}], [{2: why, 5: why}]]
    assert [tables.gaps(row) for one in found for row in one.rows] == ["", f"2 seeds: {why}"]


def test_seeds_on_the_same_images_are_one_row_wherever_these_lie(run, tmp_path):
    for seed, place in enumerate(("", "/scratch/job1", "/scratch/job2")):
        places = [f"dataset.data_dir={place}", f"+dataset.root={place}"] if place else []
        for latent in (8, 16)[seed == 0 :]:
            one = unstudied("model=base", f"model.latent={latent}", *places)
            run(f"{latent}-{seed}", one, seed, latent + seed / 2)
    run("other", unstudied("model=base", "+dataset.root=/other"), data={"sha256": "beef"})
    same, other = measure.others(index(tmp_path))
    assert {row.label: row.values("test/psnr") for row in same.rows} == {
        "model.latent=16": {0: 16.0, 1: 16.5, 2: 17.0},
        "model.latent=8": {1: 8.5, 2: 9.0},
    }
    assert [row.values("test/psnr") for row in other.rows] == [{0: 20.0}]


def test_a_seed_that_failed_at_another_place_is_missing_where_one_row_is_like_it(run, tmp_path):
    for seed in (0, 1):
        run(f"{seed}", unstudied("model=base", f"+dataset.root=/scratch/job{seed}"), seed, 20.0)
    run("lost", unstudied("model=base", "+dataset.root=/scratch/job2"), 2, status="failed", error="nan")
    (found,) = measure.others(index(tmp_path))
    assert [row.missing for row in found.rows] == [{2: "failed: nan"}]


def test_what_a_place_is_to_a_dataset_of_ones_own_nobody_knows(run, tmp_path):
    for seed, part in enumerate(("left", "right")):
        own = {"_target_": "own.Halves", "root": part}
        run(part, unstudied("model=base"), seed, 20.0 + seed, config={"dataset": own})
    (found,) = measure.others(index(tmp_path))
    assert {row.label: row.values("test/psnr") for row in found.rows} == {
        "dataset.root=left": {0: 20.0},
        "dataset.root=right": {1: 21.0},
    }


@pytest.mark.parametrize("key", ["sources", "from"])
def test_changed_code_and_other_weights_to_start_from_are_other_rows(run, tmp_path, key):
    same = unstudied("model=base")
    for name, seed, text in (("a", 0, "old"), ("b", 0, "new"), ("c", 1, "new")):
        changes = {"run": "elsewhere", "weights": text} if key == "from" else {"own.Net": text}
        run(name, same, seed, 20.0 + seed, **{"fingerprint": name, key: changes})
    (found,) = measure.others(index(tmp_path))
    assert {row.label: row.values("test/psnr") for row in found.rows} == {
        "base": {0: 20.0},
        "base (2)": {0: 20.0, 1: 21.0},
    }


def test_rows_are_named_by_what_tells_them_from_the_others_of_their_table(run, tmp_path):
    run("mse", unstudied("model=base"))
    run("l1", unstudied("model=base", "loss=l1"))
    run("far", studies.Variant("", "mnist", ("dataset=mnist", "model=improved", "model.latent=7")))
    alone, found = measure.others(index(tmp_path))
    assert [[row.label for row in one.rows] for one in (alone, found)] == [["improved"], ["l1", "mse"]]
    assert found.text == "All with model=base, optimizer=adam."


def test_what_the_sweep_of_a_study_trained_and_has_no_row_is_another_run_but_for_trials(
    run, optimizers, variants, tmp_path
):
    tried(run, optimizers, "adam", [21.0, 22.0, 23.5, 22.5, 12.0])
    run("quick", variants["base"], 5, sweep="table2-quick")
    run("older", unstudied("model=base", "optimizer.lr=0.5"), 0, 18.0, sweep="optimizers-full")
    runs = index(tmp_path)
    quick = replace(measure.section(studies.load("table2", "quick"), "cifar10", runs), study="table2-quick")
    (whole,) = measure.others(runs)
    assert sum(len(row.runs) for row in whole.rows) == 7
    (left,) = measure.others(runs, [measure.section(optimizers, "cifar10", runs), quick])
    assert [row.values("test/psnr") for row in left.rows] == [{5: 20.0}, {0: 18.0}]


def test_rows_of_a_study_on_different_test_images_stand_apart(run, table2, variants, tmp_path):
    run("base", variants["base"])
    whole = measure.section(table2, "cifar10", index(tmp_path))
    assert measure.apart(whole) == [whole]
    run("part", variants["improved"], data=DATA | {"test": 5})
    first, second = measure.apart(measure.section(table2, "cifar10", index(tmp_path)))
    assert [one.name for one in (first, second)] == ["table2-cifar10", "table2-2-cifar10"]
    assert [one.title.rpartition(": ")[2] for one in (first, second)] == ["10,000 of cifar10", "5 of cifar10"]
    assert [row.label for row in second.rows] == ["improved"]
    assert len(first.rows) == len(whole.rows) - 1
