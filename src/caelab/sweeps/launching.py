"""Parallel launchers: which jobs on which devices, how far they are, and what is left of each."""

import os
import re
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, open_dict

from caelab import compat, terminal
from caelab.config import explain
from caelab.config.machine import at_once, devices
from caelab.errors import UserError
from caelab.limits import share
from caelab.runs.outcome import Outcome, Status
from caelab.runs.run_dir import locked
from caelab.sweeps.jobs import AT_ONCE, ATTEMPTS, MEND, Answer, Board, Task, answer, end_with

BOARD = ".sweep-"
"""How the name of a board begins; its lock is held while its sweep goes on."""
_IN_QUEUE = 256  # jobs given to a cluster's scheduler at a time; a thread here waits for each
_HERE = ("joblib", "submitit_local")  # launchers whose jobs run on this machine
_POLL = 1.0  # seconds between looks at the board
_SILENCE = 60.0  # seconds after which a line says that the sweep is alive, though no run has ended
# How SLURM ends a job through no will of its owner's; FAILED without an answer: its process was killed.
_AGAIN = ("", "PREEMPTED", "NODE_FAIL", "OUT_OF_MEMORY", "FAILED")
_STATES = {Status.DONE: "finished", Status.BUSY: "busy elsewhere", Status.FAILED: "failed"}
_FEW = 4  # runs whose end is told in a line each

Jobs = Sequence[Sequence[str]]


def launch(launcher: Launcher, jobs: Jobs, first: int, before: tuple[int, int]) -> list[Answer]:
    """Carry out jobs side by side, and show how far they are.

    A job whose process is killed is launched once more, and costs no other job its result.

    Args:
        launcher: a plugin's, set up by Hydra.
        jobs: overrides of each job.
        first: number of the first.
        before: how many runs of the sweep were done, and had failed, before.

    Returns:
        One answer a job.

    Raises:
        UserError: the launcher cannot start any.
    """
    settings = launcher.config  # type: ignore[attr-defined]
    choice = chosen(launcher)
    folder = Path(settings.hydra.sweep.dir).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if choice in _HERE and (line := share()[1]):
        terminal.say(line)
    board = Board(Path(tempfile.mkdtemp(prefix=BOARD, dir=folder)))
    try:
        launcher.task_function = _task(board, choice, settings)  # type: ignore[attr-defined]
        with locked(board.folder), _watched(board, jobs, before):
            reasons = (_pool if choice == "joblib" else _each)(launcher, jobs, first, board)
        return [
            board.read(number) or _lost(launcher, job, reasons.get(number, "it left no answer"))
            for number, job in enumerate(jobs, first)
        ]
    finally:
        shutil.rmtree(board.folder, ignore_errors=True)


def _task(board: Board, choice: str, settings: DictConfig) -> Task:
    sweep = os.environ.get("CAELAB_SWEEP")
    if choice not in _HERE:
        return Task(board.folder, sweep)
    shared = devices(str(settings.trainer.accelerator))
    return Task(board.folder, sweep, shared, here=True, pool=choice == "joblib")


def _pool(launcher: Launcher, jobs: Jobs, first: int, board: Board) -> dict[int, str]:
    """Give all jobs to a pool of processes, replaced once if it breaks. Return why a job left no answer."""
    numbers = range(first, first + len(jobs))
    launcher.joblib |= {"initializer": end_with, "initargs": (os.getpid(),)}  # type: ignore[attr-defined]
    os.environ.setdefault("LOKY_MAX_CPU_COUNT", str(share()[0]))  # which its workers share as threads
    reason = ""
    for _ in range(ATTEMPTS):
        try:
            launcher.launch(jobs, initial_job_idx=first)
        except Exception as error:
            if explain.line(error):
                raise
            if not board.numbers()[0]:
                raise _started_none("joblib", error) from error
            reason = f"{type(error).__name__}: {terminal.one_line(error)}{MEND}"
        if all(board.read(number) for number in numbers):
            break
    return dict.fromkeys(numbers, reason)


def _each(launcher: Launcher, jobs: Jobs, first: int, board: Board) -> dict[int, str]:
    """Launch every job by itself, a killed one once more. Return why a job left no answer.

    Launched as one, they would end with the first that is killed, and the results of the others were lost.
    """
    choice = chosen(launcher)
    if choice == "ray":
        compat.start_ray(launcher.ray_cfg.init)  # type: ignore[attr-defined]  # not by several threads at once
    todo = deque(enumerate(jobs, first))
    reasons: dict[int, str] = {}
    broken: list[Exception] = []

    def work() -> None:
        while not broken:
            try:
                number, job = todo.popleft()
            except IndexError:
                return
            for _ in range(ATTEMPTS):
                state = ""
                try:
                    launcher.launch([job], initial_job_idx=number)
                except Exception as error:
                    reasons[number] = f"{type(error).__name__}: {terminal.one_line(error)}{MEND}"
                    state = _state(error) if choice == "submitit_slurm" else ""
                    if state:
                        reasons[number] = f"SLURM ended its job as {state}{MEND}"
                    elif not board.numbers()[0]:
                        broken.append(error)
                if broken or board.read(number) or state not in _AGAIN:
                    break

    workers = [threading.Thread(target=work, daemon=True) for _ in range(_in_flight(launcher, len(jobs)))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if broken:
        raise _started_none(choice, broken[0])
    return reasons


def _state(error: Exception) -> str:
    """State in which SLURM ended a job that left no answer, as submitit tells it; empty where it does not."""
    state = re.search(r"has not produced any output \(state: ([A-Z_]+)", str(error))
    return state[1] if state else ""


def _started_none(choice: str, error: Exception) -> UserError:
    return UserError(f"hydra/launcher={choice} started no run: {terminal.one_line(error)}")


@contextmanager
def installed(config: DictConfig) -> Iterator[None]:
    """Turn what a launcher whose package is missing raises into one line.

    Args:
        config: with Hydra's part, which chooses the launcher.

    Raises:
        UserError: the line.
    """
    try:
        yield
    except (ImportError, RuntimeError) as error:
        choice = str(config.hydra.runtime.choices["hydra/launcher"])
        extra = "slurm" if choice.startswith("submitit") else choice
        raise UserError(
            f"hydra/launcher={choice}: its package is not installed; pip install 'caelab[{extra}]'"
        ) from error


def chosen(launcher: Launcher) -> str:
    """Option of the group ``hydra/launcher``."""
    return str(launcher.config.hydra.runtime.choices["hydra/launcher"])  # type: ignore[attr-defined]


def _in_flight(launcher: Launcher, jobs: int) -> int:
    settings = launcher.config  # type: ignore[attr-defined]
    if chosen(launcher) in _HERE:
        return min(jobs, at_once(str(settings.trainer.accelerator)))
    return min(jobs, int(settings.hydra.launcher.get("array_parallelism", _IN_QUEUE)))


def _lost(launcher: Launcher, overrides: Sequence[str], reason: str) -> Answer:
    """Answer for a job that could not."""
    context, settings = launcher.hydra_context, launcher.config  # type: ignore[attr-defined]
    cfg = context.config_loader.load_sweep_config(settings, list(overrides))
    with open_dict(cfg):
        cfg.hydra.runtime.output_dir = str(Path(cfg.hydra.sweep.dir, cfg.hydra.sweep.subdir).absolute())
    terminal.error(f"{' '.join(overrides)}: {reason}")
    return answer(Outcome(Status.FAILED, reason=reason), cfg, cfg.hydra)


@contextmanager
def _watched(board: Board, jobs: Jobs, before: tuple[int, int]) -> Iterator[None]:
    """Say how far the jobs are whenever one has ended, and every minute, until the block ends."""
    over = threading.Event()
    watch = threading.Thread(target=_Watch(board, jobs, before).look, args=(over,), daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()


class _Watch:
    def __init__(self, board: Board, jobs: Jobs, before: tuple[int, int]) -> None:
        self.board, self.jobs = board, len(jobs)
        self.shared = set.intersection(*(set(job) for job in jobs)) if len(jobs) > 1 else set()
        self.done, self.failed = before
        self.seen: set[int] = set()
        self.trained = 0
        self.began = self.told = time.monotonic()

    def look(self, over: threading.Event) -> None:
        terminal.say(
            f"[{self.done} done, {self.failed} failed, {self.jobs} to go] {self.jobs} runs, side by side"
        )
        while not over.wait(_POLL):
            self._look()
        self._look()

    def _look(self) -> None:
        started, ended = self.board.numbers()
        fresh = sorted(ended - self.seen)
        self.seen |= ended
        lines = []
        for found in map(self.board.read, fresh):
            assert found is not None
            status = found.outcome.status
            self.done += status in (Status.DONE, Status.PRUNED)
            self.failed += status is Status.FAILED
            self.trained += found.seconds > AT_ONCE
            words = [o for o in found.overrides if o not in self.shared]
            lines.append(" ".join([*words, _STATES.get(status) or found.outcome.reason]))
        if lines or time.monotonic() - self.told > _SILENCE:
            self.told = time.monotonic()
            self._say(len(started - ended), lines if len(lines) <= _FEW else [f"{len(lines)} runs ended"])

    def _say(self, running: int, lines: Sequence[str]) -> None:
        left = self.jobs - len(self.seen)
        text = f"[{self.done} done, {self.failed} failed, {left} to go"
        if left:
            text += f", {running} running"
            if self.trained:
                seconds = left * (time.monotonic() - self.began) / self.trained
                text += f", {terminal.duration(seconds)} left"
        terminal.say(f"{text}] {'; '.join(lines)}".rstrip())
