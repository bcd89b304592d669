"""Tables: how runs are named, and what stands in which row."""

import json

from caelab.runs import tables
from caelab.terminal import Plain

DATA = {"name": "mnist", "test": 50, "sha256": "d66d"}


def record(model="base", seed=0, psnr=20.0, config=None, validation=None, **changes):
    return {
        "status": "finished",
        "choices": {"dataset": "mnist", "model": model, "loss": "mse", "optimizer": "adam"},
        "seed": seed,
        "overrides": ["words=of another command"],
        "config": {"seed": seed, **(config or {})},
        "data": DATA,
        "size": {"parameters": 1234, "latent": 8, "effective_code": 9},
        "metrics": {"val/psnr": validation or psnr, "test/psnr": psnr, "test/ssim": 0.5},
        "time": {"epochs": 2, "fit_seconds": 3.0, "test_seconds": 1.0},
        **changes,
    }


def shown(table):
    console = Plain(width=200, record=True)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_best_on_validation_first_and_failures_below_with_their_reasons():
    runs = [
        record("a", psnr=22.0, validation=18.25),
        {**record("b"), "status": "failed", "error": "no luck"},
        record("c", psnr=21.0, validation=19.0),
    ]
    text = shown(tables.comparison(runs, "three"))
    rows = [line.split("│")[1].strip() for line in text.splitlines() if line.startswith("│")]
    assert rows == ["c", "a"]
    assert [line.strip() for line in text.splitlines()][-1] == "model=b: failed: no luck"
    assert text.count("no luck") == 1
    assert "1,234" in text
    assert "│ 18.25 │ 22.00 │" in " ".join(text.split())
    assert list(tables.frame(runs)["model"]) == ["c", "a", "b"]


def test_a_trial_stands_among_the_runs_without_test_figures():
    trial = record("a", status="trial", metrics={"val/psnr": 21.5})
    runs = [record("b", validation=21.0), trial, record("c", validation=22.0)]
    rows = [
        line.split("│")[1:-1] for line in shown(tables.comparison(runs, "three")).splitlines() if "│" in line
    ]
    assert [row[0].strip() for row in rows] == ["c", "a", "b"]
    assert [cell.strip() for cell in rows[1]][5:8] == ["21.50", "", ""]
    assert tables.frame(runs)["PSNR (dB)"].isna().tolist() == [False, True, False]


def test_runs_on_other_test_images_stand_apart():
    runs = [
        record("a", psnr=20.0),
        record("b", psnr=30.0, config={"dataset": {"classes": [0]}}, data=DATA | {"test": 5}),
        record("c", psnr=21.0),
        record("d", psnr=31.0, data=DATA | {"sha256": "beefbeefbeef"}),
    ]
    lines = shown(tables.comparison(runs, "four")).splitlines()
    rows = [line.split("│")[1].strip() if line[0] == "│" else line[0] for line in lines[4:]]
    assert rows == ["c", "a", "├", "b", "├", "d", "└"]
    frame = tables.frame(runs)
    assert list(frame["test images"]) == [
        *["50 of mnist, d66d"] * 2,
        "5 of mnist, classes [0]",
        "50 of mnist, beefbeef",
    ]
    assert list(frame["PSNR (dB)"]) == [21.0, 20.0, 30.0, 31.0]


def test_a_narrow_screen_breaks_labels_and_cuts_none():
    levels = ["[1,2,3,4,5,6,7]", "[1,2,3,4,5,6,8]"]
    runs = [record(config={"model": {"skip_levels": json.loads(value)}}) for value in levels]
    console = Plain(width=60)
    with console.capture() as capture:
        console.print(tables.comparison(runs, "two"))
    rows = [line.split("│")[1].strip() for line in capture.get().splitlines() if line.startswith("│")]
    assert "".join(rows) == "".join(levels)


def test_a_run_that_goes_around_its_latent_is_marked():
    measured = {"val/psnr": 20.0, "test/psnr": 20.0, "test/ssim": 0.5}
    around = [
        record(seed=s, metrics=measured | {"test/latent_reliance": reliance})
        for s, reliance in enumerate((0.031, 0.5))
    ]
    text = shown(tables.comparison(around, "two"))
    assert [cell in text for cell in ("latent reliance", "0.03 bypassing", "0.50 ")] == [True] * 3
    assert text.count("bypassing") == 1
    honest = record(size={"parameters": 1, "latent": 8, "effective_code": 8})
    assert "│ 1.00 │" in " ".join(shown(tables.comparison([honest], "one")).split())


def test_the_frame_holds_the_same_runs_as_numbers():
    runs = [
        record(psnr=20.123456, config={"model": {"latent": 8}}),
        record(config={"model": {"latent": 0}}, status="failed", error="no luck"),
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
        {"number": 0, "state": "pruned", "point": {"optimizer.lr": 0.5}, "psnr": 25.0, "epochs": 2},
        {"number": 1, "state": "failed", "point": {"optimizer.lr": 0.9}, "psnr": None, "epochs": 0},
        {"number": 2, "state": "finished", "point": {"optimizer.lr": 0.00123456}, "psnr": 19.0, "epochs": 3},
        {"number": 3, "state": "finished", "point": {"optimizer.lr": 0.1}, "psnr": 20.0, "epochs": 3},
    ]
    found = {"label": "found", "epochs": 3, "space": {"optimizer.lr": [1]}, "history": history}
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
