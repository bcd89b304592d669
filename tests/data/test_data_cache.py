"""The array cache: what is damaged is named and made anew; of two processes one builds."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import textwrap
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch

from caelab import durable
from caelab.data import cache, rows, sharing
from caelab.data.rows import Rows
from caelab.errors import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 3, 4, 5), dtype=np.uint8)
LABELS = np.arange(20)


class Builder:
    def __init__(self):
        self.built = 0

    def __call__(self):
        self.built += 1
        return {"images": IMAGES.copy(), "labels": LABELS.copy()}


@pytest.fixture
def build():
    return Builder()


def open_it(folder, build, expected=None):
    return cache.open_or_build(folder, "toy", build, expected)


def assert_whole(opened):
    assert np.array_equal(opened.arrays["images"].numpy(), IMAGES)
    assert np.array_equal(opened.arrays["labels"].numpy(), LABELS)


def test_checksum_is_the_sha256_of_type_shape_and_bytes():
    expected = hashlib.sha256(b"|u1 (20, 3, 4, 5)" + IMAGES.tobytes()).hexdigest()
    assert cache.checksum(IMAGES) == expected
    assert cache.checksum(np.asfortranarray(IMAGES)) == expected
    assert cache.checksum(IMAGES.view(np.int8)) != expected
    assert cache.checksum(IMAGES.reshape(20, 60)) != expected


def test_a_cache_is_on_the_disk_before_it_has_its_name(tmp_path, build, monkeypatch):
    synced, fsync, rename = set(), os.fsync, Path.rename

    def seen(descriptor):
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def named(self, target):
        inside.extend(path.stat().st_ino for path in self.iterdir())
        return rename(self, target)

    inside = []
    monkeypatch.setattr(os, "fsync", seen)
    monkeypatch.setattr(Path, "rename", named)
    assert_whole(open_it(tmp_path, build))
    assert len(inside) == 3
    assert set(inside) <= synced


def test_what_a_kill_has_left_is_removed_file_and_folder(tmp_path, build):
    (tmp_path / f"{durable.ASIDE}folder" / "deep").mkdir(parents=True)
    (tmp_path / f"{durable.ASIDE}file").touch()
    assert_whole(open_it(tmp_path, build))
    assert list(tmp_path.glob(f"{durable.ASIDE}*")) == []


def test_built_once_then_opened(tmp_path, build):
    first, second = open_it(tmp_path, build), open_it(tmp_path, build)
    assert build.built == 1
    assert_whole(first)
    assert second.arrays["images"].dtype == torch.uint8
    assert second.arrays["labels"].dtype == torch.int64
    lines = f"images {cache.checksum(IMAGES)}\nlabels {cache.checksum(LABELS)}\n"
    assert first.sha256 == hashlib.sha256(lines.encode()).hexdigest()


def test_one_process_shares_the_tensors(tmp_path, build):
    pointers = {open_it(tmp_path, build).arrays["images"].data_ptr() for _ in range(3)}
    assert len(pointers) == 1


def test_writing_to_a_tensor_leaves_the_file_alone(tmp_path, build):
    open_it(tmp_path, build).arrays["images"][:] = 0
    cache._verified.cache_clear()
    assert_whole(open_it(tmp_path, build))
    assert build.built == 1


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "checksums.json"])
@pytest.mark.parametrize("place", [0, 6, 8, 12, 20, 30, 45, 60, 100, 127, -1])
def test_a_flipped_byte_is_named_and_the_cache_made_anew(tmp_path, build, capsys, name, place):
    open_it(tmp_path, build)
    path = tmp_path / "cache" / name
    data = bytearray(path.read_bytes())
    data[place] ^= 0x04
    path.write_bytes(data)
    assert_whole(open_it(tmp_path, build))
    said = capsys.readouterr().err
    if build.built == 1:  # a byte of the header that says the same either way
        assert (name, said) != ("checksums.json", "")
        assert place < 128
    else:
        assert str(tmp_path / "cache") in said
        assert "is damaged" in said
        assert build.built == 2


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "checksums.json"])
@pytest.mark.parametrize("harm", ["truncate", "empty", "remove"])
def test_truncated_or_missing_files_are_named_and_made_anew(tmp_path, build, capsys, name, harm):
    open_it(tmp_path, build)
    path = tmp_path / "cache" / name
    if harm == "remove":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: -1 if harm == "truncate" else 0])
    assert_whole(open_it(tmp_path, build))
    assert build.built == 2
    assert f"{path} is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[]", "3", '"abc"', "{}", '{"images": 5}', "\x00\xff"])
def test_a_checksum_file_of_another_kind_is_refused(tmp_path, build, text):
    expected = {"images": cache.checksum(IMAGES), "labels": cache.checksum(LABELS)}
    open_it(tmp_path, build, expected)
    (tmp_path / "cache" / "checksums.json").write_text(text)
    assert_whole(open_it(tmp_path, build, expected))
    assert build.built == 2


def test_a_whole_cache_of_other_data_is_refused(tmp_path, build, capsys):
    other = {"images": IMAGES + 1, "labels": LABELS}
    open_it(tmp_path, lambda: other)
    assert_whole(open_it(tmp_path, build, {"images": cache.checksum(IMAGES)}))
    assert "not the expected data" in capsys.readouterr().err


def test_what_a_killed_process_left_is_no_cache(tmp_path, build):
    (tmp_path / f"{durable.ASIDE}0").mkdir()
    (tmp_path / f"{durable.ASIDE}0" / "images.npy").write_bytes(b"half")
    assert_whole(open_it(tmp_path, build))
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != ".lock") == ["cache"]


def test_a_failing_build_leaves_no_cache(tmp_path, build):
    def fail():
        raise UserError("no data")

    with pytest.raises(UserError, match="no data"):
        open_it(tmp_path, fail)
    assert not (tmp_path / "cache").exists()
    assert_whole(open_it(tmp_path, build))


def test_a_folder_that_cannot_be_written_is_named(tmp_path, build):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match=r"cannot write into .*file/toy .*paths\.data=FOLDER"):
        open_it(tmp_path / "file" / "toy", build)


def test_a_whole_cache_is_used_where_nothing_can_be_written(tmp_path, build, monkeypatch):
    open_it(tmp_path, build)
    monkeypatch.setattr(cache, "locked", None)  # a lock file would be a write
    assert_whole(open_it(tmp_path, build))


def test_a_full_disk_is_named_before_writing(tmp_path, build, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100, 100, IMAGES.nbytes))
    with pytest.raises(
        UserError, match=rf"the disk of {tmp_path} is full \(.* GB are needed, .* GB are free\)"
    ):
        open_it(tmp_path, build)


def test_a_disk_that_fills_up_while_writing_is_named(tmp_path, build, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(UserError, match=rf"the disk of {tmp_path} is full"):
        open_it(tmp_path, build)
    assert not (tmp_path / "cache").exists()


def in_blocks(fail=None):
    """Make the images in blocks of five, the third of which fails."""

    def make(part):
        if fail and part.start == 10:
            raise fail
        return IMAGES[part]

    return lambda: {"images": Rows(IMAGES.shape, IMAGES.dtype, make, "1", "test"), "labels": LABELS.copy()}


def test_an_interrupted_cache_is_gone_on_with_and_leaves_nothing(tmp_path, build, monkeypatch):
    monkeypatch.setattr(rows, "BLOCK", 5 * 60)
    with pytest.raises(KeyboardInterrupt):
        open_it(tmp_path, in_blocks(KeyboardInterrupt()))
    assert len((tmp_path / "unfinished/images.journal").read_text().split()) == 3  # version, two blocks
    opened = open_it(tmp_path, in_blocks())
    assert_whole(opened)
    assert opened.sha256 == open_it(tmp_path / "other", build).sha256
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {
        "images.npy",
        "labels.npy",
        "checksums.json",
    }
    assert not (tmp_path / "unfinished").exists()


def test_what_cannot_be_made_is_not_gone_on_with(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "BLOCK", 5 * 60)
    with pytest.raises(UserError, match="no picture"):
        open_it(tmp_path, in_blocks(UserError("no picture")))
    assert {path.name for path in tmp_path.iterdir()} <= {".lock"}


def test_what_is_finished_needs_no_room(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "BLOCK", 5 * 60)
    with pytest.raises(KeyboardInterrupt):
        open_it(tmp_path, in_blocks(KeyboardInterrupt()))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, IMAGES.nbytes - 1))
    with pytest.raises(UserError, match=rf"the disk of {tmp_path / 'other'} is full"):
        open_it(tmp_path / "other", in_blocks())
    assert_whole(open_it(tmp_path, in_blocks()))


def test_large_arrays_are_verified_once_on_a_machine_unless_they_change(tmp_path, build, monkeypatch, capsys):
    checked = []
    checksum = cache.checksum
    monkeypatch.setattr(cache, "LARGE", IMAGES.nbytes)
    open_it(tmp_path, build)

    def start_anew():
        checked.clear()
        cache._verified.cache_clear()
        return open_it(tmp_path, build)

    monkeypatch.setattr(cache, "checksum", lambda array: checked.append(array.nbytes) or checksum(array))
    assert_whole(start_anew())
    assert checked == [LABELS.nbytes]
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(cache.platform, "node", lambda: "another machine")
        start_anew()
        assert checked == [IMAGES.nbytes, LABELS.nbytes]
    start_anew()  # so that what is known is of this machine again
    path = tmp_path / "cache" / "images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert_whole(start_anew())
    assert "images.npy is damaged" in capsys.readouterr().err
    assert build.built == 2


def test_two_processes_that_start_at_once_build_once(tmp_path):
    script = tmp_path / "start.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys, time
            from pathlib import Path
            import numpy as np
            from caelab.data.cache import open_or_build

            folder = Path(sys.argv[1])

            def build():
                with (folder.parent / "builds").open("a") as file:
                    file.write("x")
                time.sleep(2)
                return {"images": np.arange(12, dtype=np.uint8).reshape(3, 4)}

            (folder.parent / f"ready-{sys.argv[2]}").touch()
            while len(list(folder.parent.glob("ready-*"))) < 2:
                time.sleep(0.01)
            print(open_or_build(folder, "toy", build).arrays["images"].sum().item())
            """
        )
    )
    processes = [
        subprocess.Popen(
            [sys.executable, script, tmp_path / "toy", str(i)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert [out.strip() for out, _ in outputs] == ["66", "66"]
    assert (tmp_path / "builds").read_text() == "x"
    assert sum("another process is preparing the data" in err for _, err in outputs) == 1
    assert json.loads((tmp_path / "toy" / "cache" / "checksums.json").read_text()).keys() == {"images"}


@pytest.mark.parametrize(("shared", "folder", "file"), [(0o2770, 0o770, 0o660), (0o755, 0o700, 0o600)])
def test_a_cache_in_a_folder_of_a_group_is_the_groups_whatever_the_umask(
    tmp_path, build, shared, folder, file
):
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(shared)
    before = os.umask(0o077)
    try:
        open_it(data / "toy", build)
    finally:
        os.umask(before)
    made = data / "toy" / "cache"
    assert [stat.S_IMODE(path.stat().st_mode) & 0o777 for path in (data / "toy", made)] == [folder, folder]
    assert {stat.S_IMODE(path.stat().st_mode) for path in made.iterdir()} == {file}
    lock = stat.S_IMODE((data / "toy" / ".lock").stat().st_mode)
    assert lock & 0o060 == (0o060 if shared == 0o2770 else 0)  # so that another of the group can take it


def test_what_another_user_made_is_left_to_them_to_share(tmp_path, monkeypatch):
    tmp_path.chmod(0o2770)
    (tmp_path / "theirs").touch(0o600)

    def refuse(path, mode):
        raise PermissionError(errno.EPERM, "Operation not permitted", str(path))

    monkeypatch.setattr(Path, "chmod", refuse)
    sharing.share(tmp_path / "theirs")
    assert stat.S_IMODE((tmp_path / "theirs").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["iterdir", "read_text"])
def test_a_cache_of_somebody_who_keeps_it_to_themselves_is_named(tmp_path, build, monkeypatch, name):
    open_it(tmp_path, build)
    os.utime(tmp_path / "cache" / "images.npy", ns=(0, 1))  # so that it is opened anew

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, name, refuse)
    with pytest.raises(
        UserError, match=r"cannot be read \(Permission denied\): .*chmod -R g\+rX .*paths\.data"
    ):
        open_it(tmp_path, build)
    assert build.built == 1


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError("flock")])
def test_without_locks_the_first_to_be_done_is_taken(tmp_path, build, monkeypatch, capsys, error):
    def refuse(self, timeout=None):
        raise error

    monkeypatch.setattr(cache.FileLock, "acquire", refuse)

    def beside():  # another process is done while this one builds
        monkeypatch.setattr(
            cache.shutil, "rmtree", lambda path, **_: rmtree(path) if durable.ASIDE in path.name else 0
        )
        cache._write(tmp_path / "cache", build(), None)
        return build()

    rmtree = shutil.rmtree
    assert_whole(open_it(tmp_path, beside))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache"]
    assert f"toy: {tmp_path} has no file locks" in capsys.readouterr().err
