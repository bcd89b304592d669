"""Checkpoints that are whole at any moment, and a stopwatch that goes on after a resume."""

import csv
import math
from dataclasses import asdict
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import nn
from torch.optim.swa_utils import AveragedModel

from caelab.bottlenecks.fsq import FSQ
from caelab.composition import compose
from caelab.training import callbacks
from caelab.training.callbacks import CheckpointFile, Checkpoints, MovingAverage, Stopwatch, moving_average


class FakeTrainer:
    """Saves its epoch, or breaks off in the middle as a killed process does."""

    def __init__(self, psnr):
        self.callback_metrics = {"val/psnr": torch.tensor(psnr), "train/loss": torch.tensor(0.0)}
        self.breaks = False
        self.strategy = SimpleNamespace(checkpoint_io=CheckpointFile())

    def save_checkpoint(self, path, weights_only):
        psnr = float(self.callback_metrics["val/psnr"])
        self.strategy.checkpoint_io.save_checkpoint({"psnr": Breaking() if self.breaks else psnr}, path)


class Breaking:
    def __reduce__(self):
        raise KeyboardInterrupt


def psnr(path):
    return torch.load(path, weights_only=True)["psnr"]


def epoch(checkpoints, number, psnr, breaks=False):
    trainer = FakeTrainer(psnr)
    trainer.breaks = breaks
    checkpoints.on_validation_end(trainer, None)
    checkpoints.save(trainer, number)


def test_best_is_the_highest_and_last_the_latest(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for number, found in enumerate((20.0, 22.0, 21.0), start=1):
        epoch(checkpoints, number, found)
    assert psnr(checkpoints.best) == 22
    assert psnr(checkpoints.last) == 21
    assert checkpoints.epoch == 2
    assert checkpoints.figures == {"val/psnr": 22.0}
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]


@pytest.mark.parametrize(("select", "best"), [("val/psnr", 2), ("val/loss", 3), ("val/ssim", 1)])
def test_best_is_what_is_selected_the_least_where_less_is_better(tmp_path, select, best):
    checkpoints = Checkpoints(tmp_path, select)
    figures = [(20.0, 0.3, 0.9), (22.0, 0.2, 0.8), (21.0, 0.1, 0.7), (20.5, 0.4, 0.9)]
    for number, values in enumerate(figures, start=1):
        trainer = FakeTrainer(values[0])
        named = zip(("val/psnr", "val/loss", "val/ssim"), values, strict=True)
        trainer.callback_metrics |= {key: torch.tensor(value) for key, value in named}
        checkpoints.on_validation_end(trainer, None)
        checkpoints.save(trainer, number)
    assert checkpoints.epoch == best
    assert psnr(checkpoints.best) == figures[best - 1][0]


def test_early_stopping_watches_what_is_selected():
    def node(*words):
        cfg, _ = compose.config(["callbacks=early_stopping", "metrics=[gmsd]", "logger=none", *words])
        stopping = compose.plain(cfg)["callbacks"]["early_stopping"]
        return stopping["monitor"], stopping["mode"]

    assert node() == ("val/psnr", "max")
    assert node("select=val/gmsd") == ("val/gmsd", "min")
    assert node("select=val/gmsd", "callbacks.early_stopping.monitor=val/ssim") == ("val/ssim", "max")
    own = ["callbacks.early_stopping.monitor=train/loss", "callbacks.early_stopping.mode=min"]
    assert node(*own) == ("train/loss", "min")


def test_a_kill_while_writing_leaves_the_old_files_whole(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    epoch(checkpoints, 1, 20.0)
    with pytest.raises(KeyboardInterrupt):
        epoch(checkpoints, 2, 25.0, breaks=True)
    assert psnr(checkpoints.best) == psnr(checkpoints.last) == 20


def test_an_epoch_without_validation_is_never_the_best(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    epoch(checkpoints, 1, 20.0)
    checkpoints.save(FakeTrainer(30.0), 2)
    assert psnr(checkpoints.best) == 20
    assert psnr(checkpoints.last) == 30


def test_the_best_is_known_after_a_resume(tmp_path):
    first = Checkpoints(tmp_path)
    epoch(first, 1, 22.0)
    second = Checkpoints(tmp_path)
    second.load_state_dict(first.state_dict())
    epoch(second, 2, 21.0)
    assert psnr(second.best) == 22
    assert second.epoch == 1


def test_stopwatch_leaves_out_validation_and_each_process_first_epoch(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(callbacks.time, "perf_counter", lambda: clock.now)
    module = SimpleNamespace(device=torch.device("cpu"))
    batch = torch.zeros(10, 1, 2, 2, dtype=torch.uint8)

    def train_epoch(watch, number, seconds):
        trainer = SimpleNamespace(is_last_batch=False, current_epoch=number, world_size=1)
        watch.on_train_epoch_start(trainer, module)
        for last in (False, True):
            clock.now += seconds / 2
            trainer.is_last_batch = last
            trainer.global_step = 2 * number + last + 1
            watch.on_train_batch_end(trainer, module, None, batch, 0)
        clock.now += 5  # validation
        watch.on_train_epoch_end(trainer, module)

    watch = Stopwatch()
    watch.start()
    train_epoch(watch, 0, 100)
    assert watch.images_per_second is None
    train_epoch(watch, 1, 2)
    assert watch.images_per_second == 10
    assert watch.fit_seconds == 112
    clock.now += 1000  # killed, and started again later
    again = Stopwatch()
    again.load_state_dict(watch.state_dict())
    again.start()
    train_epoch(again, 2, 50)
    train_epoch(again, 3, 4)
    assert asdict(again.record(images_per_epoch=20)) == {
        "fit_seconds": 112 + 55 + 9,
        "test_seconds": 0.0,
        "epochs": 4,
        "steps": 8,
        "images_per_second": 40 / 6,
        "images_per_epoch": 20,
    }


STOPS = ["callbacks=early_stopping", "callbacks.early_stopping.min_delta=50", "trainer.max_epochs=5"]


def identity(*words):
    return compose.identity(compose.config(words)[0])


@pytest.mark.parametrize("killed_after", [None, 2])
def test_a_run_ends_where_nothing_gets_better_and_after_a_kill_at_the_same_epoch(train, killed, killed_after):
    words = [*STOPS, "callbacks.early_stopping.patience=2"]
    if killed_after:
        killed(*words, after=killed_after)
    record = train(*words).record
    assert record["time"]["epochs"] == 1 + 2  # none is 50 dB better than the first
    assert record["config"]["callbacks"]["early_stopping"]["patience"] == 2


def test_what_only_watches_is_no_part_of_a_run_and_what_may_end_it_is():
    assert identity() == identity("callbacks=[lr_monitor,rich_model_summary]")
    stopping = identity("callbacks=early_stopping")
    assert len({identity(), stopping, identity("callbacks=timer")}) == 3
    assert identity("callbacks=[early_stopping,lr_monitor]") == stopping
    unknown = "+callbacks.counts._target_=test_trainer.Counts"
    assert identity(unknown) != identity() == identity(unknown, "+callbacks.counts.watches=true")


def test_several_callbacks_act_and_those_that_watch_leave_the_figures(train):
    plain = train("scheduler=cosine").record["metrics"]
    watched = train("scheduler=cosine", "callbacks=[lr_monitor,rich_model_summary]", "force=true")
    assert watched.record["metrics"] == plain
    with (watched.run_dir / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    rates = [float(row["lr-Adam"]) for row in rows]  # before each of two epochs of three steps; no warm-up
    assert rates == pytest.approx([1e-3, 1e-3 * (1 + math.cos(math.pi * 3 / 6)) / 2])
    assert "Trainable params" in watched.out
    assert "finished before" in train("scheduler=cosine").out


def test_a_timer_ends_a_run_with_an_epoch(train):
    record = train(
        "callbacks=timer", "callbacks.timer.duration={milliseconds:1}", "trainer.max_epochs=3"
    ).record
    assert (record["time"]["epochs"], record["time"]["steps"]) == (1, 3)


def test_a_callback_of_ones_own_acts(train, tmp_path):
    answer = train("+callbacks.counts._target_=test_trainer.Counts", "+callbacks.counts.file=epochs")
    assert answer.status == 0
    assert (tmp_path / "epochs").read_text() == "2"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["callbacks=early_stoping"], "there is no such callbacks; did you mean 'early_stopping'?"),
        (
            ["callbacks.timer.duration=1"],
            "callbacks.timer.duration: the chosen callbacks has no such key, only timer",
        ),
        (["callbacks=timer", "callbacks.timer.duration=x"], "callbacks.timer: `Timer(duration='x')`"),
        (
            ["callbacks=early_stopping", "callbacks.early_stopping.patience=x"],
            "patience=x: expected a whole number",
        ),
        (
            [*STOPS, "callbacks.early_stopping.strict=0"],
            "needs a + in front, +callbacks.early_stopping.strict=",
        ),
        (
            [*STOPS, "callbacks.early_stopping.monitor=val/penalty"],
            "callbacks.early_stopping.monitor: nothing can be chosen by 'val/penalty'",
        ),
        (
            [*STOPS, "callbacks.early_stopping.monitor=val/psn", "callbacks.early_stopping.mode=max"],
            "callbacks: Early stopping conditioned on metric",
        ),
        (["+callbacks.mine=3"], "callbacks.mine=3: give its class, as in +callbacks.mine._target_="),
        (["+callbacks.mine.patience=3"], "callbacks.mine: _target_ is missing"),
        (["+callbacks.mine._target_=torch.nn.ReLU"], "callbacks.mine: torch.nn.ReLU is not a callback"),
    ],
)
def test_a_mistake_in_a_callback_is_one_line(train, words, line):
    answer = train(*words)
    assert answer.status == 1
    assert line in answer.err
    assert answer.err.count("\n") == 1


def test_an_average_leaves_whole_numbers_as_they_are():
    net = nn.Sequential(FSQ(4, levels=[7, 3, 3, 7]), nn.Linear(1, 1))
    averaged = AveragedModel(net, avg_fn=moving_average(0.75), use_buffers=True)
    with torch.no_grad():
        for value in (1.0, 2.0):
            net[1].weight.fill_(value)
            averaged.update_parameters(net)
    assert averaged.module[0].rounding._levels.tolist() == [7, 3, 3, 7]
    assert averaged.module[1].weight.item() == 1.25


def test_the_state_of_an_average_has_the_name_that_older_checkpoints_know():
    assert MovingAverage(0.75).state_key == EMAWeightAveraging(decay=0.75).state_key == "EMAWeightAveraging"
