"""Weights & Biases with an explicit mode, one id for all parts of a run, and one row an epoch."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from lightning.pytorch.loggers import WandbLogger

from caelab import durable, terminal

ID = "wandb/id"
"""Where W&B's id of a run lies in its directory: its parts, before and after a kill, share it."""

_MODES = {
    "online": "online",
    "offline": "offline",
    "disabled": "disabled",
    "shared": "shared",
    "run": "online",  # as W&B called two of them before
    "dryrun": "offline",
}
_WORD, _NAME = 64, 128  # the longest that W&B takes: of a job type or tag, and of a run's name or group
_BYPASSES = "bypasses latent"
"""Tag of a run whose picture goes around its latent."""


class WandB(WandbLogger):
    """Weights & Biases with an explicit mode.

    What is longer than W&B takes is shortened, with a hash; its config, ``variant``, holds all of it. A run
    that goes on from its checkpoint has the same id in W&B, also offline, where ``wandb sync`` joins the
    parts. Each epoch is one step there, with the pictures that were taken in it.

    Args:
        save_dir: directory of the run. W&B writes below it, or below the environment's ``WANDB_DIR``.
        mode: ``auto`` is online if an API key is configured, else offline with one line that says so.
        project: where the run appears.
        entity: whose project that is; None is the user's own.
        name: of the run.
        group: what the runs of a sweep share; None for a run alone.
        job_type: what runs that differ in their seed share.
        tags: words to filter runs by, to which those of ``WANDB_TAGS`` are added.
        artifact: whether the best checkpoint goes along.
        run_id: of the run in W&B; None is that of its earlier parts, or a new one.

    Raises:
        ValueError: an unknown mode.
    """

    def __init__(
        self,
        save_dir: str,
        mode: str = "auto",
        project: str = "caelab",
        entity: str | None = None,
        name: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
        tags: Sequence[str] = (),
        artifact: bool = False,
        run_id: str | None = None,
    ) -> None:
        place = os.environ.get("WANDB_DIR") or save_dir
        mode = _mode(mode or "auto", place)
        import wandb

        silence = float(os.environ.get("WANDB_INIT_TIMEOUT", 30))  # seconds of a dead server
        more = os.environ.get("WANDB_TAGS", "").split(",")
        super().__init__(
            save_dir=place,
            mode=mode,
            project=project,
            entity=entity,
            name=_short(name, _NAME),
            group=_short(group, _NAME),
            job_type=_short(job_type, _WORD),
            tags=[_short(tag, _WORD) for tag in dict.fromkeys([*tags, *filter(None, more)])],
            settings=wandb.Settings(init_timeout=silence),
            version=None
            if mode == "disabled"
            else run_id or os.environ.get("WANDB_RUN_ID") or _id(Path(save_dir)),
        )
        self._wandb_init.pop("anonymous")  # which W&B has given up, and warns of
        self._artifact = artifact
        self._row: dict[str, Any] = {}

    @property
    def experiment(self) -> Any:
        """W&B's run, whose charts have epochs on their x axis."""
        fresh = self._experiment is None
        run = super().experiment
        if fresh:
            run.define_metric("epoch")
            run.define_metric("*", step_metric="epoch")
        return run

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Collect what belongs to an epoch, and send it as one step once its figures are there."""
        if metrics.keys() <= {"epoch"}:
            return
        self._row |= metrics
        if "epoch" in metrics:
            super().log_metrics(self._row, step)
            self._row = {}

    def log_table(
        self,
        key: str,
        columns: list[str] | None = None,
        data: list[list[Any]] | None = None,
        dataframe: Any = None,
        step: int | None = None,
    ) -> None:
        """Log a table; a cell may be a picture (H, W, C) in [0, 255]."""
        import wandb

        if data is not None:
            data = [[wandb.Image(x) if isinstance(x, np.ndarray) else x for x in row] for row in data]
        super().log_table(key, columns, data, dataframe, step)

    def conclude(self, summary: Mapping[str, Any], best: Path) -> None:
        """Fill the run's summary, mark the run where it bypasses its latent, and add its checkpoint.

        Args:
            summary: of the run.
            best: its checkpoint, which is added if that was asked for.
        """
        import wandb

        self._flush()
        run = self.experiment
        run.summary.update(dict(summary))
        if summary.get("bypassing"):
            run.tags = (*(run.tags or ()), _BYPASSES)
        if self._artifact and best.is_file():
            artifact = wandb.Artifact(f"model-{run.id}", type="model", metadata=dict(summary))
            artifact.add_file(str(best), name=best.name)
            run.log_artifact(artifact)

    def _flush(self) -> None:
        if self._row:
            self.experiment.log(self._row)
            self._row = {}

    def close(self, failed: bool) -> None:
        """End the W&B run, marked as failed or finished; the next job of a sweep gets its own."""
        self._flush()
        self.experiment.finish(exit_code=int(failed))


def _mode(mode: str, place: str) -> str:
    """Return one of W&B's modes, and say where runs go that are not sent."""
    if mode not in ("auto", *_MODES):
        raise ValueError(f"mode={mode}: must be auto, online, offline or disabled")
    if mode not in ("online", "run"):  # else its service asks for a host that error reports go to
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    if mode != "auto":
        return _MODES[mode]
    if key_configured():
        return "online"
    terminal.say(f"W&B: no API key, so logged offline; to upload: wandb sync {place}/wandb/*run*")
    return "offline"


def key_configured() -> bool:
    """Whether W&B has a key to log in with, in the environment or in the user's netrc."""
    import wandb

    return bool(wandb.login(prompt=False, verify=False))


def _id(run_dir: Path) -> str:
    """W&B's id of the run in that directory: as before where it goes on from its checkpoint, else a new one.

    A run that starts anew, as with ``force=true``, is another one there.
    """
    from wandb.sdk.lib.runid import generate_id

    file = run_dir / ID
    if file.exists() and (run_dir / "checkpoints" / "last.ckpt").exists():
        return file.read_text()
    file.parent.mkdir(parents=True, exist_ok=True)
    durable.write(file, generate_id())
    return file.read_text()


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
