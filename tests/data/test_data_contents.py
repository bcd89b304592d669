"""What a folder holds, by name and content, and what of it is remembered."""

import errno
import os
import subprocess
import sys

import pytest
from PIL import Image

from caelab.data import contents
from caelab.data.contents import CINIC10, FOLDER, digest, read_by
from caelab.errors import UserError


@pytest.fixture
def folder(tmp_path):
    for i in range(4):
        path = tmp_path / "images" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), i).save(path)
    return tmp_path / "images"


@pytest.fixture
def identity(tmp_path):
    return lambda folder, target=FOLDER: digest(read_by(target, folder, tmp_path / "data"))


def names(folder, tmp_path, target=FOLDER):
    return [name for name, file in read_by(target, folder, tmp_path / "data").items() if not file.flaw]


def test_only_names_and_contents_of_pictures_count(folder, identity):
    before = identity(folder)
    os.utime(folder / "a" / "0.png", ns=(0, 1))
    Image.new("L", (8, 8), 7).save(folder / "a" / ".hidden.png")
    (folder / "a" / "Thumbs.db").write_text("x")
    (folder / "notes.txt").write_text("x")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    moved = folder.rename(folder.with_name("moved"))
    assert identity(moved) == before
    (moved / "a" / "0.png").rename(moved / "a" / "1.png")  # still the first
    renamed = identity(moved)
    Image.new("L", (8, 8), 9).save(moved / "a" / "1.png")
    assert len({before, renamed, identity(moved)}) == 3


def test_splits_that_are_given_are_all_that_counts(folder, tmp_path, identity):
    for name in ("train", "val", "test"):
        (folder / name).symlink_to(folder / "a")
    before = identity(folder)
    Image.new("L", (8, 8), 99).save(folder / "b" / "1.png")
    assert identity(folder) == before
    Image.new("L", (8, 8), 99).save(folder / "a" / "0.png")
    assert identity(folder) != before
    pairs = [(split, i) for split in ("test", "train", "val") for i in (0, 2)]
    assert names(folder, tmp_path) == [f"{split}/{i}.png" for split, i in pairs]


def test_links_are_followed_but_not_in_circles(folder, tmp_path, identity):
    (folder / "b" / "1.png").rename(tmp_path / "elsewhere.png")
    (folder / "b" / "1.png").symlink_to(tmp_path / "elsewhere.png")
    plain = identity(folder)
    (folder / "a").rename(tmp_path / "a")
    (folder / "a").symlink_to(tmp_path / "a")
    assert identity(folder) == plain
    (tmp_path / "a" / "up").symlink_to(folder)
    (tmp_path / "a" / "self").symlink_to("self")
    (folder / "gone.png").symlink_to("nothing.png")
    assert identity(folder) == plain
    assert read_by(FOLDER, folder, tmp_path / "data")["gone.png"].flaw


def test_a_folder_whose_name_is_no_text_is_read_and_remembered(folder, identity, tmp_path, monkeypatch):
    plain, other = identity(folder), folder.with_name(os.fsdecode(b"f\xff"))
    folder.rename(other)
    monkeypatch.setattr(contents, "_COARSE", 0)  # so that new files are remembered
    assert identity(other) == plain
    monkeypatch.setattr(contents, "_picture", None)
    assert identity(other) == plain


def test_a_disk_that_fails_makes_no_flaw(folder, identity, monkeypatch):
    before = identity(folder)

    def failing(path, form):
        raise OSError(errno.EIO, "Input/output error")

    Image.new("L", (8, 8), 8).save(folder / "a" / "8.png")
    with monkeypatch.context() as broken:
        broken.setattr(contents.pictures, "read", failing)
        with pytest.raises(UserError, match=r"\d\.png cannot be read: Input/output error$"):
            identity(folder)
    (folder / "a" / "8.png").unlink()
    assert identity(folder) == before


def test_a_pipe_is_not_waited_for(folder, identity):
    before = identity(folder)
    os.mkfifo(folder / "pipe.png")
    assert identity(folder) == before


def test_what_caelab_made_is_no_input(folder, identity):
    before = identity(folder)
    for made in ("multirun/runs/folder/x/.hydra/config.yaml", "multirun/comparisons/.caelab"):
        path = folder / made
        path.parent.mkdir(parents=True)
        path.touch()
        top = path.parent.parent if ".hydra" in made else path.parent
        Image.new("L", (8, 8)).save(top / "reconstructions.png")
    assert identity(folder) == before


def test_a_file_is_read_again_only_when_it_may_have_changed(folder, identity, monkeypatch):
    read = []
    picture = contents._picture
    monkeypatch.setattr(contents, "_picture", lambda path: read.append(path.name) or picture(path))
    identity(folder)
    assert sorted(read) == ["0.png", "1.png", "2.png", "3.png"]
    monkeypatch.setattr(contents, "_COARSE", -1e9)  # as if the files were old
    identity(folder)
    read.clear()
    identity(folder)
    assert read == []
    os.chmod(folder / "a" / "0.png", 0o600)  # sets the time of change
    identity(folder)
    assert read == ["0.png"]


def test_a_file_of_a_moment_ago_may_change_within_the_tick_of_a_clock(folder, identity, tmp_path):
    identity(folder)
    (table,) = (tmp_path / "data" / "checksums").glob("*.json")
    assert '"files": {}' in table.read_text()


def test_a_data_folder_that_cannot_be_written_only_forgets(folder, tmp_path):
    (tmp_path / "data").write_text("no folder")
    assert len(names(folder, tmp_path)) == 4


def test_of_another_class_every_file_counts(folder, tmp_path, identity):
    before = identity(folder, "mine.Dataset")
    (folder / "labels.csv").write_text("0,1")
    assert identity(folder, "mine.Dataset") != before
    assert names(folder, tmp_path, "mine.Dataset")[-1] == "labels.csv"


def test_of_cinic10_the_pngs_of_its_splits_count(tmp_path):
    for name in ("CINIC-10/train/cat/1.png", "test/dog/2.png", "README", "imagenet/3.png"):
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert names(tmp_path / "root", tmp_path, CINIC10) == ["CINIC-10/train/cat/1.png", "test/dog/2.png"]


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(contents.os, "scandir", refuse)
    with pytest.raises(UserError, match=r"images cannot be read: Permission denied"):
        read_by(FOLDER, tmp_path / "images", tmp_path)


def test_it_needs_no_torch():
    code = "import sys, caelab.data.contents, caelab.data.unused; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
