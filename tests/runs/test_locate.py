"""Which run a command means."""

import json
from pathlib import Path

import pytest
from toys import record

from caelab.errors import UserError
from caelab.runs import locate


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Five records below ./multirun: three finished ones, a trial, and one that failed."""
    monkeypatch.chdir(tmp_path)

    def leave(name, day, status="finished"):
        fingerprint = name[-10:] + "0" * 54
        folder = Path("multirun", "runs", name)
        folder.mkdir(parents=True)
        error = {"error": "no luck"} if status == "failed" else {}
        found = record(fingerprint=fingerprint, status=status, finished=f"2026-11-{day}", **error)
        (folder / "result.json").write_text(json.dumps(found))
        return folder

    return {
        "old": leave("shapes/base-mse-adam-s0-aa11000000", "01"),
        "new": leave("shapes/base-mse-adam-s1-aa22000000", "03"),
        "pca": leave("mnist/pca-mse-adam-s0-bb33000000", "02"),
        "trial": leave("mnist/base-mse-adam-s1000-aa55000000", "05", "trial"),
        "no": leave("mnist/pca-l1-adam-s0-cc44000000", "04", "failed"),
    }


def test_last_is_the_run_that_finished_last(runs):
    assert locate.run("last") == runs["new"]


@pytest.mark.parametrize("text", ["pca", "pca-mse-adam-s0-bb33000000", "bb3", "bb33" + "0" * 60])
def test_a_beginning_of_name_or_fingerprint_is_enough(runs, text):
    assert locate.run(text) == runs["pca"]


def test_a_trial_is_meant_where_no_finished_run_is(runs):
    assert locate.run("aa55") == runs["trial"]
    assert locate.run("base-mse-adam-s1000") == runs["trial"]
    assert locate.run("base-mse-adam-s0") == runs["old"]


def test_a_path_is_itself(runs):
    Path("pca").mkdir()
    Path("net.safetensors").touch()
    assert locate.run("pca") == Path("pca")
    assert locate.run("net.safetensors") == Path("net.safetensors")
    assert locate.run("no/such/folder") == Path("no/such/folder")  # which the command itself complains of


def test_a_run_of_a_class_of_ones_own_is_no_file(runs):
    own = runs["pca"].rename(runs["pca"].with_name("tiny.Tiny-mse-adam-s0-bb33000000"))
    assert locate.run("tiny.Tiny") == locate.run(own.name) == own
    assert locate.run("tiny.npz") == Path("tiny.npz")


def test_a_whole_name_goes_before_longer_ones(runs):
    longer = runs["pca"].with_name(runs["pca"].name + "-again")
    longer.mkdir()
    (longer / "result.json").write_text((runs["pca"] / "result.json").read_text().replace("bb33", "bb44"))
    assert locate.run("pca-mse-adam-s0-bb33000000") == runs["pca"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "base",
            "base: 2 runs begin with that: multirun/runs/shapes/base-mse-adam-s0-aa11000000, "
            "multirun/runs/shapes/base-mse-adam-s1-aa22000000; give one of them",
        ),
        (
            "cc44",
            "cc44: no such directory, and no run below multirun begins with that: multirun/runs/mnist/pca",
        ),
        ("", ": no such directory, and no run below multirun begins with that"),
    ],
)
def test_what_is_not_one_run_is_one_line_with_candidates(runs, text, line):
    with pytest.raises(UserError) as caught:
        locate.run(text)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_without_runs_the_line_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="last: no such directory, and no finished run below multirun"):
        locate.run("last")


@pytest.mark.parametrize(
    "command",
    [
        "anomaly",
        "audit",
        "decode",
        "encode",
        "evaluate",
        "export",
        "look",
        "probe",
        "rate",
        "reconstruct",
        "refine",
    ],
)
def test_every_command_takes_it(runs, lab, command):
    extra = {"decode": ["c.npz", "--out", "o"], "encode": ["i.png", "--out", "o.npz"]}
    extra |= {"reconstruct": ["i.png", "--out", "o"], "export": ["--format", "onnx"]}
    status, _, err = lab(command, "base", *extra.get(command, []))
    assert status == 1
    assert err.startswith("caelab: base: 2 runs begin with that: multirun/runs/shapes/base-mse-adam-s0-aa11")
    assert err.count("\n") == 1
