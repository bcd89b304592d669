"""The folder of an export: complete under its name, or not there."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from caelab.errors import UserError
from caelab.export.place import placed, refuse, told

FULL = OSError(28, "No space left on device")


def below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_it_takes_its_name_at_the_end(tmp_path):
    out = tmp_path / "a" / "b"
    with placed(out) as folder:
        (folder / "file").write_text("new")
        assert not out.exists()
        assert folder.parent == out.parent  # on the same disk, so that a rename is enough
    assert below(tmp_path) == ["a", "a/b", "a/b/file"]
    assert out.stat().st_mode & 0o777 == (tmp_path / "a").stat().st_mode & 0o777


@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt()])
def test_nothing_is_left_where_it_fails(tmp_path, error):
    def fail():
        with placed(tmp_path / "a" / "b") as folder:
            (folder / "file").write_text("half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert below(tmp_path) == []


def test_what_was_there_stays_until_the_end(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("old")

    def fail():
        with placed(out):
            raise FULL

    with pytest.raises(OSError, match="No space left"):
        fail()
    assert below(tmp_path) == ["out", "out/old"]
    with placed(out) as folder:
        (folder / "new").write_text("new")
        assert (out / "old").read_text() == "old"
    assert below(tmp_path) == ["out", "out/new"]


def test_a_killed_process_leaves_nothing_under_the_name(tmp_path):
    code = """
import os, signal
from pathlib import Path
from caelab.export.place import placed
with placed(Path("out")) as folder:
    (folder / "file").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    with placed(tmp_path / "out") as folder:
        (folder / "file").write_text("whole")
    assert (tmp_path / "out" / "file").read_text() == "whole"


def test_what_must_stay_is_refused(tmp_path):
    out, known = tmp_path / "out", {"model_card.md"}
    refuse(out, known, force=False)  # nothing there
    out.mkdir()
    refuse(out, known, force=False)  # an empty folder
    (out / "model_card.md").touch()
    with pytest.raises(UserError, match="out exists already; --force replaces it"):
        refuse(out, known, force=False)
    refuse(out, known, force=True)
    (out / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"out holds thesis.tex, not part of an export; choose another --out"):
        refuse(out, known, force=True)
    with pytest.raises(UserError, match="there is a file of that name"):
        refuse(out / "thesis.tex", known, force=True)


@pytest.mark.parametrize("error", [FULL, PermissionError(13, "Permission denied", "/some/where")])
def test_what_the_disk_refuses_is_one_line(tmp_path, error):
    with (
        pytest.raises(UserError, match=rf"out cannot be written \({error.strerror}\); nothing is left"),
        told(tmp_path / "out"),
    ):
        raise error


def test_a_parent_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match=r"cannot be written \(Not a directory\)"),
        placed(tmp_path / "file" / "out"),
    ):
        pass
    assert os.listdir(tmp_path) == ["file"]


def test_the_folder_that_the_user_is_in_cannot_be_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for out in (Path("."), tmp_path):
        with pytest.raises(UserError, match="this folder cannot be replaced; choose a folder in it with"):
            refuse(out, [], force=True)
