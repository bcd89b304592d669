"""The loggers of a run: the table that every run has, and those that the user asks for."""

from collections.abc import Callable, Sequence
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from caelab import terminal
from caelab.config.build import instantiate
from caelab.config.job import Job
from caelab.errors import UserError
from caelab.runs import results, tracking
from caelab.runs.record import Complete, Record
from caelab.training.loggers.csv import CSV
from caelab.training.loggers.wandb import WandB

__all__ = ["CSV", "WandB", "close", "conclude", "start"]

_EXTRAS = ("tensorboard", "mlflow")  # of the package, by the name of the logger and of what it imports
_CALLED = ("log_metrics", "log_image", "log_table", "save", "conclude", "finalize")


def start(job: Job, record: Record) -> list[Logger]:
    """Start ``metrics.csv``, and the loggers of a run; one that cannot start is named and left out.

    Args:
        job: the run.
        record: what is known of it before it starts.

    Raises:
        UserError: a logger whose package is not installed, or that its config does not describe.
    """
    loggers: list[Logger] = [CSV(str(job.run_dir))]
    config = tracking.config(record)
    for name, node in job.config["logger"].items():
        if isinstance(node, dict):
            if name in _EXTRAS and not find_spec(name):
                raise UserError(f"logger={name}: it is not installed; pip install 'caelab[{name}]'")
            try:
                logger = instantiate(node, f"logger.{name}")
                getattr(logger, "experiment", None)  # W&B and TensorBoard connect on first use
                logger.log_hyperparams(config)
                loggers.append(_guarded(logger, name))
            except UserError:
                raise
            except Exception as error:  # a logger must never cost a run
                terminal.error(f"logger={name} did not start and is left out: {terminal.one_line(error)}")
    return loggers


def _guarded(logger: Logger, name: str) -> Logger:
    """Let a logger fall silent, after a line, once it fails: it must never cost a run."""
    silent = False

    def guard(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal silent
            if silent:
                return None
            try:
                return method(*args, **kwargs)
            except Exception as error:
                silent = True
                terminal.error(f"logger={name} failed and is left out from here: {terminal.one_line(error)}")

        return call

    for called in _CALLED:
        if hasattr(logger, called):
            setattr(logger, called, guard(getattr(logger, called)))
    return logger


def conclude(
    loggers: Sequence[Logger], record: Complete, run_dir: Path, floor: Callable[[], float | None]
) -> None:
    """Give the loggers that keep a summary the run's figures; what goes wrong there is named.

    Args:
        loggers: of the run.
        record: of the run, once it is trained and tested.
        run_dir: of the run.
        floor: measures test PSNR (dB) of PCA on as many numbers, where that pays.
    """
    keep = [logger for logger in loggers if hasattr(logger, "conclude")]
    if not keep:
        return
    best = run_dir / results.ARTIFACTS["best"]
    try:
        summary = tracking.summary(record, floor())
    except Exception as error:  # a summary must never cost a run
        terminal.error(f"logger: the run's summary is left out: {terminal.one_line(error)}")
        return
    for logger in keep:
        logger.conclude(summary, best)


def close(loggers: Sequence[Any], failed: bool) -> None:
    """End what the loggers opened, as failed or finished."""
    for logger in loggers:
        if hasattr(logger, "close"):
            try:  # also of one that has fallen silent: the next run must not go on with what it opened
                logger.close(failed)
            except Exception as error:
                terminal.error(f"logger: {type(logger).__name__} did not end: {terminal.one_line(error)}")
