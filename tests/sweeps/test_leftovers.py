"""caelab runs --clean: what kills have left goes, what lives or is anybody else's stays."""

import os
import time

import pytest
import toys
from filelock import FileLock

from caelab import durable
from caelab.errors import UserError
from caelab.runs import results
from caelab.runs.record import save
from caelab.sweeps import leftovers

OLD = time.time() - 7200


def leave(path, *files, old=True, **changes):
    (path / ".hydra").mkdir(parents=True)
    (path / "checkpoints").mkdir()
    (path / "checkpoints" / "best.ckpt").write_text("weights")
    save(path, toys.typed(**changes))
    for file in files:
        (path / file).write_text("half")
        if old:
            os.utime(path / file, (OLD, OLD))


def cleared(root):
    return sorted((str(path.relative_to(root)), kind) for path, kind in leftovers.clear([root]))


NEW = f"{durable.ASIDE}1"
HALF = "file left unfinished when a process was killed"


def test_what_kills_left_of_a_run_goes_once_nobody_can_be_writing_it(tmp_path):
    leave(
        tmp_path / "a",
        NEW,
        f"checkpoints/{NEW}",
        ".hydra/.caelab-2",
        ".result.json.77",
        "checkpoints/last.tmp",
    )
    leave(tmp_path / "b", NEW, old=False)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / NEW).write_text("half")
    os.utime(tmp_path / "report" / NEW, (OLD, OLD))
    files = {"a/.caelab-1", "a/checkpoints/.caelab-1", "a/.hydra/.caelab-2", "a/.result.json.77"}
    assert cleared(tmp_path) == sorted(
        (f, HALF) for f in {*files, "a/checkpoints/last.tmp", "report/.caelab-1"}
    )
    assert (tmp_path / "a" / "checkpoints" / "best.ckpt").read_text() == "weights"
    assert (tmp_path / "b" / NEW).exists()
    assert cleared(tmp_path) == []


def test_what_was_set_aside_goes_with_a_finished_run_only(tmp_path):
    for name, changes in {"done": {}, "failed": {"status": "failed", "error": "no luck"}}.items():
        leave(tmp_path / name, **changes)
        leave(tmp_path / name / "previous")
    assert cleared(tmp_path) == [("done/previous", "run that a finished one has replaced")]
    assert (tmp_path / "failed" / "previous" / "result.json").exists()


def test_a_run_half_set_aside_is_put_back(tmp_path):
    leave(tmp_path / "a")
    moving = tmp_path / "a" / f"{durable.ASIDE}moving"
    moving.mkdir()
    for name in ("result.json", "checkpoints"):
        (tmp_path / "a" / name).rename(moving / name)
    assert [path for path, _ in cleared(tmp_path)] == ["a"]
    assert results.settled(tmp_path / "a", "0123456789abcdef")
    assert not moving.exists()


def test_a_live_run_and_a_live_sweep_are_left_alone(tmp_path):
    leave(tmp_path / "a", NEW)
    for name in (".sweep-dead", ".sweep-live"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.json").write_text("{}")
    with FileLock(tmp_path / "a" / ".lock"), FileLock(tmp_path / ".sweep-live" / ".lock"):
        assert cleared(tmp_path) == [(".sweep-dead", "files of a sweep that has ended")]
    assert (tmp_path / "a" / NEW).exists()
    assert (tmp_path / ".sweep-live" / "0.json").exists()


def test_a_file_system_without_locks_tells_nobody_dead(tmp_path, monkeypatch):
    (tmp_path / ".sweep-maybe").mkdir()

    def acquire(_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(FileLock, "acquire", acquire)
    assert cleared(tmp_path) == []
    assert (tmp_path / ".sweep-maybe").is_dir()


def test_no_such_folder(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        cleared(tmp_path / "nothing")
