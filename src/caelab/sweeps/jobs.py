"""A job of a parallel sweep: what it does in its own process, and the answer that it leaves behind.

Imports nothing heavy: the process that waits for a job needs no torch.
"""

import itertools
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from caelab import durable, terminal
from caelab.composition import compose
from caelab.config import folders
from caelab.runs.outcome import Outcome, Status
from caelab.runs.record import RECORD
from caelab.training.attempt import attempt

compose.register_resolvers()  # a process that unpickles a job imports this module and nothing before it

ATTEMPTS = 2  # of a job whose process is killed; each goes on from its last finished epoch
AT_ONCE = 1.0  # seconds below which a job cannot have trained, so says nothing of how long one takes
_POLL = 1.0  # seconds between looks at whether a sweep is still there


@dataclass(frozen=True)
class Answer:
    """What a job leaves behind.

    Attributes:
        run_dir: absolute directory of its run.
        overrides: of the job.
        choices: option chosen in each group.
        config: of the run, resolved, without its loggers; empty where that cannot be.
        outcome: how it ended.
        seconds: that the job took.
    """

    run_dir: str
    overrides: list[str]
    choices: dict[str, Any]
    config: dict[str, Any]
    outcome: Outcome
    seconds: float = 0.0


def answer(outcome: Outcome, cfg: DictConfig, settings: Any, seconds: float = 0.0) -> Answer:
    """Return what a job leaves behind.

    Args:
        outcome: how it ended.
        cfg: its config.
        settings: Hydra's part of the config.
        seconds: that it took.
    """
    return Answer(
        str(settings.runtime.output_dir),
        list(settings.overrides.task),
        dict(settings.runtime.choices),
        compose.without_loggers(cfg),
        outcome,
        seconds,
    )


class Board:
    """A folder in which the jobs of one sweep leave their answers, also where the launcher loses them.

    Args:
        folder: existing directory, which all of the jobs' machines see.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, number: int) -> None:
        """Note that the job of that number has started."""
        with suppress(FileNotFoundError):  # the sweep is over, and left its jobs to a cluster
            (self.folder / f"{number}.started").touch()

    def leave(self, number: int, answer: Answer) -> None:
        """Leave the answer of a job: whole or not at all."""
        with suppress(FileNotFoundError):
            durable.write(self.folder / f"{number}.json", json.dumps(asdict(answer)))

    def read(self, number: int) -> Answer | None:
        """Return the answer of a job; None where it has left none."""
        try:
            left = json.loads((self.folder / f"{number}.json").read_text())
        except FileNotFoundError:
            return None
        outcome = left["outcome"]
        return Answer(**left | {"outcome": Outcome(**outcome | {"status": Status(outcome["status"])})})

    def numbers(self) -> tuple[set[int], set[int]]:
        """Return the numbers of the jobs that have started, and of those that have left an answer."""
        found: dict[str, set[int]] = {"started": set(), "json": set()}
        for name in os.listdir(self.folder):
            number, _, kind = name.rpartition(".")
            if kind in found:
                found[kind].add(int(number))
        return found["started"] | found["json"], found["json"]


class Task:
    """The task that a parallel launcher carries out, in place of the command line's own.

    Args:
        board: folder of the sweep's board.
        sweep: name of the sweep, for loggers.
        devices: CUDA devices that the jobs share, each job on one of them; empty: as the scheduler says.
        here: whether the jobs run on the machine of the sweep, and are to end with it.
        pool: whether jobs come one after another to the processes of a pool, whose death would take other
            jobs with it. Each job is then forked off, and tried again if it is killed.
    """

    def __init__(
        self,
        board: Path,
        sweep: str | None,
        devices: Sequence[str] = (),
        here: bool = False,
        pool: bool = False,
    ) -> None:
        self.board = Board(board)
        self.sweep, self.devices, self.here, self.pool = sweep, devices, here, pool
        self.owner = os.getpid()
        self.folders, self.start = os.environ.get(folders.PASSED_ON, ""), os.getcwd()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrive in the process of a launcher, before Hydra composes the job there."""
        self.__dict__.update(state)
        os.environ[folders.PASSED_ON] = self.folders
        if self.start not in sys.path:
            sys.path.insert(0, self.start)

    def __call__(self, cfg: DictConfig) -> None:
        """Carry out the job, and leave its answer on the board."""
        settings = HydraConfig.get()
        number = int(settings.job.num)
        if self.board.read(number):  # the pool broke, and all of its jobs come again
            return
        (self._apart if self.pool else self._carry_out)(number, cfg, settings)

    def _apart(self, number: int, cfg: DictConfig, settings: Any) -> None:
        fresh = not Path(settings.runtime.output_dir, RECORD).exists()
        if fresh and sys.platform == "linux" and not self.devices:  # with CUDA a fork might inherit its state
            import caelab.training.run  # noqa: F401  # once for all of this process's jobs: it takes seconds
        for _ in range(ATTEMPTS):
            process = multiprocessing.get_context("fork").Process(
                target=self._carry_out, args=(number, cfg, settings)
            )
            with warnings.catch_warnings():  # of a fork beside threads; here they compute nothing
                warnings.simplefilter("ignore", DeprecationWarning)
                process.start()
            process.join()
            if self.board.read(number):
                return
        reason = f"its process was {_death(process.exitcode or 0)} {ATTEMPTS} times{MEND}"
        terminal.error(f"{' '.join(settings.overrides.task)}: {reason}")
        self.board.leave(number, answer(Outcome(Status.FAILED, reason=reason), cfg, settings))

    def _carry_out(self, number: int, cfg: DictConfig, settings: Any) -> None:
        self.board.start(number)
        if self.here:
            end_with(self.owner)
            os.environ.setdefault("OMP_NUM_THREADS", "1")
        if self.sweep:
            os.environ["CAELAB_SWEEP"] = self.sweep
        began = time.monotonic()
        with _slot(self.board.folder) if self.devices else nullcontext(0) as slot, _quiet():
            if self.devices:
                os.environ["CUDA_VISIBLE_DEVICES"] = self.devices[slot % len(self.devices)]
            outcome = attempt(cfg)
        self.board.leave(number, answer(outcome, cfg, settings, time.monotonic() - began))


MEND = "; the same command goes on from its last finished epoch (too little memory? run fewer at once)"


def _death(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"stopped with exit status {code}"


def end_with(sweep: int) -> None:
    """Let this process end as soon as its parent or the sweep is gone: nothing trains or waits unseen."""
    threading.Thread(target=_watch, args=(os.getppid(), sweep), daemon=True).start()


def _watch(parent: int, sweep: int) -> None:
    while os.getppid() == parent and _alive(sweep):
        time.sleep(_POLL)
    os._exit(1)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def _slot(folder: Path) -> Iterator[int]:
    """Hold the lowest number that no other job of the sweep holds on this machine; the dead hold none."""
    for number in itertools.count():
        lock = FileLock(folder / f"slot-{os.uname().nodename}-{number}", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            continue
        try:
            yield number
        finally:
            lock.release()
        return


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep a job's own lines off the screen, where those of several would mix; mistakes still show."""
    terminal.console.quiet = True
    try:
        yield
    finally:
        terminal.console.quiet = False
