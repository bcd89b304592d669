"""Checkpoints that are whole at any moment, and a stopwatch that goes on after a resume."""

from types import SimpleNamespace

import pytest
import torch

from caelab import callbacks
from caelab.callbacks import CheckpointFile, Checkpoints, Stopwatch


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
    assert again.record() == {
        "fit_seconds": 112 + 55 + 9,
        "test_seconds": 0.0,
        "epochs": 4,
        "steps": 8,
        "images_per_second": 40 / 6,
    }
