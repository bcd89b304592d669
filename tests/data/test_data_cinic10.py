"""CINIC-10 from small archives in exactly its layout."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caelab.data import cinic10, pngs
from caelab.data.cinic10 import CINIC10
from caelab.data.download import UnavailableError, md5_of
from caelab.data.pngs import decode
from caelab.errors import UserError

CLASSES = CINIC10.class_names
SPLITS = ("train", "valid", "test")
FILES = (
    "cifar10-train-3318.png",
    "cifar-10-test-7.png",
    "n02690373_123.png",
)  # in sorted order: '-' before '1'


def pixels(split, label, file) -> np.ndarray:
    """(32, 32, 3), different for every image; one in each class is grey."""
    seed = [SPLITS.index(split), label, FILES.index(file)]
    colours = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return np.repeat(colours[..., :1], 3, 2) if file.startswith("n") else colours


def png(split, label, file) -> bytes:
    image = Image.fromarray(pixels(split, label, file))
    data = io.BytesIO()
    (image.convert("L") if file.startswith("n") else image).save(data, "PNG")
    return data.getvalue()


def contents(top="") -> dict[str, bytes]:
    """The members of a small data set, in no particular order."""
    members = {
        f"{top}{split}/{name}/{file}": png(split, label, file)
        for split in SPLITS
        for label, name in enumerate(CLASSES)
        for file in FILES
    }
    names = list(members)
    np.random.default_rng(0).shuffle(names)
    extra = {
        f"{top}README.md": b"about",
        f"{top}imagenet-contributors.csv": b"a,b",
        f"{top}train/._x.png": b"",
    }
    return extra | {name: members[name] for name in names}


def archive_of(path: Path, members: dict[str, bytes], extra: tarfile.TarInfo | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        if extra is not None:
            tar.addfile(extra)
    return path


def unpacked(root: Path, members: dict[str, bytes]) -> Path:
    for name, data in members.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


@pytest.fixture(scope="module")
def official(tmp_path_factory) -> Path:
    return archive_of(tmp_path_factory.mktemp("official") / "CINIC-10.tar.gz", contents())


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def fail(*_):
        raise UnavailableError("no network in tests")

    monkeypatch.setattr(cinic10, "download", fail)


def small(archive: Path) -> type[CINIC10]:
    """The data set whose official archive is this one."""
    return type("Small", (CINIC10,), {"per_class": 3, "archive_md5": md5_of(archive)})


def ready(cls, folder, **options) -> CINIC10:
    module = cls(str(folder), **({"batch_size": 4} | options))
    module.prepare_data()
    module.setup()
    return module


def assert_right(module):
    for split, key in zip(SPLITS, ("train", "val", "test"), strict=True):
        expected = [
            pixels(split, label, file).transpose(2, 0, 1) for label in range(10) for file in sorted(FILES)
        ]
        assert np.array_equal(module.splits[key][:].numpy(), np.stack(expected))
        assert module.splits[key].targets.tolist() == [label for label in range(10) for _ in range(3)]


def test_an_archive_that_the_user_names(tmp_path, official):
    assert_right(ready(small(official), tmp_path, archive=str(official)))


@pytest.mark.parametrize("top", ["CINIC-10/", "./", "./CINIC-10/"])
def test_the_splits_may_lie_below_the_root_of_the_archive(tmp_path, top):
    archive = archive_of(tmp_path / "a.tar.gz", contents(top))
    assert_right(ready(small(archive), tmp_path, archive=str(archive)))


def test_at_hand_is_what_needs_no_download(tmp_path, official):
    data = tmp_path / "data"
    assert not CINIC10(str(data)).at_hand()
    assert not CINIC10(str(data)).here()
    assert CINIC10(str(data), archive=str(official)).at_hand()
    assert CINIC10(str(data), root=str(tmp_path)).at_hand()
    (data / "cinic10").mkdir(parents=True)
    (data / "cinic10" / "CINIC-10.tar.gz").write_bytes(b"")
    assert CINIC10(str(data)).at_hand()
    assert CINIC10(str(data)).here()


def test_an_archive_that_lies_in_the_datasets_folder(tmp_path, official):
    (tmp_path / "cinic10").mkdir()
    shutil.copy(official, tmp_path / "cinic10")
    assert_right(ready(small(official), tmp_path))


@pytest.mark.parametrize("top", ["", "CINIC-10/"])
def test_a_folder_that_is_already_unpacked(tmp_path, official, top):
    root = unpacked(tmp_path / "root", contents(top))
    module = ready(small(official), tmp_path / "data", root=str(root))
    assert_right(module)
    archived = ready(small(official), tmp_path / "data", archive=str(official))
    assert module.sha256 == archived.sha256


def test_a_damaged_archive_in_the_datasets_folder_is_named_and_fetched_anew(
    tmp_path, official, monkeypatch, capsys
):
    path = archive_of(tmp_path / "cinic10" / "CINIC-10.tar.gz", {"a": b"b"})
    asked = []

    def download(urls, target, md5):
        asked.append((urls[0], md5))
        shutil.copy(official, target)

    monkeypatch.setattr(cinic10, "download", download)
    cls = small(official)
    assert_right(ready(cls, tmp_path))
    assert asked == [(CINIC10.urls[0], cls.archive_md5)]
    assert f"{path} is damaged" in capsys.readouterr().err


def test_the_second_start_decodes_nothing(tmp_path, official, monkeypatch):
    ready(small(official), tmp_path, archive=str(official))
    monkeypatch.setattr(cinic10, "decode_all", None)
    assert_right(ready(small(official), tmp_path))  # and needs no archive any more


def test_decoding_in_processes_gives_the_same(tmp_path, official, monkeypatch):
    monkeypatch.setattr(pngs, "CHUNK", 50)  # 90 images: two processes
    assert_right(ready(small(official), tmp_path, archive=str(official)))


def test_as_many_processes_decode_as_cores_were_given(tmp_path, official, monkeypatch):
    started, start = [], pngs.subprocess.Popen
    monkeypatch.setattr(pngs, "CHUNK", 10)
    monkeypatch.setattr(pngs, "share", lambda: (2, ""))
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    monkeypatch.setattr(pngs.subprocess, "Popen", lambda *a, **k: started.append(1) or start(*a, **k))
    assert_right(ready(small(official), tmp_path, archive=str(official)))
    assert len(started) == 2


def test_an_error_in_a_process_reaches_the_user(tmp_path, monkeypatch):
    monkeypatch.setattr(pngs, "CHUNK", 50)
    members = contents()
    members[f"train/bird/{FILES[0]}"] = b"no PNG"
    archive = archive_of(tmp_path / "a.tar.gz", members)
    with pytest.raises(UserError, match=rf"a\.tar\.gz: train/bird/{FILES[0]} cannot be decoded"):
        ready(small(archive), tmp_path, archive=str(archive))


def test_a_process_that_dies_is_an_error(tmp_path, official, monkeypatch):
    monkeypatch.setattr(pngs.sys, "executable", shutil.which("false"))
    with pytest.raises(UserError, match="a process that decodes images died"):
        ready(small(official), tmp_path, archive=str(official))
    assert not (tmp_path / "cinic10" / "cache").exists()


def test_exclude_cifar_drops_by_file_name(tmp_path, official):
    module = ready(small(official), tmp_path, archive=str(official), exclude_cifar=True)
    for split, key in zip(SPLITS, ("train", "val", "test"), strict=True):
        expected = [pixels(split, label, FILES[2]).transpose(2, 0, 1) for label in range(10)]
        assert np.array_equal(module.splits[key][:].numpy(), np.stack(expected))
        assert module.splits[key].targets.tolist() == list(range(10))


def refused(tmp_path, members, match, extra=None, **attributes):
    archive = archive_of(tmp_path / "bad.tar.gz", members, extra)
    cls = small(archive)
    for name, value in attributes.items():
        setattr(cls, name, value)
    with pytest.raises(UserError, match=match) as caught:
        ready(cls, tmp_path, archive=str(archive))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "cinic10" / "cache").exists()


def test_a_truncated_png_is_named(tmp_path):
    members = contents()
    members[f"valid/cat/{FILES[2]}"] = members[f"valid/cat/{FILES[2]}"][:-300]
    refused(tmp_path, members, rf"bad\.tar\.gz: valid/cat/{FILES[2]} cannot be decoded: .*truncated")


def test_a_png_of_another_size_is_named(tmp_path):
    data = io.BytesIO()
    Image.new("RGB", (33, 32)).save(data, "PNG")
    members = contents() | {f"valid/cat/{FILES[2]}": data.getvalue()}
    refused(tmp_path, members, rf"valid/cat/{FILES[2]} has 33x32 pixels instead of 32x32")


def test_a_missing_class_is_named(tmp_path):
    members = {name: data for name, data in contents().items() if not name.startswith("test/ship/")}
    refused(tmp_path, members, r"bad\.tar\.gz: test/ship has 0 images instead of 3")


def test_a_missing_image_is_counted(tmp_path):
    members = contents()
    del members[f"train/frog/{FILES[1]}"]
    refused(tmp_path, members, r"train/frog has 2 images instead of 3")


def test_a_wrong_md5_is_refused(tmp_path):
    refused(
        tmp_path,
        contents(),
        rf"dataset\.archive={tmp_path}/bad\.tar\.gz: not the official archive, .* instead of {'0' * 32}",
        archive_md5="0" * 32,
    )


@pytest.mark.parametrize(
    "name", ["../outside.png", "train/../../outside.png", "/etc/outside.png", "train/bird/../x.png"]
)
def test_a_member_that_leaves_the_target_is_refused(tmp_path, name):
    refused(
        tmp_path,
        contents() | {name: b"x"},
        r"bad\.tar\.gz: the member '.*outside\.png|x\.png' would be unpacked outside",
    )
    assert not (tmp_path.parent / "outside.png").exists()


@pytest.mark.parametrize(
    ("name", "kind", "target"),
    [
        ("train/link", tarfile.SYMTYPE, "../../outside"),
        ("train/link", tarfile.SYMTYPE, "/etc/passwd"),
        ("link", tarfile.LNKTYPE, "../outside"),
        ("train/bird/n1.png", tarfile.SYMTYPE, "../../../x"),
    ],
)
def test_a_link_that_leaves_the_target_is_refused(tmp_path, name, kind, target):
    link = tarfile.TarInfo(name)
    link.type, link.linkname = kind, target
    refused(tmp_path, contents(), rf"the member '{name}' would be unpacked outside", link)


def test_a_link_within_the_target_is_only_ignored(tmp_path):
    link = tarfile.TarInfo("train/bird/same.png")
    link.type, link.linkname = tarfile.SYMTYPE, f"../cat/{FILES[0]}"
    archive = archive_of(tmp_path / "a.tar.gz", contents(), link)
    assert_right(ready(small(archive), tmp_path, archive=str(archive)))


def test_a_truncated_archive_is_named(tmp_path, official):
    archive = tmp_path / "cut.tar.gz"
    archive.write_bytes(official.read_bytes()[:100_000])
    with pytest.raises(UserError, match=r"cut\.tar\.gz cannot be read to its end"):
        ready(small(archive), tmp_path, archive=str(archive))


def test_without_an_archive_one_line_says_what_to_do(tmp_path):
    with pytest.raises(UserError) as caught:
        ready(CINIC10, tmp_path)
    for part in ("dataset.archive=FILE", "dataset.root=FOLDER", str(tmp_path / "cinic10"), "dataset=shapes"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"archive": "nowhere.tar.gz"}, r"dataset\.archive=.*/nowhere\.tar\.gz: there is no such file"),
        ({"root": "nowhere"}, r"dataset\.root=.*/nowhere: no train/, valid/ and test/"),
        ({"root": "a", "archive": "b"}, r"dataset\.archive and dataset\.root: give one"),
        ({"exclude_cifar": "maybe"}, r"dataset\.exclude_cifar=maybe: must be true or false"),
    ],
)
def test_a_users_mistake_is_one_line_that_names_the_key(tmp_path, options, match):
    with pytest.raises(UserError, match=match):
        ready(CINIC10, tmp_path, **options)


def test_known_before_reading():
    module = CINIC10("nowhere")
    assert (module.name, module.shape, module.per_class) == ("cinic10", (3, 32, 32), 9000)
    assert module.archive_md5 == "6ee4d0c996905fe93221de577967a372"


def test_a_folder_with_other_pixels_is_read_anew(tmp_path, official):
    root = unpacked(tmp_path / "root", contents())
    first = ready(small(official), tmp_path / "data", root=str(root))
    name = next(iter(root.glob("test/cat/*.png")))
    Image.new("RGB", (32, 32), "white").save(name)
    second = ready(small(official), tmp_path / "data", root=str(root))
    assert second.sha256 != first.sha256
    assert int((second.splits["test"][:] != first.splits["test"][:]).flatten(1).any(1).sum()) == 1
    moved = root.rename(tmp_path / "moved")
    assert ready(small(official), tmp_path / "data", root=str(moved)).sha256 == second.sha256


def test_a_picture_that_claims_another_size_is_not_decoded(tmp_path, monkeypatch):
    Image.new("RGB", (9000, 9000)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image.Image, "convert", None)
    with pytest.raises(UserError, match="large has 9000x9000 pixels instead of 32x32"):
        decode([("large", tmp_path / "large.png")], 32)
