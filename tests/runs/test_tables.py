"""Tables: how runs are named, and what stands in which row."""

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
    frame = tables.frame(runs)
    assert list(frame["model"]) == ["c", "a", "b"]
    assert list(frame["PSNR (dB)"])[:2] == [21.0, 22.0]
    assert list(frame["error"])[2] == "no luck"


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
