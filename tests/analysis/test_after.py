"""Analyses that a study asks for: found by name, carried out once, on runs whose checkpoint is there."""

import json
from contextlib import contextmanager
from dataclasses import replace

import pytest
from toys import leave_analysis, typed

import caelab.analysis
from caelab import studies
from caelab.analysis import after, runner
from caelab.errors import UserError
from caelab.runs import analyses as registry
from caelab.runs import results
from caelab.runs.record import save
from caelab.runs.run_dir import locked

KNOWN = "known: anomaly, audit, gradients, look, photos, probe, rate, refine, sample, segment, steps"


@pytest.fixture
def runs(tmp_path):
    """Two finished runs with a checkpoint, and a copied record without."""
    made = {}
    for name in ("one", "two", "copied"):
        path = tmp_path / name
        (path / "checkpoints").mkdir(parents=True)
        if name != "copied":
            (path / "checkpoints" / "best.ckpt").write_bytes(b"")
        made[path] = typed(fingerprint=name)
        save(path, made[path])
    return made


@pytest.fixture
def weigh(tmp_path, monkeypatch):
    """An analysis called ``weigh``; returns the names of the runs that it was given."""
    leave_analysis(tmp_path / "packages" / "weigh")
    monkeypatch.setattr(caelab.analysis, "__path__", [*caelab.analysis.__path__, str(tmp_path / "packages")])
    names = []

    def measure(subject, times):
        names.append(subject.run.name)
        if subject.run.name == "two":
            raise UserError("two is too heavy")
        return {"figures": {"weigh/grams": 3.0}}

    monkeypatch.setattr(registry.find("weigh", "here").module, "measure", measure)
    return names


def test_each_run_is_analysed_once_and_a_failure_stops_no_other(runs, weigh, capfd):
    assert after.carry_out("weigh", runs) == 1
    shown = capfd.readouterr()
    assert weigh == ["one", "two"]
    assert shown.out.count("\n") == 3
    assert "copied: its checkpoint is missing" in shown.out
    assert "two: two is too heavy" in shown.err
    assert after.carry_out("weigh", runs) == 1
    assert weigh == ["one", "two", "two"]
    (path, *_) = runs
    assert results.analyses(path, runs[path]) == {"weigh/grams": 3.0}


def test_processes_share_the_runs(runs, weigh, capfd):
    one, two, _ = runs
    with locked(one):
        assert after.carry_out("weigh", {one: runs[one], two: runs[two]}) == 1
    assert weigh == ["two"]
    assert "one: in use by another process" in capfd.readouterr().out
    assert after.carry_out("weigh", {one: runs[one]}) == 0
    assert weigh == ["two", "one"]


def test_what_another_process_did_meanwhile_is_not_done_again(runs, weigh, monkeypatch):
    one, *_ = runs
    seen = results.analysis
    monkeypatch.setattr(results, "analysis", lambda *given: None)

    @contextmanager
    def locked_late(path):
        results.write_analysis(path, "weigh", runs[path], {"figures": {"weigh/grams": 4.0}})
        monkeypatch.setattr(results, "analysis", seen)
        yield

    monkeypatch.setattr(runner, "locked", locked_late)
    assert after.carry_out("weigh", {one: runs[one]}) == 0
    assert weigh == []


def test_a_run_trained_anew_is_analysed_anew(runs, weigh):
    (path, *_) = runs
    after.carry_out("weigh", {path: runs[path]})
    later = replace(runs[path], finished="2026-05-02T12:00:00+00:00")
    save(path, later)
    assert results.analyses(path, later) == {}
    assert after.carry_out("weigh", {path: later}) == 0
    assert weigh == ["one", "one"]
    assert results.analyses(path, later) == {"weigh/grams": 3.0}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("audti", "did you mean 'audit'?"),
        ("callbacks", KNOWN),
        ("os.walk", KNOWN),
    ],
)
def test_an_unknown_analysis_is_named(tmp_path, monkeypatch, name, hint):
    text = json.dumps({"title": "t", "text": "x", "datasets": ["shapes"], "epochs": 1, "after": [name]})
    for file, content in {"study/mine.yaml": text, "dataset/shapes.yaml": ""}.items():
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).write_text(content)
    monkeypatch.setattr("caelab.config.CONF", str(tmp_path))
    with pytest.raises(UserError) as caught:
        studies.load("mine")
    assert str(caught.value) == f"study=mine: after: there is no analysis {name!r}; {hint}"
