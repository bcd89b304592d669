"""What a forced run sets aside: whole, by one rename, whenever the process dies."""

import os

import pytest
import toys

from caelab import durable
from caelab.runs import previous, results
from caelab.runs.record import save

MADE = {
    "result.json",
    "checkpoints",
    "metrics.csv",
    "train.log",
    ".hydra",
    "audit.json",
    "audit.png",
    "look",
    "export",
    "mine.json",
    "mine.svg",
}
STRANGERS = {".lock", "notes.txt", "notes.json", "wandb", "nested"}
CALLS = ("mkdir", "replace", "rename", "unlink", "rmdir", "remove")


def leave(path, name="old", **changes):
    """Leave a run, analyses of it, and what is not the lab's, each file with that name in it."""
    for folder in ("checkpoints", ".hydra", "look", "export", "wandb", "nested"):
        (path / folder).mkdir(parents=True, exist_ok=True)
        (path / folder / "file").write_text(name)
    for file in ("metrics.csv", "train.log", "audit.png", "mine.svg", "notes.txt", ".lock"):
        (path / file).write_text(name)
    (path / "checkpoints" / "best.ckpt").write_text(name)
    (path / "notes.json").write_text("[1, 2]")
    record = toys.typed(**changes)
    save(path, record)
    for analysis in ("audit", "mine"):  # the second is of no command of the lab
        results.write_analysis(path, analysis, record, {"figures": {"x": 1.0}})


def state(path):
    """Name -> content of every file in a folder that is the run's."""
    return {
        str(file.relative_to(path)): file.read_text()
        for file in path.rglob("*")
        if file.is_file() and file.relative_to(path).parts[0] in MADE
    }


def killed_at(monkeypatch, number, do):
    """Whether something is interrupted, as it is before a change of the file system with that number."""
    count = 0

    def counted(real):
        def call(*args, **keys):
            nonlocal count
            count += 1
            if count > number:
                raise KeyboardInterrupt
            return real(*args, **keys)

        return call

    with monkeypatch.context() as patched:
        for name in CALLS:
            patched.setattr(os, name, counted(getattr(os, name)))
        try:
            do()
        except KeyboardInterrupt:
            return True
    return False


def test_all_that_is_of_the_run_goes_and_what_is_not_stays(tmp_path):
    leave(tmp_path)
    whole = state(tmp_path)
    assert {name.partition("/")[0] for name in whole} == MADE
    previous.set_aside(tmp_path)
    assert state(tmp_path / "previous") == whole
    assert {path.name for path in tmp_path.iterdir()} == {"previous", *STRANGERS}


@pytest.mark.parametrize("lies_there", ["nothing", "a half that a kill left"])
def test_a_kill_at_any_change_loses_and_mixes_nothing(tmp_path, monkeypatch, lies_there):
    number, broken = 0, True
    while broken:
        run = tmp_path / str(number)
        run.mkdir()
        if lies_there != "nothing":
            (run / "previous").mkdir()
            (run / "previous" / "metrics.csv").write_text("of the run before")
        leave(run)
        whole = state(run)
        broken = killed_at(monkeypatch, number, lambda run=run: previous.set_aside(run))
        assert whole in (state(run), state(run / "previous")) or not (run / "result.json").exists()
        previous.restore(run)
        assert [state(run), state(run / "previous")].count(whole) == 1
        if state(run) == whole:
            previous.set_aside(run)
        assert (state(run), state(run / "previous")) == ({}, whole)
        assert not list(run.glob(f"{durable.ASIDE}*"))
        number += 1
    assert number > 10


def test_a_complete_run_that_is_set_aside_outlives_those_that_fail_after_it(tmp_path, monkeypatch):
    number, broken = 0, True
    while broken:
        run = tmp_path / str(number)
        run.mkdir()
        leave(run)
        whole = state(run)
        previous.set_aside(run)
        leave(run, "new", status="failed", error="no luck")
        failed = state(run)
        broken = killed_at(monkeypatch, number, lambda run=run: previous.set_aside(run))
        assert state(run / "previous") == whole
        previous.restore(run)
        assert state(run) in (failed, {})
        assert state(run / "previous") == whole
        number += 1
    assert number > 10


def test_a_damaged_record_is_set_aside_as_well(tmp_path):
    leave(tmp_path)
    (tmp_path / "result.json").write_text("{")
    previous.set_aside(tmp_path)
    assert (tmp_path / "previous" / "result.json").read_text() == "{"
    assert state(tmp_path) == {}


def test_removing_is_one_rename(tmp_path, monkeypatch):
    for number in range(3):
        run = tmp_path / str(number)
        leave(run / "previous")
        whole = state(run / "previous")
        killed_at(monkeypatch, number, lambda run=run: previous.discard(run / "previous"))
        assert state(run / "previous") in (whole, {})
        previous.restore(run)
        assert not list(run.glob(f"{durable.ASIDE}*"))
