"""Tables: how runs are named, and what stands in which row."""

from rich.console import Console

from caelab import tables


def record(model="base", seed=0, overrides=(), psnr=20.0, **changes):
    return {
        "status": "finished",
        "choices": {"dataset": "mnist", "model": model, "loss": "mse", "optimizer": "adam"},
        "seed": seed,
        "overrides": list(overrides),
        "size": {"parameters": 1234, "latent": 8, "effective_code": 9},
        "metrics": {"test/psnr": psnr, "test/ssim": 0.5},
        "time": {"epochs": 2, "fit_seconds": 3.0, "test_seconds": 1.0},
        **changes,
    }


def shown(table):
    console = Console(width=200, record=True)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_runs_are_named_by_what_differs():
    runs = [record(seed=s, overrides=["model=base", f"seed={s}", "loss.alpha=1"]) for s in (0, 1)]
    assert tables.labels(runs) == [{"seed": "0"}, {"seed": "1"}]
    runs = [record("base"), record("pca", overrides=["+model.x=3", "paths.data=/x", "logger=none"])]
    assert tables.labels(runs) == [{"model": "base", "model.x": "-"}, {"model": "pca", "model.x": "3"}]


def test_one_run_is_named_by_its_model():
    assert tables.labels([record("pca")]) == [{"model": "pca"}]


def test_best_first_and_failures_last():
    runs = [
        record("a", psnr=20.0),
        {**record("b"), "status": "failed", "error": "no luck"},
        record("c", psnr=21.0),
    ]
    text = shown(tables.comparison(runs, "three"))
    rows = [line.split("│")[1].strip() for line in text.splitlines() if line.startswith("│")]
    assert rows == ["c", "a", "b"]
    assert "failed: no luck" in text
    assert "1,234" in text
    assert "21.00" in text


def test_a_narrow_screen_breaks_labels_and_cuts_none():
    levels = ["[1,2,3,4,5,6,7]", "[1,2,3,4,5,6,8]"]
    runs = [record(overrides=[f"model.skip_levels={value}"]) for value in levels]
    console = Console(width=60)
    with console.capture() as capture:
        console.print(tables.comparison(runs, "two"))
    rows = [line.split("│")[1].strip() for line in capture.get().splitlines() if line.startswith("│")]
    assert "".join(rows) == "".join(levels)


def test_a_run_that_goes_around_its_latent_is_marked():
    measured = {"test/psnr": 20.0, "test/ssim": 0.5}
    around = [
        record(seed=s, overrides=[f"seed={s}"], metrics=measured | {"test/latent_reliance": reliance})
        for s, reliance in enumerate((0.031, 0.5))
    ]
    text = shown(tables.comparison(around, "two"))
    assert [cell in text for cell in ("latent reliance", "0.03 bypassing", "0.50 ")] == [True] * 3
    assert text.count("bypassing") == 1
    honest = record(size={"parameters": 1, "latent": 8, "effective_code": 8})
    assert "│ 1.00 │" in " ".join(shown(tables.comparison([honest], "one")).split())


def test_the_frame_holds_the_same_runs_as_numbers():
    runs = [
        record(psnr=20.123456, overrides=["model.latent=8"]),
        {**record(overrides=["model.latent=0"]), "status": "failed", "error": "no luck"},
        record(psnr=21.0, overrides=["model.latent=16"]),
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
