"""A report that is drawn anew while runs go on."""

import json
import os
import shutil

import pytest
from test_report_browser import leave

from caelab.report import watch


@pytest.fixture
def steps(monkeypatch):
    """Let this happen between looks, one after the other, then press Ctrl-C."""

    def play(*given):
        left = iter(given)

        def sleep(_):
            try:
                next(left)()
            except StopIteration:
                raise KeyboardInterrupt from None

        monkeypatch.setattr(watch.time, "sleep", sleep)

    return play


def test_each_new_run_is_a_line_and_a_page(steps, tmp_path, monkeypatch, lab):
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "report/index.md"
    seen = []
    steps(
        lambda: leave(tmp_path / "multirun/a", 1, "base", "mse", 0, 20.0),
        lambda: seen.append(page.read_text()),
        lambda: leave(tmp_path / "multirun/b", 2, "improved", "mse", 0, 22.0),
        lambda: seen.append(page.read_text()),
        lambda: os.utime(tmp_path / "multirun/b/result.json"),  # trained anew
        lambda: shutil.rmtree(tmp_path / "multirun"),
    )
    status, out, err = lab("report", "--watch")
    lines = out.splitlines()
    assert (status, err) == (0, "")
    assert lines[0] == "watching multirun; Ctrl-C ends it"
    assert [line.partition(" ")[2] for line in lines[1:4]] == [
        "1 run, report/index.html",
        "2 runs, report/index.html",
        "2 runs, report/index.html",
    ]
    assert lines[4:] == ["next: open report/index.html"]
    assert ["improved" in text for text in seen] == [False, True]


def test_a_run_that_fails_first_does_not_end_it(steps, tmp_path, monkeypatch, lab):
    monkeypatch.chdir(tmp_path)
    leave(tmp_path / "multirun/a", 1, "base", "mse", 0, 20.0)
    path = tmp_path / "multirun/a/result.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"status": "failed", "error": "stopped"}))
    steps(lambda: None, lambda: leave(tmp_path / "multirun/b", 2, "base", "mse", 0, 20.0))
    status, out, err = lab("report", "--watch")
    assert (status, err) == (0, "")
    assert [line.partition(" ")[2] for line in out.splitlines()[1:3]] == [
        "multirun: 1 run, none finished; caelab runs multirun --failed says what went wrong",
        "2 runs, report/index.html",
    ]


def test_a_mistake_ends_it(steps, tmp_path, monkeypatch, lab):
    monkeypatch.chdir(tmp_path)
    leave(tmp_path / "runs/a", 1, "base", "mse", 0, 20.0)
    steps()
    status, _, err = lab("report", "runs", "tabel2", "--watch")
    assert status == 1
    assert err == "caelab: tabel2: there is no such folder or study; did you mean 'table2'?\n"
