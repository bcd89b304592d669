"""What accompanies a fit: checkpoints that survive any kill, a stopwatch, and progress on the screen."""

import io
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint, ProgressBar, WeightAveraging
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.optim.swa_utils import get_ema_avg_fn

from caelab import terminal
from caelab.errors import PrunedError, UserError
from caelab.metrics.measures import SELECT, score
from caelab.runs.record import Time
from caelab.training.checkpoint_file import CheckpointFile

if TYPE_CHECKING:
    from optuna.trial import Trial

    from caelab.training.module import AutoencoderModule

_STATE = "caelab"  # the key of a checkpoint below which the lab's own part lies


class Checkpoints(Checkpoint):
    """Keeps ``last.ckpt`` (every epoch) and ``best.ckpt`` (the best by one figure), each whole at any moment.

    Lightning's ModelCheckpoint writes in place; a process killed while it writes would leave neither.

    Args:
        folder: where the two files lie.
        select: key of the figure that decides which epoch is the best.
    """

    def __init__(self, folder: Path, select: str = SELECT) -> None:
        self.select = select
        self.last = folder / "last.ckpt"
        self.best = folder / "best.ckpt"
        self.figures: dict[str, float] = {}
        self.epoch = 0
        self.validated = self._stopped = self._tried = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Have them written by ``CheckpointFile``."""
        trainer.strategy.checkpoint_io = CheckpointFile()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that this epoch has figures."""
        self.validated = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Train no further where a callback had ended the run before it was killed."""
        trainer.should_stop = self._stopped

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the finished epoch."""
        self.save(trainer, trainer.current_epoch + 1)

    def save(self, trainer: Trainer, epoch: int) -> None:
        """Save the state after ``epoch`` epochs as the last, and as the best where it is."""
        metrics = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        better = self.validated and self._score(metrics) > self._score(self.figures)
        self.validated = False
        if better:  # first, since after a kill between the two the run goes on from the best
            self.figures, self.epoch = metrics, epoch
            trainer.save_checkpoint(self.best, weights_only=False)
        trainer.save_checkpoint(self.last, weights_only=False)

    def _score(self, figures: dict[str, float]) -> float:
        return score(self.select, figures[self.select]) if figures else float("-inf")

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add whether a callback has ended the run.

        Raises:
            UserError: a callback's state is nothing that a resume can read.
        """
        checkpoint[_STATE] = {"stopped": trainer.should_stop}
        if not self._tried:
            for name, state in checkpoint["callbacks"].items():
                _check_state(name, state)
            self._tried = True

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take up whether a callback had ended the run."""
        self._stopped = checkpoint.get(_STATE, {}).get("stopped", False)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resume needs: the best epoch and its figures."""
        return {"figures": self.figures, "epoch": self.epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the best epoch and its figures."""
        self.figures, self.epoch = state_dict["figures"], state_dict["epoch"]


def _check_state(name: str, state: Any) -> None:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    try:
        torch.load(file, weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"callbacks: a resume could not read the state of {name}; its state_dict must hold "
            "tensors, numbers, text, lists and dicts only"
        ) from None


def _validates(trainer: Trainer) -> bool:
    """Whether the present epoch ends with a validation."""
    every = trainer.check_val_every_n_epoch
    return every is not None and (trainer.current_epoch + 1) % every == 0


def moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Average of weights over steps, as ``WeightAveraging`` asks for it; whole numbers stay the latest."""
    averaged = get_ema_avg_fn(decay)  # type: ignore[no-untyped-call]
    return lambda mean, latest, n: averaged(mean, latest, n) if mean.is_floating_point() else latest


_STALE = 0.01  # of a moving average: the share of the first weights above which a run tells it


class MovingAverage(WeightAveraging):
    """Has the moving average of the weights validated and kept.

    Args:
        decay: share of the average that a step leaves, in (0, 1).
    """

    state_key = "EMAWeightAveraging"
    """Under which older checkpoints hold its state, as Lightning's class of that name does."""

    def __init__(self, decay: float) -> None:
        super().__init__(avg_fn=moving_average(decay))
        self.decay = decay

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say where there are too few steps to leave the first weights behind."""
        steps = int(trainer.estimated_stepping_batches)
        if (share := self.decay ** (steps - 1)) > _STALE:
            first = f"the first weights are still {share:.0%} of the average"
            terminal.say(f"  ema={self.decay:g}: after {steps:,} steps {first}; try a lower one, or ema=null")


class Pruning(Callback):
    """Tells a search the figure of each epoch that counts, and ends the run where the search gives it up.

    Between two epochs, once the checkpoint of the one is written, so that the run could still go on.

    Args:
        trial: of the search.
        select: key of the figure.
    """

    def __init__(self, trial: "Trial", select: str = SELECT) -> None:
        self.trial = trial
        self.select = select

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the epoch, unless that was done before a kill."""
        done = self.trial.study.get_trials(deepcopy=False)[self.trial.number].intermediate_values
        if _validates(trainer) and trainer.current_epoch + 1 not in done:
            self.trial.report(float(trainer.callback_metrics[self.select]), trainer.current_epoch + 1)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the run where the epochs before do not promise enough.

        Raises:
            PrunedError: it ends.
        """
        if trainer.current_epoch and self.trial.should_prune():
            raise PrunedError(f"pruned at epoch {trainer.current_epoch} of {trainer.max_epochs}")


_KEPT = ("fit_seconds", "epochs", "steps", "timed_images", "timed_seconds")


class Stopwatch(Callback):
    """Seconds and images of a fit, over all processes that took part in it."""

    def __init__(self) -> None:
        self.fit_seconds = 0.0
        self.epochs = 0
        self.steps = 0
        self.timed_images = 0
        self.timed_seconds = 0.0
        self._images = 0
        self.test_seconds = 0.0
        self._began = self._epoch_began = 0.0
        self._warm = False

    def start(self) -> None:
        """Start this process's part of the fit."""
        self._began = time.perf_counter()

    def record(self, images_per_epoch: int) -> Time:
        """Return what the run record holds."""
        return Time(
            self.epochs,
            self.fit_seconds,
            self.test_seconds,
            self.steps,
            self.images_per_second,
            images_per_epoch,
        )

    @property
    def images_per_second(self) -> float | None:
        """Training images a second, without the first epoch of each process; None if there was no other."""
        return self.timed_images / self.timed_seconds if self.timed_seconds else None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of an epoch."""
        self._epoch_began, self._images = time.perf_counter(), 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Tensor, batch_idx: int
    ) -> None:
        """Count images; after the last batch, stop the clock before validation starts."""
        self._images += len(batch)
        self.steps = trainer.global_step
        if trainer.is_last_batch and self._warm:
            if pl_module.device.type == "cuda":
                torch.cuda.synchronize()
            self.timed_seconds += time.perf_counter() - self._epoch_began
            self.timed_images += self._images * trainer.world_size

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the epoch."""
        self._warm = True
        self.epochs = trainer.current_epoch + 1
        self.lap()

    def lap(self) -> None:
        """Add the time since the start or the last lap to the fit."""
        now = time.perf_counter()
        self.fit_seconds += now - self._began
        self._began = now

    def state_dict(self) -> dict[str, Any]:
        """Return the figures so far."""
        return {name: getattr(self, name) for name in _KEPT}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the figures so far."""
        vars(self).update(state_dict)


class EpochProgress(ProgressBar):
    """One bar over all steps with the expected time left, and a line for each finished epoch.

    Args:
        select: key of the figure that the checkpoint is chosen by; PSNR is shown, too.
    """

    def __init__(self, select: str = SELECT) -> None:
        super().__init__()
        self.select = select
        self._bar: terminal.Bar | None = None
        self._task = TaskID(0)
        self._began = 0.0

    def disable(self) -> None:
        """Do nothing: Lightning calls this in all processes but the first, whose screen is quiet anyway."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar."""
        assert trainer.max_epochs is not None
        per_epoch = int(trainer.num_training_batches)
        self._bar = terminal.Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=terminal.console,
            transient=True,
            refresh_per_second=4,
            disable=not (terminal.console.is_terminal or terminal.NOTEBOOK),
        )
        self._task = self._bar.add_task(
            "training", total=per_epoch * trainer.max_epochs, completed=per_epoch * trainer.current_epoch
        )
        self._bar.start()

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        """Name the epoch."""
        self._began = time.perf_counter()
        if self._bar:
            self._bar.update(
                self._task, description=f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
            )

    def on_train_batch_end(self, *_: Any) -> None:
        """Advance the bar."""
        if self._bar:
            self._bar.advance(self._task)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the epoch's figures."""
        assert trainer.max_epochs is not None
        done, seconds = trainer.current_epoch + 1, time.perf_counter() - self._began
        metrics, shown = trainer.callback_metrics, dict.fromkeys(("train/loss", SELECT, self.select))
        if not _validates(trainer):  # the module logs its figures after its callbacks
            metrics = cast("AutoencoderModule", pl_module).training_figures()
        figures = [f"{key} {float(metrics[key]):.5g}" for key in shown if key in metrics]
        left = seconds * (trainer.max_epochs - done)
        terminal.say(
            f"  epoch {done}/{trainer.max_epochs}  {'  '.join(figures)}  {seconds:.1f} s, {left:.0f} s left"
        )

    def on_train_end(self, *_: Any) -> None:
        """Remove the bar."""
        if self._bar:
            self._bar.stop()

    def on_exception(self, *_: Any) -> None:
        """Remove the bar."""
        self.on_train_end()
