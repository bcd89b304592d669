"""Loggers that Lightning lacks: a CSV file that survives a resume, and W&B with an explicit mode."""

import csv
import hashlib
import io
import os
from argparse import Namespace
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, overload

from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from caelab import durable, terminal
from caelab.config.build import instantiate
from caelab.config.job import Job
from caelab.errors import UserError


class CSV(Logger):
    """One row an epoch in ``metrics.csv``.

    Unlike Lightning's own, it keeps the epochs before a resume, and a row that an interrupted process left
    for an epoch that is trained again is replaced.

    Args:
        save_dir: directory of the run.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__()
        self.path = Path(save_dir, "metrics.csv")
        self._rows: dict[int, dict[str, Any]] | None = None
        self._next: dict[str, float] = {}  # of no epoch, as some callbacks log: part of the next row

    @property
    def name(self) -> str:
        """Name of the logger."""
        return "csv"

    @property
    def version(self) -> str:
        """One version a run."""
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Leave the config to ``result.json``."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Put ``metrics`` into the row of their epoch, and write the file anew, atomically.

        The test split's figures belong to no epoch; they stand in ``result.json``.
        """
        metrics = {key: value for key, value in metrics.items() if not key.startswith("test/")}
        if metrics.keys() <= {"epoch"}:
            return
        self._next |= metrics
        if "epoch" not in metrics:
            return
        metrics, self._next = self._next, {}
        epoch = int(metrics["epoch"])
        if self._rows is None:
            self._rows = {n: row for n, row in self._read().items() if n < epoch}
        row = self._rows.setdefault(epoch, {"epoch": epoch, "step": step})
        row |= {key: value for key, value in metrics.items() if key != "epoch"}
        columns = list(dict.fromkeys(key for row in self._rows.values() for key in row))
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, columns)
        writer.writeheader()
        writer.writerows(self._rows.values())
        durable.write(self.path, table.getvalue())

    def _read(self) -> dict[int, dict[str, Any]]:
        if not self.path.exists():
            return {}
        with self.path.open(newline="") as file:
            return {int(row["epoch"]): row for row in csv.DictReader(file)}


_EXTRAS = ("tensorboard",)  # of the package, by the name of the logger and of what it imports
_WORD, _NAME = 64, 128  # the longest that W&B takes: of a job type or tag, and of a run's name or group

Mode = Literal["auto", "online", "offline", "disabled"]


class WandB(WandbLogger):
    """Weights & Biases with an explicit mode.

    What is longer than W&B takes is shortened, with a hash; its config, ``logger.wandb``, holds all of
    it. Online, a run that goes on from its checkpoint goes on in W&B too; offline it is a second one there,
    since W&B cannot join the two.

    Args:
        save_dir: directory of the run; W&B writes below it.
        mode: ``auto`` is online if an API key is configured, else offline with one line that says so.
        project: where the run appears.
        name: of the run.
        group: what the runs of a sweep share; None for a run alone.
        job_type: what runs that differ in their seed share.
        tags: words to filter runs by.

    Raises:
        ValueError: an unknown mode.
    """

    def __init__(
        self,
        save_dir: str,
        mode: Mode = "auto",
        project: str = "caelab",
        name: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
        tags: Sequence[str] = (),
    ) -> None:
        if mode not in ("auto", "online", "offline", "disabled"):
            raise ValueError(f"mode={mode}: must be auto, online, offline or disabled")
        if mode != "online":  # else its service asks for a host that error reports go to
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        if mode == "auto":
            mode = "online" if _key_configured() else "offline"
            if mode == "offline":
                terminal.say(
                    f"W&B: no API key, so logged offline; to upload: wandb sync {save_dir}/wandb/*run*"
                )
        import wandb

        settings = wandb.Settings(init_timeout=30)  # of a run that waits for a server it cannot reach
        super().__init__(
            save_dir=save_dir,
            mode=mode,
            project=project,
            name=_short(name, _NAME),
            group=_short(group, _NAME),
            job_type=_short(job_type, _WORD),
            tags=[_short(tag, _WORD) for tag in tags],
            settings=settings,
            version=_interrupted(Path(save_dir)) if mode == "online" else None,
        )

    def close(self, failed: bool) -> None:
        """End the W&B run, marked as failed or finished; the next job of a sweep gets its own."""
        self.experiment.finish(exit_code=int(failed))


@overload
def _short(text: str, length: int) -> str: ...
@overload
def _short(text: str | None, length: int) -> str | None: ...
def _short(text: str | None, length: int) -> str | None:
    """Return text of at most ``length`` characters: of longer text a hash stands for the middle."""
    if text is None or len(text) <= length:
        return text
    middle = f"..{hashlib.sha256(text.encode()).hexdigest()[:8]}.."
    side = (length - len(middle)) // 2
    return text[:side] + middle + text[-side:]


def _interrupted(run_dir: Path) -> str | None:
    """W&B's id of what was logged before training goes on from its checkpoint; None if it starts anew."""
    logged = sorted(run_dir.glob("wandb/run-*"))
    going_on = (run_dir / "checkpoints" / "last.ckpt").exists()
    return logged[-1].name.rpartition("-")[2] if logged and going_on else None


def _key_configured() -> bool:
    import wandb

    return bool(wandb.login(prompt=False, verify=False))


def start(job: Job) -> list[Logger]:
    """Start ``metrics.csv``, and the loggers of a run; one that cannot start is named and left out.

    Raises:
        UserError: a logger whose package is not installed, or that its config does not describe.
    """
    loggers: list[Logger] = [CSV(str(job.run_dir))]
    for name, node in job.config["logger"].items():
        if isinstance(node, dict):
            if name in _EXTRAS and not find_spec(name):
                raise UserError(f"logger={name}: it is not installed; pip install 'caelab[{name}]'")
            try:
                logger = instantiate(node, f"logger.{name}")
                getattr(logger, "experiment", None)  # W&B and TensorBoard connect on first use
                logger.log_hyperparams(job.config)
                loggers.append(logger)
            except UserError:
                raise
            except Exception as error:  # a logger must never cost a run
                terminal.error(f"logger={name} did not start and is left out: {terminal.one_line(error)}")
    return loggers


def close(loggers: list[Logger], failed: bool) -> None:
    """End what the loggers opened, as failed or finished."""
    for logger in loggers:
        if hasattr(logger, "close"):
            logger.close(failed)
