"""Parallel launchers: what the screen says, and jobs that are lost."""

import threading

import pytest
from omegaconf import OmegaConf

from caelab import terminal
from caelab.errors import UserError
from caelab.runs.outcome import Outcome, Status
from caelab.sweeps import launching
from caelab.sweeps.jobs import Answer, Board


class Launcher:
    """A launcher whose jobs answer as a function says."""

    def __init__(self, folder, choice, behave):
        self.config = OmegaConf.create(
            {
                "hydra": {
                    "runtime": {"choices": {"hydra/launcher": choice}},
                    "sweep": {"dir": str(folder)},
                    "launcher": {},
                },
                "trainer": {"accelerator": "cpu"},
            }
        )
        self.behave = behave
        self.joblib = {}
        self.launched = []

    def launch(self, jobs, initial_job_idx):
        for number, job in enumerate(jobs, initial_job_idx):
            self.launched.append(number)
            self.task_function.board.start(number)
            self.behave(self.task_function.board, number, job, self.launched.count(number))


def _finish(board, number, job, seconds=0.0, reason=None):
    outcome = Outcome(Status.FAILED, reason=reason) if reason else Outcome(Status.DONE, 26.5)
    board.leave(number, Answer(f"/{number}", list(job), {}, {}, outcome, seconds))


JOBS = [["model=base", f"seed={seed}"] for seed in range(3)]


def test_a_job_that_dies_is_launched_once_more_and_the_others_are_not(tmp_path):
    def behave(board, number, job, times):
        if number == 11 and times == 1:
            raise RuntimeError("killed")
        _finish(board, number, job)

    launcher = Launcher(tmp_path, "submitit_local", behave)
    answers = launching.launch(launcher, JOBS, 10, (0, 0))
    assert [answer.run_dir for answer in answers] == ["/10", "/11", "/12"]
    assert sorted(launcher.launched) == [10, 11, 11, 12]
    assert not list(tmp_path.iterdir())


def test_a_pool_that_breaks_is_replaced_once(tmp_path):
    def behave(board, number, job, times):
        if number == 1 and times == 1:
            raise RuntimeError("the pool broke")
        _finish(board, number, job)

    launcher = Launcher(tmp_path, "joblib", behave)
    answers = launching.launch(launcher, JOBS, 0, (0, 0))
    assert [answer.run_dir for answer in answers] == ["/0", "/1", "/2"]
    assert launcher.launched == [0, 1, 0, 1, 2]


@pytest.mark.parametrize(
    ("state", "times"),
    [
        ("CANCELLED by 1000", 1),
        ("TIMEOUT", 1),
        ("PREEMPTED", 2),
        ("NODE_FAIL", 2),
        ("OUT_OF_MEMORY", 2),
        ("FAILED", 2),
    ],
)
def test_slurm_ends_a_job_for_good_where_its_owner_or_its_time_did(tmp_path, monkeypatch, state, times):
    def behave(board, number, job, _):
        if number == 1:  # as submitit tells it
            raise RuntimeError(
                f"Job 77 (task: 0) with path /x.pkl\nhas not produced any output (state: {state})\nError"
            )
        _finish(board, number, job)

    launcher = Launcher(tmp_path, "submitit_slurm", behave)
    monkeypatch.setattr(launching, "_lost", lambda launcher, job, reason: reason)
    answers = launching.launch(launcher, JOBS, 0, (0, 0))
    assert launcher.launched.count(1) == times
    word = state.split()[0]
    assert answers[1].startswith(f"SLURM ended its job as {word}; the same command goes on from its last")
    assert [answers[0].run_dir, answers[2].run_dir] == ["/0", "/2"]


def test_a_launcher_that_starts_nothing_is_told_at_once(tmp_path):
    launcher = Launcher(tmp_path, "submitit_slurm", None)

    def launch(jobs, initial_job_idx):
        launcher.launched.append(initial_job_idx)
        raise RuntimeError("no sbatch here")

    launcher.launch = launch
    many = [[f"seed={seed}"] for seed in range(1000)]
    launcher.config.hydra.launcher.array_parallelism = 3
    with pytest.raises(UserError, match="hydra/launcher=submitit_slurm started no run: no sbatch here"):
        launching.launch(launcher, many, 0, (0, 0))
    assert len(launcher.launched) <= 3


def test_a_mistake_in_a_job_stops_the_pool_with_its_own_message(tmp_path):
    def behave(*_):
        raise UserError("dataset.path: give a folder")

    with pytest.raises(UserError, match=r"dataset.path: give a folder"):
        launching.launch(Launcher(tmp_path, "joblib", behave), JOBS, 0, (0, 0))


def test_the_screen_says_what_ended_and_how_long_the_others_may_take(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(terminal, "say", said.append)
    clock = [0.0]
    monkeypatch.setattr(launching.time, "monotonic", lambda: clock[0])
    board = Board(tmp_path)
    watch = launching._Watch(board, [*JOBS, *JOBS], (2, 1))
    for number in (0, 1):
        board.start(number)
    watch._look()
    assert said == []
    clock[0] = 61.0
    watch._look()
    assert said.pop() == "[2 done, 1 failed, 6 to go, 2 running]"
    clock[0] = 90.0
    _finish(board, 0, JOBS[0], seconds=80)
    watch._look()
    # one run in 90 s, five to go
    assert said.pop() == "[3 done, 1 failed, 5 to go, 1 running, about 8 min left] seed=0 finished"
    _finish(board, 1, JOBS[1], reason="no")
    watch._look()
    assert said.pop() == "[3 done, 2 failed, 4 to go, 0 running, about 6 min left] seed=1 failed"
    for number in range(2, 6):
        _finish(board, number, JOBS[number % 3])
    over = threading.Event()
    over.set()
    watch.look(over)
    assert said[-1].startswith("[7 done, 2 failed, 0 to go] seed=2 finished; ")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["hydra/launcher=jobli"],
            "hydra/launcher=jobli: there is no such hydra/launcher; did you mean 'joblib'?",
        ),
        (
            ["hydra/launcher=ray", "hydra.launcher._target_=hydra_plugins.missing.RayLauncher"],
            "hydra/launcher=ray: its package is not installed; pip install 'caelab[ray]'",
        ),
        (
            ["hydra/launcher=submitit_local", "hydra.launcher._target_=hydra_plugins.missing.LocalLauncher"],
            "hydra/launcher=submitit_local: its package is not installed; pip install 'caelab[slurm]'",
        ),
        (
            ["hydra/launcher=joblib", "hydra.launcher.n_job=3"],
            "hydra.launcher.n_job: there is no such key; did you mean 'hydra.launcher.n_jobs'?",
        ),
        (
            ["hydra.launcher.n_jobs=3"],
            "hydra.launcher.n_jobs: the chosen hydra/launcher has no such key, only joblib",
        ),
        (
            ["hydra/launcher=joblib", "hydra.launcher.n_jobs=0"],
            "hydra/launcher=joblib started no run: n_jobs == 0 in Parallel has no meaning",
        ),
    ],
)
def test_a_mistake_in_the_launcher_is_one_line(train, words, line):
    answer = train("-m", *words)
    assert answer.status == 1
    assert answer.err == f"caelab: {line}\n"
