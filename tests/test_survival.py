"""The harness of ``make survive``: what it counts, when it kills, and what its power cut takes."""

import os
import subprocess
import sys

import pytest
from survival.contents import contents, runs
from survival.disk import Change, Counter, losses, shim, unsynced

WRITER = """
import os
from pathlib import Path
Path("folder").mkdir()
with open("folder/new", "wb") as file:
    file.write(b"synced")
    file.flush()
    os.fsync(file.fileno())
    file.write(b", not synced")
os.replace("folder/new", "folder/name")
Path("gone").touch()
Path("gone").unlink()
Path("never").unlink(missing_ok=True)
open("folder/name", "rb").read()
"""
STEPS = ["mkdir", "create", "write", "sync", "write", "rename", "create", "remove"]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    try:
        return shim(tmp_path_factory.mktemp("shim"))
    except OSError as lacking:
        pytest.skip(str(lacking))


@pytest.fixture
def write(library, tmp_path):
    """Run WRITER below tmp_path/disk: its exit status, and what it has changed."""

    def start(kill_at=0):
        disk = tmp_path / "disk"
        disk.mkdir()
        counter = Counter(tmp_path / "count", disk, kill_at)
        environment = os.environ | {"LD_PRELOAD": str(library), "SURVIVE_STATE": str(counter.path)}
        done = subprocess.run([sys.executable, "-c", WRITER], cwd=disk, env=environment)
        return done.returncode, counter.changes()

    return start


def test_every_change_counts_and_nothing_else(write):
    status, changes = write()
    assert status == 0
    assert [one.kind for one in changes] == STEPS
    rename = changes[5]
    assert rename.path.endswith("disk/folder/new")
    assert rename.to.endswith("disk/folder/name")
    assert rename.size == len("synced, not synced")


@pytest.mark.parametrize(
    ("kill_at", "left"),
    [
        (1, {}),
        (2, {}),
        (3, {"folder/new": b""}),
        (4, {"folder/new": b"synced"}),
        (6, {"folder/new": b"synced, not synced"}),
        (7, {"folder/name": b"synced, not synced"}),
        (8, {"folder/name": b"synced, not synced", "gone": b""}),
    ],
)
def test_a_kill_comes_before_the_change(write, tmp_path, kill_at, left):
    status, changes = write(kill_at)
    assert status == -9
    assert [one.kind for one in changes] == STEPS[: kill_at - 1]
    disk = tmp_path / "disk"
    assert {str(p.relative_to(disk)): p.read_bytes() for p in disk.rglob("*") if p.is_file()} == left


def test_a_power_cut_takes_what_was_not_synced(write, tmp_path):
    _, changes = write()
    (path, size), *more = losses(changes, tmp_path / "disk").items()
    assert (str(path), size, more) == ("folder/name", len("synced"), [])


def test_an_inode_that_another_file_gets_is_that_file_s():
    def change(kind, inode=0, over=0, size=0):
        return Change(kind, "", "", inode, over, size)

    removed = [change("write", 1), change("remove", 1), change("create"), change("write", 1, size=0)]
    assert unsynced(removed) == {1: 0}
    assert unsynced([*removed, change("sync", 1, size=9)]) == {}
    assert unsynced([*removed, change("sync", 1, size=9), change("write", 1, size=9)]) == {1: 9}
    assert unsynced([change("write", 1), change("rename", 2, over=1)]) == {}
    assert unsynced([change("write", 1), change("sync", 1, size=9), change("empty", 1, size=9)]) == {1: 0}


def test_times_and_logs_are_no_difference(tmp_path):
    found = []
    for moment, log in (("10:00", "killed"), ("11:00", "")):
        folder = tmp_path / moment
        folder.mkdir()
        (folder / "result.json").write_text(f'{{"finished": "{moment}", "metrics": {{"a": 1}}}}')
        (folder / "train.log").write_text(log)
        (folder / "metrics.csv").write_text("epoch\n0\n")
        found.append(contents(folder))
    assert found[0] == found[1]
    (tmp_path / "11:00" / "metrics.csv").write_text("")
    assert contents(tmp_path / "11:00")["metrics.csv"] == "empty"


def test_a_finished_run_is_more_than_its_record(tmp_path):
    record = '{"status": "finished", "artifacts": {"best": "best.ckpt", "log": "train.log"}}'
    (tmp_path / "result.json").write_text(record)
    (tmp_path / "best.ckpt").write_bytes(b"")
    before = runs(tmp_path)[tmp_path]
    assert before.endswith("best.ckpt damaged: File is not a zip file")
    (tmp_path / "best.ckpt").unlink()
    assert runs(tmp_path)[tmp_path].endswith("best.ckpt missing")
    (tmp_path / "result.json").write_text(record.replace("finished", "failed"))
    assert runs(tmp_path) == {}
