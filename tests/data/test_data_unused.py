"""Caches of folders that nothing uses any more: which they are, and that they can be cleared."""

from filelock import FileLock
from PIL import Image

from caelab.data.folder import Folder
from caelab.data.unused import clear, unused


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


def test_a_cache_of_an_older_version_is_unused_and_an_official_one_is_not(tmp_path):
    for name in ("mnist/cache", "folder/0123456789abcdef/cache"):
        (tmp_path / name).mkdir(parents=True)
    assert list(unused(tmp_path)) == [tmp_path / "folder/0123456789abcdef"]


def test_what_another_process_is_making_stays(tmp_path):
    (tmp_path / "folder/0123/cache").mkdir(parents=True)
    with FileLock(tmp_path / "folder/0123/.lock"):
        assert clear(tmp_path) == {}
    assert (tmp_path / "folder/0123/cache").is_dir()


def test_what_was_begun_of_a_folder_that_is_gone_is_unused(tmp_path):
    (tmp_path / "folder/0123/unfinished").mkdir(parents=True)
    assert clear(tmp_path).keys() == {tmp_path / "folder/0123"}
    assert not (tmp_path / "folder/0123").exists()
