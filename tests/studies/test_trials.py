"""Searches: what is proposed, counted and pruned, however many processes take part and whichever dies."""

import json
import math
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from searching import a_search, finish, height
from test_api import SMALL
from toys import typed

import caelab
from caelab import compat, config, studies
from caelab.errors import UserError
from caelab.report import measure
from caelab.runs import records
from caelab.runs.outcome import Outcome, Status
from caelab.runs.record import SearchRecord, TrialRecord, save
from caelab.studies import execute
from caelab.studies.index import score
from caelab.studies.trials import Trials
from caelab.sweeps.jobs import Answer
from caelab.training import pruning
from caelab.training.callbacks import Pruning
from caelab.training.pruning import attach
from caelab.training.trial import TRIAL


def carry_out(output, folder, stop_at=None):
    """Carry out a search, or leave it when a trial of that number has started; return its points."""
    points = {}
    with Trials(a_search(), output) as trials:
        while asked := trials.ask():
            (one,) = asked
            points[one.number] = one.point
            if one.number == stop_at:
                return points
            finish(trials, one, folder)
        return points | {"found": trials.close()}


def test_a_trial_that_died_between_two_draws_gets_the_numbers_that_it_would_have(tmp_path, monkeypatch):
    with Trials(a_search(), tmp_path / "whole") as trials:
        (whole,) = trials.ask()
    real, drawn = compat.suggest, []

    def dies(trial, key, distribution):
        if drawn:
            raise KeyboardInterrupt
        drawn.append(real(trial, key, distribution))

    with monkeypatch.context() as killed, Trials(a_search(), tmp_path / "broken") as trials:
        killed.setattr(compat, "suggest", dies)
        with pytest.raises(KeyboardInterrupt):
            trials.ask()
    with Trials(a_search(), tmp_path / "broken") as trials:
        (taken,) = trials.ask()
    assert (taken.number, taken.point) == (0, whole.point)


def test_what_was_left_is_carried_out_before_anything_new_is_drawn(tmp_path):
    with Trials(a_search(), tmp_path) as trials:
        trials.ask(3)
    with Trials(a_search(), tmp_path) as trials:
        finish(trials, trials.ask(1)[0], tmp_path)
    with Trials(a_search(), tmp_path) as trials:
        assert [one.number for one in trials.ask(3)] == [1, 2]


def test_an_abandoned_trial_is_taken_up_and_nothing_else_changes(tmp_path):
    whole = carry_out(tmp_path / "whole", tmp_path)
    assert carry_out(tmp_path / "broken", tmp_path, stop_at=3)[3] == whole[3]
    broken = carry_out(tmp_path / "broken", tmp_path)
    assert list(broken) == [3, 4, 5, 6, 7, "found"]
    assert broken["found"].history == whole["found"].history
    assert [trial.number for trial in whole["found"].history] == list(range(8))
    best = max(range(8), key=lambda number: height(whole[number]))
    assert whole["found"].best == {"number": best, "point": whole[best], "value": height(whole[best])}
    assert sum(whole["found"].importance.values()) == pytest.approx(1)
    for number in range(8):
        assert 1e-5 <= whole[number]["optimizer.lr"] <= 1e-1
        assert whole[number]["model.channels"] in ([4], [4, 8])
    assert records.searches(tmp_path / "whole") == {
        whole["found"].name: whole["found"],
    }


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not list what is open")
def test_no_connection_to_the_database_stays_open(tmp_path):
    with Trials(a_search(2), tmp_path) as trials:
        (one,) = trials.ask()
        reports(one, [10])
        links = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
        assert (trials.folder / "trials.sqlite3").exists()
        assert not [link for link in links if link.name == "trials.sqlite3"]


WORKER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from caelab.studies.trials import Trials
from searching import a_search, finish
output, log, hang = Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
with Trials(a_search(10), output) as trials:
    while asked := trials.ask():
        (one,) = asked
        with log.open("a") as file:
            print(one.number, one.point["optimizer.lr"], file=file, flush=True)
        time.sleep(1000 if one.number == hang else 0.05)
        finish(trials, one, output)
"""


@pytest.mark.slow
def test_two_processes_and_a_killed_one_make_exactly_all_trials(tmp_path):
    log = tmp_path / "log"

    def start(hang):
        words = [
            sys.executable,
            "-c",
            WORKER,
            str(Path(__file__).parents[1] / "tools"),
            str(tmp_path),
            str(log),
            str(hang),
        ]
        return subprocess.Popen(words)

    dies = start(hang=3)
    while not (log.exists() and "\n3 " in log.read_text()):
        assert dies.poll() is None
        time.sleep(0.05)
    dies.send_signal(signal.SIGKILL)
    dies.wait()
    both = [start(hang=-1), start(hang=-1)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    carried_out = [line.split() for line in log.read_text().splitlines()]
    assert sorted(int(number) for number, _ in carried_out) == [0, 1, 2, 3, 3, *range(4, 10)]
    assert len({rate for number, rate in carried_out if number == "3"}) == 1
    (found,) = records.searches(tmp_path).values()
    assert [trial.state for trial in found.history] == ["finished"] * 10


def test_a_trial_that_is_told_while_another_process_looks_is_not_taken(tmp_path, monkeypatch):
    with (
        Trials(a_search(2, pruner=None), tmp_path) as first,
        Trials(a_search(2, pruner=None), tmp_path) as second,
    ):
        (one,) = first.ask()
        lock_of = second._lock_of

        def told_meanwhile(number):
            if number == one.number and one.number in first._mine:
                finish(first, one, tmp_path)
            return lock_of(number)

        monkeypatch.setattr(second, "_lock_of", told_meanwhile)
        (other,) = second.ask()
        assert other.number == 1


def reports(asked, values, select="val/psnr"):
    """Report a figure of epoch after epoch, as a run does; return whether each is the last."""
    key = f"+hydra.job.env_set.{TRIAL}="
    (reference,) = [word.removeprefix(key) for word in asked.job if word.startswith(key)]
    trial = attach(reference, select)
    given_up = []
    for epoch, value in enumerate(values, start=1):
        trial.report(value, epoch)
        given_up.append(trial.should_prune())
    return given_up


def test_a_trial_below_the_median_ends_early(tmp_path):
    with Trials(a_search(7), tmp_path) as trials:
        for psnr in (10, 11, 12, 13, 14):
            (one,) = trials.ask()
            assert reports(one, [psnr, psnr, psnr]) == [False] * 3
            finish(trials, one, tmp_path, float(psnr))
        (one,) = trials.ask()
        assert reports(one, [11.9, 11.9]) == [False, True]  # after the second epoch, 12 is the median
        early = Answer(str(tmp_path), [], {}, {}, Outcome(Status.PRUNED, reason="pruned at epoch 2 of 3"))
        assert trials.tell(one, early) == "  trial 5: pruned at epoch 2 of 3"
        (last,) = trials.ask()
        assert reports(last, [12.1, 12.1, 12.1]) == [False] * 3
        finish(trials, last, tmp_path, 12.1)
        assert trials.ask() == []
        found = trials.close()
    early = found.history[5]
    assert (early.state, early.value, early.epochs) == ("pruned", 11.9, 2)
    assert (found.best["number"], found.best["value"]) == (4, 14.0)


def test_a_search_by_a_loss_takes_the_least(tmp_path):
    search = a_search(6, pruner="median")
    search = replace(search, study=replace(search.study, recipe=["select=val/loss"]))
    assert search.name != a_search(6).name
    with Trials(search, tmp_path) as trials:
        for loss in (0.5, 0.4, 0.3, 0.2, 0.1):
            (one,) = trials.ask()
            assert reports(one, [loss] * 3, "val/loss") == [False] * 3
            run = tmp_path / f"run-{one.number}"
            run.mkdir()
            figures = {"val/psnr": 20.0, "val/loss": loss}
            save(run, typed(status="trial", config={"select": "val/loss"}, metrics=figures))
            said = trials.tell(one, Answer(str(run), [], {}, {}, Outcome(Status.DONE)))
            assert said.startswith(f"  trial {one.number}: {loss:g}, ")
        (one,) = trials.ask()
        assert reports(one, [0.31, 0.31], "val/loss") == [False, True]  # 0.3 is the median
        trials.tell(one, Answer(str(tmp_path), [], {}, {}, Outcome(Status.PRUNED, reason="pruned")))
        found = trials.close()
    assert found.select == "val/loss"
    assert (found.best["number"], found.best["value"]) == (4, 0.1)


def test_older_searches_are_read(tmp_path):
    found = carry_out(tmp_path, tmp_path)["found"]
    (path,) = tmp_path.rglob("search.json")
    older = json.loads(path.read_text())
    del older["select"]
    for trial in [older["best"], *older["history"]]:
        trial["psnr"] = trial.pop("value")
    path.write_text(json.dumps(older))
    assert records.searches(tmp_path) == {found.name: found}


def test_a_failed_trial_does_not_count_and_many_in_a_row_end_the_search(tmp_path):
    with Trials(a_search(2, pruner=None), tmp_path) as trials:
        (first,) = trials.ask()
        nan = Outcome(Status.FAILED, reason="the loss is nan")
        broken = Answer(str(tmp_path / "nothing"), [], {}, {}, nan)
        assert trials.tell(first, broken) == "  trial 0: failed: the loss is nan"
        for _ in range(2):
            (one,) = trials.ask()
            finish(trials, one, tmp_path)
        assert trials.ask() == []
        assert [trial.state for trial in trials.close().history] == ["failed", "finished", "finished"]
    with Trials(a_search(9, pruner="hyperband"), tmp_path) as trials:
        for _ in range(5):
            trials.tell(*trials.ask(), broken)
        with pytest.raises(UserError, match="5 trials in a row failed"):
            trials.ask()


def test_other_spaces_and_pruners_are_other_searches_more_trials_are_not():
    names = {a_search(pruner=pruner).name for pruner in ("median", "hyperband", None)}
    assert len({*names, a_search(space={"optimizer.lr": [1e-3]}).name, a_search(epochs=2).name}) == 5
    assert a_search(trials=99).name == a_search().name


class Doubtful:
    """A trial that is given up after its second epoch."""

    number = 0

    def __init__(self):
        self.values = {}
        self.study = self

    def get_trials(self, deepcopy):
        return [self]

    @property
    def intermediate_values(self):
        return self.values

    def report(self, value, step):
        self.values[step] = value

    def should_prune(self):
        return len(self.values) == 2


def test_a_pruned_run_never_counts_as_finished_and_can_go_on(train, monkeypatch):
    trial = Doubtful()
    monkeypatch.setenv(TRIAL, "0:median:nowhere")
    monkeypatch.setattr(pruning, "attach", lambda reference, select: trial)
    answer = train("-m", "trainer.max_epochs=3")
    record = answer.record
    assert (record["status"], record["error"]) == ("pruned", "pruned at epoch 2 of 3")
    assert "metrics" not in record
    assert "Traceback" not in answer.err
    curves = (answer.run_dir / "metrics.csv").read_text().splitlines()
    column = curves[0].split(",").index("val/psnr")
    assert list(trial.values.values()) == [
        pytest.approx(float(line.split(",")[column])) for line in curves[1:]
    ]
    with pytest.raises(UserError, match="that run ended early .pruned at epoch 2 of 3."):
        caelab.Run(answer.run_dir)
    monkeypatch.delenv(TRIAL)
    again = train("trainer.max_epochs=3")
    assert "going on after epoch 2" in again.out
    assert (again.record["status"], again.record["time"]["epochs"]) == ("finished", 3)


STUDY = """
title: Toy
text: Which rate?
datasets: [shapes]
epochs: 2
seeds: 2
tune:
  epochs: 1
  trials: 4
  entries:
    found: {overrides: [model=base], space: {optimizer.lr: [1.0e-6, 1.0e-2]}}
runs:
  base: [model=base]
claims:
  - {text: a search helps, better: [found], than: [base]}
"""


@pytest.mark.slow
def test_the_best_of_a_search_is_run_over_the_seeds(train, tmp_path, monkeypatch, capfd):
    shutil.copytree(config.CONF, tmp_path / "conf")
    (tmp_path / "conf" / "study" / "toy.yaml").write_text(STUDY)
    monkeypatch.setattr(config, "CONF", str(tmp_path / "conf"))
    runs = caelab.study("toy", SMALL)
    shown = capfd.readouterr()
    assert "a search of 4 trials of 1 epochs" in shown.out
    assert "found: 4 trials of 1 epochs, 0 pruned" in shown.out
    assert "a search helps on shapes" in shown.out
    (found,) = records.searches("multirun").values()
    tried = {}
    for path, record in records.find("multirun"):
        if record.seed == 1000:
            tried[record.config["optimizer"]["lr"]] = record.metrics["val/psnr"]
            assert not any("hydra" in override for override in record.overrides)
            assert (record.status, record.time.epochs) == ("trial", 1), path
    assert found.best["point"] == {"optimizer.lr": 0.01}
    assert found.best["value"] == max(tried.values()) == tried[0.01]
    rates = [run.record.config["optimizer"]["lr"] for run in runs]
    assert rates == [0.01, 0.001] * 2
    stamps = {run.dir: run.record.finished for run in runs}
    again = caelab.study("toy", SMALL)
    assert {run.dir: run.record.finished for run in again} == stamps
    assert "trial 0" not in capfd.readouterr().out
    forced = caelab.study("toy", SMALL, force=True)
    assert not {run.record.finished for run in forced} & set(stamps.values())
    shown = capfd.readouterr().out
    assert "trial 0" not in shown
    assert "force=true keeps its trials; to start over, remove multirun/searches/" in shown


def test_a_search_without_optuna_says_what_to_install_and_stops_no_other(train, tmp_path, monkeypatch, capfd):
    shutil.copytree(config.CONF, tmp_path / "conf")
    text = STUDY.replace("epochs: 2\nseeds: 2", "epochs: 1\nseeds: 1")
    (tmp_path / "conf" / "study" / "toy.yaml").write_text(text)
    monkeypatch.setattr(config, "CONF", str(tmp_path / "conf"))
    monkeypatch.setattr(execute, "find_spec", lambda name: None)
    runs = caelab.study("toy", SMALL)
    assert [run.record.status for run in runs] == ["failed", "finished"]
    assert "study=toy searches with Optuna; pip install 'caelab[search]'" in capfd.readouterr().err


def test_an_epoch_that_was_reported_before_a_kill_is_not_reported_again():
    trial = Doubtful()
    trial.values = {1: 5.0}

    class Trainer:
        current_epoch = 0
        check_val_every_n_epoch = 1
        callback_metrics = {"val/psnr": 7.0}

    callback = Pruning(trial)
    callback.on_train_epoch_end(Trainer, None)
    Trainer.current_epoch = 1
    callback.on_train_epoch_end(Trainer, None)
    assert trial.values == {1: 5.0, 2: 7.0}


def test_search_json_is_plain(tmp_path):
    found = carry_out(tmp_path, tmp_path)["found"]
    (path,) = tmp_path.rglob("search.json")
    assert json.loads(path.read_text()) == {"schema": 1, **asdict(found)}
    finished = [trial for trial in found.history if trial.state == "finished"]
    assert [trial.value for trial in finished] == [height(trial.point) for trial in finished]  # on validation
    path.write_text("{")
    assert records.searches(tmp_path) == {}


@pytest.mark.parametrize(
    ("status", "expected"), [("pruned", None), ("failed", -math.inf), ("trial", 20.5), ("finished", 20.5)]
)
def test_a_pruned_run_is_no_trial_of_a_grid(status, expected):
    study = studies.load("optimizers")
    trial = study.trials("cifar10")["adam"][0]
    record = typed(status=status, error="ended", metrics={"val/psnr": 20.5})
    runs = {trial.identity(study.tune.seed): (Path("somewhere"), record)}
    assert score(study, runs)(trial) == expected


def test_a_search_is_part_of_its_section_and_waits_for_all_trials():
    study = studies.load("search_residual")
    (one,) = study.searches("cifar10")
    waiting = measure.section(study, "cifar10", {})
    assert (waiting.rows[0].label, waiting.searches) == ("found", {})
    assert set(waiting.rows[0].missing.values()) == {f"not all of its {study.tune.trials} trials are done"}
    point = {
        key: values["low"] if isinstance(values, Mapping) else values[0]
        for key, values in one.entry.space.items()
    }
    trial = TrialRecord(0, "finished", point, 20.0, 1)
    known = {"name": one.name, "study": "", "label": "", "dataset": "", "space": {}, "epochs": 1}
    history = [trial] * study.tune.trials
    found = SearchRecord(**known, trials=len(history), history=history, best={"point": point}, importance={})
    done = measure.section(study, "cifar10", {}, {one.name: found})
    assert (done.rows[0].label, done.rows[0].settings) == ("found", point)
    assert done.searches == {"found": found}
    assert len(done.rows) == len(waiting.rows)
