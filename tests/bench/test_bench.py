"""The benchmark: every way trains the same images, rounds take turns, and ratios are those of one round."""

import json
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny import TINY

from caelab.bench import bench as command
from caelab.bench import contestants, measure, task
from caelab.errors import UserError


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAELAB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")


def test_the_clock_leaves_the_first_epoch_out(monkeypatch):
    ticks = iter([0.0, 100.0, 104.0, 300.0, 306.0])
    monkeypatch.setattr(task.time, "perf_counter", lambda: next(ticks))
    clock = task.Clock(torch.device("cpu"))
    assert list(clock.epochs(3, images=50)) == [0, 1, 2]
    assert clock.images / clock.seconds == 2 * 50 / (4 + 6)


@pytest.mark.parametrize("name", ["limit", "bare", "lightning-0", "script"])
def test_a_way_trains_every_image_in_each_epoch(monkeypatch, name):
    seen = []
    loss = torch.nn.MSELoss.forward
    monkeypatch.setattr(torch.nn.MSELoss, "forward", lambda *a: (seen.append(len(a[2])), loss(*a))[1])
    figures = contestants.CONTESTANTS[name](list(TINY))
    assert seen == ([32, 32, 32] if name == "limit" else [32] * 3) * 2
    assert figures["images_per_second"] > 0


@pytest.mark.skipif(not find_spec("pythae"), reason="pythae is not installed: pip install 'caelab[bench]'")
def test_pythae_trains_every_image_in_each_epoch(monkeypatch, tmp_path):
    monkeypatch.setenv(measure.OUTPUT, str(tmp_path))
    seen, stepped = [], []
    loss, step = torch.nn.MSELoss.forward, torch.optim.Adam.step
    monkeypatch.setattr(torch.nn.MSELoss, "forward", lambda *a: (seen.append(len(a[2])), loss(*a))[1])
    monkeypatch.setattr(torch.optim.Adam, "step", lambda *a, **k: (stepped.append(1), step(*a, **k))[1])
    figures = contestants.CONTESTANTS["pythae"](list(TINY))
    assert seen == [32, *[32] * 3 * 2]  # one before training, to see that the network works
    assert len(stepped) == 3 * 2
    assert figures["images_per_second"] > 0


def test_pythae_that_is_not_installed_is_told_or_left_out(monkeypatch, lab):
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'caelab\[bench\]', or leave it out"):
        command.bench(["base"], ["auto", "pythae"], TINY, 1, grow=False)
    seen = []
    monkeypatch.setattr(command, "bench", lambda models, only, *rest: seen.extend(only))
    lab("bench")
    assert "auto" in seen
    assert "pythae" not in seen


def test_the_pictures_are_those_of_the_split():
    train = task.Task(list(TINY)).train
    first, label = contestants.Pictures(train)[5]
    assert torch.equal(first, train[5:6][0].float() / 255)
    assert label == int(train.targets[5])


def fake(speeds):
    """Contestants of known speeds, which rise by a tenth each round."""
    calls = []

    def carry_out(name, overrides):
        calls.append(name)
        grown = 1 + 0.1 * (calls.count(name) - 1)
        extra = {"nothing": {"arrays": 30e6}, "evaluation": {"images": 10_000, "caelab": 1.0, "skimage": 8.0}}
        speed = (
            {"images_per_second": speeds[name] * grown, "first_step": 2.0} if name in speeds else extra[name]
        )
        return speed | {"peak_bytes": 5e8 if name == "nothing" else 7e8, "read_bytes": 1e6}

    return carry_out, calls


def test_rounds_take_turns_and_ratios_are_within_a_round(monkeypatch):
    carry_out, calls = fake({"auto": 200.0, "lightning-0": 80.0, "lightning-2": 100.0})
    monkeypatch.setattr(measure, "carry_out", carry_out)
    found = measure.rounds(["auto", "lightning-0", "lightning-2"], [], 2, "base")
    assert calls == ["auto", "lightning-0", "lightning-2", "lightning-0", "lightning-2", "auto"]
    assert measure.speeds(found, "lightning") == pytest.approx([100, 110])
    assert measure.ratio(found, "auto", "lightning") == pytest.approx([2, 2])
    assert measure.spread([3, 1, 2], ".1f") == "2.0 (1.0 to 3.0)"


def test_the_tables_and_the_file(monkeypatch, lab, tmp_path):
    names = {
        "limit": 220.0,
        "bare": 150.0,
        "exact": 160.0,
        "auto": 200.0,
        "lightning-0": 100.0,
        "script": 50.0,
    }
    carry_out, _ = fake(names)
    monkeypatch.setattr(measure, "carry_out", carry_out)
    monkeypatch.setattr(command, "carry_out", carry_out)
    only = ",".join(names)
    arguments = ["--models", "base", "--only", only, "--rounds", "2", "dataset=shapes"]
    _, out, _ = lab("bench", *arguments)
    assert "1.067 (1.067 to 1.067)" in out  # exact / bare
    assert "4.000 (4.000 to 4.000)" in out  # auto / script
    assert "0.125 (0.125 to 0.125) of scikit-image's time" in out
    assert "memory beyond torch's own 200 MB; its arrays take 30 MB" in out
    (path,) = (tmp_path / "multirun" / "bench").glob("*.json")
    found = json.loads(path.read_text())
    assert found["overrides"] == ["dataset=shapes"]
    measured = [one["auto"]["images_per_second"] for one in found["models"]["base"]["rounds"]]
    assert measured == pytest.approx([200, 220])
    assert len(found["load"]) == 2
    _, text, _ = lab("bench", "--show", path)
    assert "base: median of 2 rounds (lowest to highest):\n\n| way | training images/s | " in text
    assert "\n| --- | ---: | ---: | ---: | ---: |\n| (a) one resident batch" in text
    assert "| auto / script | 4.000 (4.000 to 4.000) | 1.6 |\n" in text
    assert "base: memory beyond torch's own 200 MB; its arrays take 30 MB\n" in text


def test_growth_is_measured_and_kept(monkeypatch, capfd, tmp_path):
    seen = []

    def carry_out(name, overrides):
        seen.append((name, overrides[1:]))
        size = int(overrides[-1].partition("=")[2])
        return {"images_per_second": size * (3 if name == "auto" else 2), "peak_bytes": size * 1e6}

    monkeypatch.setattr(measure, "carry_out", carry_out)
    grown = command._grow("base", ["dataset=cifar10", "trainer.max_epochs=5"])
    sizes = {key: [int(value) for value in values] for key, values in grown.items()}
    assert sizes["dataset.train_size"] == [5_000, 40_000, 270_000]
    assert measure.speeds(grown["model.latent"]["16"], "auto") == [48, 48]
    out = " ".join(capfd.readouterr().out.split())
    file = {"models": {}, "growth": {"base": grown}, "machine": {"gpu": None}}
    (tmp_path / "file.json").write_text(json.dumps(file))
    assert (
        "| 270,000 | 810,000 (810,000 to 810,000) | 1.500 (1.500 to 1.500) | 270,000 |"
        in command.markdown(tmp_path / "file.json")
    )
    assert "270,000 │ 810,000 (810,000 to 810,000) │ 1.500 (1.500 to 1.500) │ 270,000" in out
    for name in ("auto", "bare"):  # the same last word for both: two epochs, of images that there are
        assert [given[-3:] for who, given in seen if who == name][4:6] == 2 * [
            ["dataset=shapes", "trainer.max_epochs=2", "dataset.train_size=270000"]
        ]


@pytest.mark.slow
def test_this_lab_is_measured_through_its_command_line():
    figures = measure.carry_out("auto", TINY)
    assert figures["images_per_second"] > 0
    assert 0 < figures["first_step"] < 100
    assert figures["peak_bytes"] > 1e8


def test_evaluation_and_memory():
    evaluated = contestants.evaluation([*TINY, "dataset.train_size=600"])
    assert evaluated["images"] == 600
    assert evaluated["skimage"] > evaluated["caelab"] > 0
    assert contestants.nothing(list(TINY))["arrays"] > 96 * 3072


def test_the_time_of_few_images_is_not_scaled(monkeypatch):
    ticks = iter([0.0, 1.0, 2.0, 5.0])
    monkeypatch.setattr(contestants, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    assert contestants.evaluation(list(TINY)) == {"images": 96, "caelab": 1, "skimage": 3}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--only", "autto"], "--only=autto: there is no such way; did you mean 'auto'?"),
        (["--rounds", "0"], "Invalid value for '--rounds'"),
        (["--show", "nothing.json"], "nothing.json: there is no such file"),
        (["--to", "28", "--grow"], "--to: cannot be combined with --grow; leave that out"),
        (["--page", "--only", "bare"], "--page: cannot be combined with --only; leave that out"),
        (["--show", "a", "--models", "base"], "--show: cannot be combined with --models; leave that out"),
        (["--models", "base,bse"], "model=bse: there is no such model; did you mean 'base'?"),
        (
            ["trainer.max_epochs=1"],
            "trainer.max_epochs=1: must be a whole number, 2 or more; the first is not timed",
        ),
        (
            ["trainer.max_epochs=null"],
            "trainer.max_epochs=None: must be a whole number, 2 or more; the first",
        ),
        (["--only", "bare", "--models", "base", *TINY, "model.latent=0"], "latent must be at least 1, got 0"),
    ],
)
def test_mistakes(lab, arguments, line):
    status, _, err = lab("bench", *arguments)
    assert status
    assert line in err
    assert err.count("\n") == 1


def test_the_page_shows_the_figures_on_record():
    docs = Path(__file__).parents[2] / "docs"
    page = (docs / "about" / "speed.md").read_text()
    files = [*(docs / "results/bench").glob("*.json")]
    assert files
    for file in files:
        assert command.markdown(file).strip() in page
