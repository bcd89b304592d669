"""The runs of a sweep: launched one by one or side by side, waited for, kept and counted."""

import itertools
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf

from caelab import terminal
from caelab.config import machine
from caelab.errors import RunsFailed, UserError
from caelab.runs import results
from caelab.runs.outcome import Outcome, Status
from caelab.runs.record import Record
from caelab.runs.run_dir import held
from caelab.sweeps import launching
from caelab.sweeps.jobs import AT_ONCE, Answer, answer

_POLL = 1.0  # seconds between looks at a run that another process trains

Job = Sequence[str]


class Sweep:
    """What has become of the runs of one sweep.

    Args:
        launcher: set up by Hydra; ``hydra.sweeper.max_batch_size`` in its config is how many jobs it is given
            at a time.

    Attributes:
        records: directory -> record of each run, finished or failed.
        index: fingerprint -> directory and record of the runs on disk, kept up to date.
        earlier: runs that were finished before.
        failed: runs that failed.
        total: runs there are to be.

    Raises:
        UserError: a batch of no job.
    """

    def __init__(self, launcher: Launcher) -> None:
        self.launcher = launcher
        config = launcher.config  # type: ignore[attr-defined]
        self._batch = OmegaConf.select(config, "hydra.sweeper.max_batch_size")
        if self._batch is not None and self._batch < 1:
            raise UserError(f"hydra.sweeper.max_batch_size={self._batch}: must be at least 1")
        self.records: dict[Path, Record] = {}
        self.index: dict[str, tuple[Path, Record]] = {}
        self.earlier = self.failed = self.total = 0
        self._launched = 0
        self._seconds: list[float] = []

    @property
    def _alone(self) -> bool:
        # By name: Hydra executes its launcher's module once more than Python, so there are two such classes.
        return launching.chosen(self.launcher) == "basic"

    @property
    def at_once(self) -> int:
        """How many runs go on side by side."""
        if self._alone:
            return 1
        return machine.at_once(str(self.launcher.config.trainer.accelerator))  # type: ignore[attr-defined]

    def launch(self, jobs: Sequence[Job]) -> None:
        """Carry out jobs, and keep what they leave."""
        batch = self._batch or max(1, len(jobs))
        for first in range(0, len(jobs), batch):
            for _, left in self.answers(jobs[first : first + batch]):
                self._keep(Path(left.run_dir), left)

    def end(self) -> None:
        """Say how many runs failed.

        Raises:
            RunsFailed: at least one did.
        """
        if self.failed:
            terminal.error(f"{self.failed} of {self.total} runs failed")
            raise RunsFailed(self.records)

    def answers(self, jobs: Sequence[Job], quiet: bool = False) -> Iterator[tuple[int, Answer]]:
        """Carry out jobs, those that another process is training last.

        Args:
            jobs: overrides of each.
            quiet: whether what starts is said elsewhere.

        Yields:
            Position and answer of a job.
        """
        if not jobs:
            return
        _refuse_several_devices(jobs)
        busy: list[tuple[int, Path]] = []
        for number, left in enumerate(
            self._one_by_one(jobs, quiet) if self._alone else self._side_by_side(jobs)
        ):
            if left.outcome.status is Status.BUSY:
                busy.append((number, Path(left.run_dir)))
            else:
                yield number, left
        if busy:
            terminal.say(f"waiting for {len(busy)} runs that another process is training")
            while all(held(path) for _, path in busy):
                time.sleep(_POLL)
            for position, left in self.answers([jobs[number] for number, _ in busy], quiet):
                yield busy[position][0], left

    def _one_by_one(self, jobs: Sequence[Job], quiet: bool) -> Iterator[Answer]:
        for number, (job, name) in enumerate(zip(jobs, _names(jobs), strict=True)):
            if not quiet:
                self._progress(name, len(jobs) - number)
            began = time.monotonic()
            (returned,) = self.launcher.launch([job], initial_job_idx=self._launched)
            seconds = time.monotonic() - began
            self._launched += 1
            if seconds > AT_ONCE:
                self._seconds.append(seconds)
            try:
                outcome = returned.return_value
            except Exception as error:  # before caelab's own code, which catches its errors
                outcome = Outcome(Status.FAILED, reason=terminal.one_line(error))
            assert returned.cfg is not None
            assert returned.hydra_cfg is not None
            yield answer(outcome, returned.cfg, returned.hydra_cfg.hydra, seconds)

    def _side_by_side(self, jobs: Sequence[Job]) -> list[Answer]:
        done = len(self.records) - self.failed
        answers = launching.launch(self.launcher, jobs, self._launched, (done, self.failed))
        self._launched += len(jobs)
        return answers

    def _keep(self, path: Path, answer: Answer) -> None:
        """Keep what a job left."""
        left = None
        reason = answer.outcome.reason if answer.outcome.status is Status.FAILED else ""
        try:
            left = results.read(path)
        except UserError as damage:
            reason = reason or str(damage)
        if left is not None:
            self.index[left.fingerprint] = (path, left)
        if left is None or reason:
            known = {"choices": answer.choices, "config": answer.config, "seed": answer.config.get("seed")}
            self.fail(path, answer.overrides, str(reason), **known)
        else:
            self.records[path] = left

    def fail(self, path: Path, overrides: Job, reason: str, **more: Any) -> None:
        """Note a run that did not finish; it may have no record that could say so."""
        self.failed += 1
        self.records[path] = Record(status="failed", error=reason, overrides=list(overrides), **more)

    def _progress(self, name: str, left: int) -> None:
        """Say what starts, how far the sweep is, and how long it may take."""
        done = len(self.records) - self.failed
        line = f"[{done} done, {self.failed} failed, {left} to go"
        if self._seconds:
            line += f", {terminal.duration(left * sum(self._seconds) / len(self._seconds))} left"
        terminal.say(f"{line}] {name}")


@contextmanager
def group(name: str) -> Iterator[None]:
    """Name a sweep or study while it goes on, so that loggers can group its runs."""
    os.environ["CAELAB_SWEEP"] = name
    try:
        yield
    finally:
        del os.environ["CAELAB_SWEEP"]


def _refuse_several_devices(jobs: Sequence[Job]) -> None:
    """Refuse a run on several devices: each further process would start the whole sweep again."""
    for override in itertools.chain(*jobs):
        key, _, value = override.lstrip("+").partition("=")
        if key == "trainer.devices" and not re.fullmatch(r"1|\[\d+\]", value):
            raise UserError(
                f"{override}: a sweep trains each run on one device, since a process for a second one would "
                "start the whole sweep again; use trainer.devices=1, or leave out -m"
            )


def _names(jobs: Sequence[Job]) -> list[str]:
    """Name each job by the overrides that not all of them share."""
    shared = set.intersection(*(set(job) for job in jobs)) if len(jobs) > 1 else set()
    return [
        " ".join(one for one in job if one not in shared and not one.startswith("+hydra.")) for job in jobs
    ]
