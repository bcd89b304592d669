"""``caelab study``: its words, its end, and the sweep that hands over to it."""

import signal
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from caelab.cli import study
from caelab.errors import RunsFailed, UserError
from caelab.studies import execute
from caelab.train import main


@pytest.fixture
def command():
    app = typer.Typer(pretty_exceptions_enable=False)
    study.add(app)
    return lambda *words: CliRunner().invoke(app, words)


@pytest.fixture
def carried_out(monkeypatch):
    """Calls of what carries studies out, which here have nothing to do."""
    calls = []

    class Nothing:
        studies = ()
        output = Path("multirun")

        def end(self):
            """Nothing failed."""

    monkeypatch.setattr(execute, "carry_out", lambda *args: calls.append(args[:4]) or Nothing())
    return calls


def test_names_stand_without_an_equals_sign(command, carried_out):
    assert command("table1", "dataset=mnist", "table2", "--seeds", "5", "~ema").exit_code == 0
    assert command("all", "--budget", "quick").exit_code == 0
    assert carried_out == [
        (["table1", "table2"], "full", "5", ["dataset=mnist", "~ema"]),
        (["all"], "quick", None, []),
    ]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["tabel1"], "study=tabel1: there is no such study; did you mean 'table1'?"),
        (["table1", "--budget", "quik"], "budget=quik: there is no such budget; did you mean 'quick'?"),
        (["table1", "--seeds", "x"], "seeds=x: must be a whole number, 1 or more"),
        (["table1", "seeds=5"], "seeds=5: an option of a study, as in caelab study table2 --seeds 5"),
        (["dataset=mnist"], "name a study: all, ablation, activation"),
    ],
)
def test_a_mistake_is_one_line(command, words, line):
    mistake = command(*words).exception
    assert isinstance(mistake, UserError)
    assert str(mistake).startswith(line)
    assert "\n" not in str(mistake)


def test_a_sweep_hands_its_study_over_and_names_the_command(train, carried_out):
    answer = train(
        "--multirun", "study=table1,table2", "seeds=5", "dataset=mnist", "budget=quick", tiny=False
    )
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.splitlines() == [
        "the same as: caelab study table1 table2 --seeds 5 --budget quick dataset=mnist",
        "next: caelab report table1 table2 --budget quick --seeds 5 dataset=mnist",
    ]
    assert carried_out == [(["table1", "table2"], "quick", "5", ["dataset=mnist"])]
    flag = train("-m", "--seeds", "5", "study=table1", tiny=False)
    assert (
        flag.err == "caelab: --seeds: not an option here; a study takes seeds=5, budget=quick and KEY=VALUE\n"
    )
    assert len(carried_out) == 1


def test_the_same_command_has_the_same_folders(carried_out, call_main, tmp_path):
    words = ("-m", "--config-dir", tmp_path, "study=table1", "seeds=5")
    line = f"the same as: caelab study table1 --config-dir {tmp_path} --seeds 5\n"
    assert call_main(main, *words)[1].startswith(line)


def test_a_failed_run_is_the_status_of_the_command(command, carried_out, monkeypatch):
    def failed(self):
        raise RunsFailed({})

    monkeypatch.setattr(type(execute.carry_out()), "end", failed)
    assert command("table1").exit_code == 1


def test_a_signal_ends_it_with_its_status_and_says_how_it_goes_on(command, monkeypatch):
    monkeypatch.setattr(execute, "carry_out", lambda *args: signal.raise_signal(signal.SIGTERM))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    answer = command("table1")
    assert answer.exit_code == 128 + signal.SIGTERM
    assert "stopped; the same command goes on from the last finished epoch" in answer.stderr
    for number, handler in handlers.items():
        signal.signal(number, handler)
