"""A run as a command carries it out: taken where it is finished, and stopped so that it can go on.

Light on purpose: a finished run answers before torch is imported.
"""

import gc
import os
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from caelab import terminal
from caelab.composition import compose
from caelab.config import explain
from caelab.config.job import Job
from caelab.errors import PrunedError
from caelab.runs import results
from caelab.runs.outcome import Outcome, Status
from caelab.runs.record import Complete
from caelab.runs.run_dir import BusyError, drop, tidy
from caelab.training.trial import TRIAL


def attempt(cfg: DictConfig) -> Outcome:
    """Carry out a job of a sweep; a failure is told and returned, and the next job goes on."""
    try:
        record = train(compose.job(cfg))
        return Outcome(Status.DONE, record.metrics[record.select])
    except PrunedError as end:
        return Outcome(Status.PRUNED, reason=str(end))
    except BusyError as error:
        return Outcome(Status.BUSY, reason=str(error))
    except Exception as error:
        line = explain.line(error)
        if line is None:
            terminal.errors.print(traceback.format_exc(), markup=False, highlight=False)
            line = f"{type(error).__name__}: {error}"
        terminal.error(f"{' '.join(HydraConfig.get().overrides.task)}: {line}")
        traceback.clear_frames(error.__traceback__)  # else the failed job's network stays in memory
        return Outcome(Status.FAILED, reason=line)
    finally:
        gc.collect()  # a Trainer is full of cycles


def train(job: Job) -> Complete:
    """Carry out a run, or take its finished record.

    Raises:
        UserError: a mistake or condition that the user can mend.
    """
    again = job.config["force"]
    record = None if again else results.settled(job.run_dir, job.identity, trial=TRIAL in os.environ)
    if record:
        tidy(job.run_dir)
        drop(job.run_dir, record)  # which a kill may have kept from it
        terminal.say(f"finished before, taken from {terminal.shown(job.run_dir)} (force=true runs it again)")
        return record
    from caelab.training.run import run

    return run(job)


def stop(signum: int, _frame: FrameType | None) -> NoReturn:
    """End what goes on, as a signal's handler: exit status 128 + its number."""
    # SystemExit, since Lightning turns KeyboardInterrupt into status 1 and a caught SIGTERM into status 0.
    raise SystemExit(128 + signum)


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM and SIGINT end what a command does, and say how it goes on."""
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    except SystemExit as ended:
        if ended.code in (128 + signal.SIGTERM, 128 + signal.SIGINT):
            terminal.error("stopped; the same command goes on from the last finished epoch")
        raise
