"""A job of a parallel sweep: its answer, its device, and what happens when its process is killed."""

import json
import os
import signal
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from caelab.runs.outcome import Outcome, Status
from caelab.sweeps import jobs
from caelab.sweeps.jobs import Answer, Board, Task, answer

SETTINGS = OmegaConf.create(
    {
        "runtime": {"output_dir": "/there", "choices": {"model": "base"}},
        "overrides": {"task": ["seed=3"]},
        "job": {"num": 7},
    }
)
CFG = OmegaConf.create({"seed": 3})


DONE = Outcome(Status.DONE, 26.5)


def test_an_answer_says_what_became_of_a_job():
    expected = Answer("/there", ["seed=3"], {"model": "base"}, {"seed": 3}, DONE, 2.5)
    assert answer(DONE, CFG, SETTINGS, 2.5) == expected


def test_a_board_keeps_answers_and_knows_who_has_started(tmp_path):
    board = Board(tmp_path)
    left = answer(Outcome(Status.PRUNED, reason="at epoch 2 of 3"), CFG, SETTINGS)
    for number in (1, 2):
        board.start(number)
    board.leave(2, left)
    assert board.numbers() == ({1, 2}, {2})
    assert board.read(2) == left
    assert board.read(1) is None
    assert json.loads((tmp_path / "2.json").read_text())["config"] == {"seed": 3}


def test_a_job_that_outlives_its_sweep_still_trains(tmp_path, carry_out):
    seen = []

    def training(cfg):
        for path in tmp_path.iterdir():
            path.unlink()
        tmp_path.rmdir()
        seen.append(cfg)

    assert carry_out(training) is None
    assert seen == [CFG]


def test_the_lowest_free_slot_is_taken(tmp_path):
    with ExitStack() as first:
        assert first.enter_context(jobs._slot(tmp_path)) == 0
        with jobs._slot(tmp_path) as second:
            assert second == 1
        with jobs._slot(tmp_path) as third:
            assert third == 1
    with jobs._slot(tmp_path) as fourth:
        assert fourth == 0


@pytest.fixture
def carry_out(tmp_path, monkeypatch):
    """Carry out a job whose training is a function; return its answer."""
    monkeypatch.setattr(jobs, "HydraConfig", SimpleNamespace(get=lambda: SETTINGS))
    for key in ("CUDA_VISIBLE_DEVICES", "CAELAB_SWEEP"):
        monkeypatch.setenv(key, "none")

    def call(training, **options):
        monkeypatch.setattr(jobs, "attempt", lambda cfg: training(cfg) or DONE)
        Task(tmp_path, "a-sweep", **options)(CFG)
        return Board(tmp_path).read(7)

    return call


def test_jobs_at_the_same_time_train_on_devices_in_turn(tmp_path, carry_out):
    seen = []

    def training(cfg):
        seen.append((os.environ["CUDA_VISIBLE_DEVICES"], os.environ["CAELAB_SWEEP"]))

    with ExitStack() as others:
        for _ in range(4):
            carry_out(training, devices=["5", "6", "7"])
            (tmp_path / "7.json").unlink()
            others.enter_context(jobs._slot(tmp_path))
    assert seen == [(device, "a-sweep") for device in ("5", "6", "7", "5")]


def test_a_job_without_devices_takes_what_the_scheduler_gave(carry_out):
    seen = []
    carry_out(lambda cfg: seen.append(os.environ["CUDA_VISIBLE_DEVICES"]))
    assert seen == ["none"]


def test_a_job_of_a_pool_trains_in_a_process_of_its_own(tmp_path, carry_out):
    def training(cfg):
        (tmp_path / "trained-by").write_text(str(os.getpid()))
        return Outcome(Status.FAILED, reason="what went wrong")

    assert carry_out(training, pool=True, devices=["0"]).outcome.reason == "what went wrong"
    assert int((tmp_path / "trained-by").read_text()) != os.getpid()


def test_a_killed_job_of_a_pool_is_tried_once_more(tmp_path, carry_out, capsys):
    def dies_once(cfg):
        (tmp_path / f"try-{os.getpid()}").touch()
        if len(list(tmp_path.glob("try-*"))) == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    assert carry_out(dies_once, pool=True, devices=["0"]).outcome == DONE
    assert len(list(tmp_path.glob("try-*"))) == 2
    assert capsys.readouterr().err == ""


def test_a_job_of_a_pool_that_dies_twice_is_told(carry_out, capsys):
    found = carry_out(lambda cfg: os.kill(os.getpid(), signal.SIGKILL), pool=True, devices=["0"])
    reason = "its process was killed by SIGKILL 2 times; the same command goes on"
    assert found.outcome.reason.startswith(reason)
    assert capsys.readouterr().err.startswith("caelab: seed=3: its process was killed by SIGKILL 2 times")
    assert found.outcome.status is Status.FAILED
    assert found.run_dir == "/there"


def test_a_job_that_comes_again_with_its_pool_is_not_carried_out_again(carry_out):
    seen = []
    for _ in range(2):
        carry_out(seen.append)
    assert seen == [CFG]
