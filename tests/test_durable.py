"""Files that are whole or not there: in which order they reach the disk, and what a failure leaves."""

import os

import pytest

from caelab import durable


def test_a_file_takes_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "result.json"
    durable.write(path, "old")
    with durable.file(path) as opened:
        opened.write(b"new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    durable.write(path, "\u00e9\n")
    assert path.read_bytes() == b"\xc3\xa9\n"
    assert os.listdir(tmp_path) == ["result.json"]


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "a"
    durable.write(path, "old")
    block = durable.file(path)
    block.__enter__().write(b"ne")
    with pytest.raises(KeyboardInterrupt):
        block.gen.throw(KeyboardInterrupt)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_refusal_names_the_file_that_was_to_be(tmp_path):
    path = tmp_path / "no such folder" / "result.json"
    with pytest.raises(FileNotFoundError) as caught:
        durable.write(path, "new")
    assert caught.value.filename == str(path)


def test_data_reach_the_disk_before_the_name_and_the_folder_after_it(tmp_path, monkeypatch):
    seen = []
    fsync, replace = os.fsync, os.replace

    def watched(descriptor):
        seen.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    monkeypatch.setattr(os, "replace", lambda a, b: (seen.append("replace"), replace(a, b)))
    monkeypatch.setattr("pathlib.Path.replace", lambda a, b: os.replace(a, b))
    durable.write(tmp_path / "a", "x")
    new, renamed, folder = seen
    assert os.path.basename(new).startswith(durable.ASIDE)
    assert (renamed, folder) == ("replace", str(tmp_path))
    with durable.file(tmp_path / "b", flush=False) as opened:
        opened.write(b"y")
    assert seen[3:] == ["replace"]
    assert (tmp_path / "b").read_text() == "y"


def test_a_link_that_waits_under_the_name_is_not_followed(tmp_path, monkeypatch):
    foreign = tmp_path / "foreign"
    foreign.write_text("precious")
    monkeypatch.setattr(durable.secrets, "token_hex", lambda _: "foreseen")
    (tmp_path / f"{durable.ASIDE}foreseen").symlink_to(foreign)
    with pytest.raises(FileExistsError):
        durable.write(tmp_path / "a", "x")
    assert foreign.read_text() == "precious"


def test_names_differ_and_permissions_follow_the_umask(tmp_path):
    assert len({durable.aside(tmp_path / "a") for _ in range(9)}) == 9
    before = os.umask(0o027)
    try:
        durable.write(tmp_path / "a", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_file_system_that_cannot_flush_a_folder_is_no_failure(tmp_path, monkeypatch):
    fsync = os.fsync

    def refusing(descriptor):
        if os.path.isdir(os.readlink(f"/proc/self/fd/{descriptor}")):
            raise OSError(22, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refusing)
    durable.write(tmp_path / "a", "x")
    assert (tmp_path / "a").read_text() == "x"
