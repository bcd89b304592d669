"""Caches of folders that nothing uses any more: which they are, and that they can be cleared."""

import json

import pytest
from filelock import FileLock
from PIL import Image

from caelab.data import contents
from caelab.data.contents import FOLDER, ORIGIN, Origin
from caelab.data.folder import Folder
from caelab.data.unused import clear, unused
from caelab.errors import UserError


def made(data, folder, size=8):
    Folder(str(data), str(folder), image_size=size).prepare_data()
    return {path.parent for path in data.glob("folder/*/cache")}


def pictures(folder):
    folder.mkdir()
    for i in range(4):
        Image.new("L", (8, 8), i).save(folder / f"{i}.png")
    return folder


def test_caches_of_a_folder_as_it_was_are_unused(tmp_path):
    data, folder = tmp_path / "data", pictures(tmp_path / "a")
    first = made(data, folder) | made(data, folder, size=9)
    assert len(first) == 2
    assert unused(data) == {}
    Image.new("L", (8, 8), 99).save(folder / "0.png")
    last = made(data, folder) - first
    assert unused(data).keys() == first
    assert all(size > 4 * 3 * 8 * 8 for size in unused(data).values())
    assert clear(data).keys() == first
    assert {path.parent for path in data.glob("folder/*/cache")} == last
    assert made(data, folder) == last


def test_of_a_folder_that_is_gone_nothing_is_kept(tmp_path):
    data, folder = tmp_path / "data", pictures(tmp_path / "a")
    (cache,) = made(data, folder)
    folder.rename(tmp_path / "b")
    (table,) = (data / "checksums").glob("*.json")
    assert clear(data).keys() == {cache, table}
    assert not cache.exists()
    assert not table.exists()


def left(data, name):
    """A folder of a cache that was made from a folder that is gone."""
    (data / name).mkdir(parents=True)
    origin = Origin(FOLDER, str(data / "gone"), "0")
    (data / name).with_name(ORIGIN).write_text(json.dumps(origin._asdict()))
    return (data / name).parent


def test_what_another_process_is_making_stays(tmp_path):
    folder = left(tmp_path, "folder/0123/cache")
    with FileLock(folder / ".lock"):
        assert clear(tmp_path) == {}
    assert clear(tmp_path).keys() == {folder}


def test_what_was_begun_of_a_folder_that_is_gone_is_unused(tmp_path):
    folder = left(tmp_path, "folder/0123/unfinished")
    assert clear(tmp_path).keys() == {folder}
    assert not folder.exists()


@pytest.mark.parametrize("text", [None, "", "{}", "[]", '{"folder": "gone"}'])
def test_what_is_not_surely_the_labs_stays(tmp_path, text):
    for name in ("mnist/cache", "projects/foo/cache", "user/.config/cache", "checksums", "a/b/unfinished"):
        (tmp_path / name).mkdir(parents=True)
        if text is not None:
            (tmp_path / name).with_name(ORIGIN).write_text(text)
    if text is not None:
        (tmp_path / "checksums" / "of_others.json").write_text(text)
    there = {*tmp_path.rglob("*")}
    assert clear(tmp_path) == {}
    assert {*tmp_path.rglob("*")} == there


def test_of_a_disk_that_is_not_mounted_all_is_kept(tmp_path):
    data, disk = tmp_path / "data", tmp_path / "disk"
    disk.mkdir()
    made(data, pictures(disk / "a"))
    (disk / "a").rename(tmp_path / "elsewhere")  # which leaves the place of the disk empty
    assert unused(data) == {}


def test_of_a_folder_that_cannot_be_read_all_is_kept(tmp_path, monkeypatch):
    data, folder = tmp_path / "data", pictures(tmp_path / "a")
    made(data, folder)

    def refuse(*_):
        raise UserError(f"{folder} cannot be read: Permission denied")

    monkeypatch.setattr(contents, "read_by", refuse)
    assert unused(data) == {}
