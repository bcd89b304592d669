"""Tables: how runs are named, and what stands in which row."""

import toys

from caelab.runs import tables
from caelab.runs.record import Record, SearchRecord, TrialRecord
from caelab.terminal import Plain

DATA = {"name": "mnist", "test": 50, "sha256": "d66d"}


def record(model="base", seed=0, psnr=20.0, config=None, validation=None, **changes):
    whole = {
        "choices": {"dataset": "mnist", "model": model, "loss": "mse", "optimizer": "adam"},
        "seed": seed,
        "overrides": ["words=of another command"],
        "config": {"seed": seed, **(config or {})},
        "data": DATA,
        "size": {"parameters": 1234, "latent": 8, "effective_code": 9},
        "metrics": {"val/psnr": validation or psnr, "test/psnr": psnr, "test/ssim": 0.5},
        "time": {"epochs": 2, "fit_seconds": 3.0, "test_seconds": 1.0},
    }
    return toys.exact(**whole | changes)


def failed(*words, **keys):
    """A run that had no luck."""
    known = vars(record(*words, **keys))
    kept = {key: known[key] for key in ("choices", "seed", "overrides", "config")}
    return Record(status="failed", error="no luck", **kept)


def shown(table):
    console = Plain(width=200, record=True)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_best_on_validation_first_and_failures_below_with_their_reasons():
    runs = [
        record("a", psnr=22.0, validation=18.25),
        failed("b"),
        record("c", psnr=21.0, validation=19.0),
    ]
    frame = tables.frame(runs)
    assert list(frame["model"]) == ["c", "a", "b"]
    assert list(frame["PSNR (dB)"])[:2] == [21.0, 22.0]
    assert list(frame["error"])[2] == "no luck"


def test_figures_are_rounded_and_settings_are_not():
    runs = [record(psnr=20.123456, config={"optimizer": {"lr": rate}}) for rate in (1e-5, 3e-5)]
    frame = tables.frame(runs)
    assert sorted(frame["optimizer.lr"]) == [1e-5, 3e-5]
    assert list(frame["PSNR (dB)"]) == [20.1235, 20.1235]


def test_what_chose_the_checkpoints_of_all_orders_them():
    loss = {"val/psnr": 20.0, "test/psnr": 20.0, "test/ssim": 0.5}
    chosen = {"config": {"select": "val/loss"}}
    runs = [
        record("a", metrics=loss | {"val/loss": 0.2, "val/psnr": 22.0, "test/gmsd": 0.125}, **chosen),
        record("b", metrics=loss | {"val/loss": 0.1}, **chosen),
    ]
    frame = tables.frame(runs)
    assert list(frame["model"]) == ["b", "a"]
    assert list(frame["validation loss"]) == [0.1, 0.2]
    assert frame["GMSD"].isna().tolist() == [True, False]
    other = record("c", metrics=loss | {"val/loss": 0.3, "val/psnr": 21.0})
    other.config.update(select="val/loss", loss={"_target_": "torch.nn.L1Loss"})  # no loss is another's
    assert list(tables.frame([*runs, other])["model"]) == ["a", "c", "b"]
    for one in (*runs, other):
        one.config.update(select="val/objective", loss=None)
        one.metrics["val/objective"] = one.metrics["val/loss"]
    assert list(tables.frame([*runs, other])["model"]) == ["b", "a", "c"]
    other.config.update(bottleneck={"price": 0.01})  # nor is an objective that of another price
    assert list(tables.frame([*runs, other])["model"]) == ["a", "c", "b"]
    mixed = tables.frame([*runs, record("c", validation=21.0)])  # by validation PSNR, which all have
    assert list(mixed["model"]) == ["a", "c", "b"]


def test_a_trial_stands_among_the_runs_without_test_figures():
    trial = record("a", status="trial", metrics={"val/psnr": 21.5})
    frame = tables.frame([record("b", validation=21.0), trial, record("c", validation=22.0)])
    assert list(frame["model"]) == ["c", "a", "b"]
    assert list(frame["validation PSNR (dB)"]) == [22.0, 21.5, 21.0]
    assert frame["PSNR (dB)"].isna().tolist() == [False, True, False]


def test_runs_on_other_test_images_stand_apart():
    runs = [
        record("a", psnr=20.0),
        record("b", psnr=30.0, config={"dataset": {"classes": [0]}}, data=DATA | {"test": 5}),
        record("c", psnr=21.0),
        record("d", psnr=31.0, data=DATA | {"sha256": "beefbeefbeef"}),
    ]
    frame = tables.frame(runs)
    assert list(frame["test images"]) == [
        *["50 of mnist, d66d"] * 2,
        "5 of mnist, classes [0]",
        "50 of mnist, beefbeef",
    ]
    assert list(frame["PSNR (dB)"]) == [21.0, 20.0, 30.0, 31.0]


def test_the_frame_holds_the_same_runs_as_numbers():
    runs = [
        record(psnr=20.123456, config={"model": {"latent": 8}}),
        failed(config={"model": {"latent": 0}}),
        record(psnr=21.0, config={"model": {"latent": 16}}),
    ]
    frame = tables.frame(runs)
    assert list(frame["model.latent"]) == [16, 8, 0]
    assert list(frame["PSNR (dB)"])[:2] == [21.0, 20.1235]
    assert list(frame["seconds"])[:2] == [4.0, 4.0]
    assert frame["error"][2] == "no luck"
    assert "error" not in tables.frame(runs[:1])


def test_a_search_is_shown_best_first_and_what_ended_early_below():
    history = [
        TrialRecord(0, "pruned", {"optimizer.lr": 0.5}, 25.0, 2),
        TrialRecord(1, "failed", {"optimizer.lr": 0.9}, None, 0),
        TrialRecord(2, "finished", {"optimizer.lr": 0.00123456}, 19.0, 3),
        TrialRecord(3, "finished", {"optimizer.lr": 0.1}, 20.0, 3),
    ]
    found = SearchRecord(
        name="toy",
        study="toy",
        label="found",
        dataset="shapes",
        space={"optimizer.lr": [1]},
        epochs=3,
        trials=4,
        history=history,
        best=None,
        importance={},
    )
    text = shown(tables.trials(found))
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")
    ]
    assert rows == [
        ["3", "0.1", "20.00", "finished"],
        ["2", "0.001235", "19.00", "finished"],
        ["0", "0.5", "25.00", "pruned at epoch 2"],
    ]
    assert "found: 3 trials of 3 epochs, 1 pruned" in text
