"""A user's own images: layouts, formats, scaling, and what is wrong with them."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from caelab.data import contents, pictures
from caelab.data.folder import Folder
from caelab.data.pictures import Form, to_pixels
from caelab.errors import UserError


def save(path: Path, grey: int = 0, size=(8, 8)) -> None:
    """One image of one grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (grey, grey, grey)).save(path)


def ready(tmp_path, root, **options) -> Folder:
    module = Folder(str(tmp_path / "data"), str(root), **({"batch_size": 1, "image_size": 4} | options))
    module.prepare_data()
    module.setup()
    return module


def greys(module, key) -> list[int]:
    return module.splits[key][:][:, 0, 0, 0].tolist()


@pytest.fixture
def flat(tmp_path) -> Path:
    root = tmp_path / "images"
    for i in range(25):
        save(root / f"{i:02}.png", i)
    return root


def test_a_flat_folder_is_split_by_its_names(tmp_path, flat):
    module = ready(tmp_path, flat)
    parts = [greys(module, key) for key in ("train", "val", "test")]
    assert [len(part) for part in parts] == [21, 2, 2]
    assert sorted(sum(parts, [])) == list(range(25))
    assert parts[0] == sorted(parts[0])
    assert module.class_names == ("images",)
    assert module.shape == (3, 4, 4)
    by_hash = sorted(range(25), key=lambda i: sha256(f"{Folder.split_seed} {i:02}.png".encode()).digest())
    assert parts[1:] == [sorted(by_hash[:2]), sorted(by_hash[2:4])]
    other = ready(tmp_path, flat, order_seed=5)
    assert [greys(other, key) for key in ("train", "val", "test")] == parts


def test_here_is_where_the_folder_is(tmp_path, flat):
    assert Folder(str(tmp_path), str(flat)).here()
    assert not Folder(str(tmp_path), str(tmp_path / "moved")).here()


def test_class_folders_are_labels(tmp_path):
    root = tmp_path / "images"
    for i in range(100):
        save(root / ("dogs" if i % 2 else "cats/black") / f"{i:02}.png", i)
    module = ready(tmp_path, root)
    assert module.class_names == ("cats", "dogs")
    for split in module.splits.values():
        assert [grey % 2 for grey in split[:][:, 0, 0, 0].tolist()] == split.targets.tolist()
    assert set(ready(tmp_path, root, classes=[1]).splits["train"].targets.tolist()) == {1}


def test_given_splits_are_kept(tmp_path):
    root = tmp_path / "images"
    for i, name in enumerate(["train/b/1.png", "train/a/2.png", "val/b/3.png", "test/c/4.png"]):
        save(root / name, 10 * i)
    (root / "README").write_text("not in a split, so not read")
    module = ready(tmp_path, root)
    assert module.class_names == ("a", "b", "c")
    assert [greys(module, key) for key in ("train", "val", "test")] == [[10, 0], [20], [30]]
    assert [module.splits[key].targets.tolist() for key in ("train", "val", "test")] == [[0, 1], [1], [2]]


def test_given_splits_without_classes(tmp_path):
    root = tmp_path / "images"
    for i, name in enumerate(["train/1.png", "val/1.png", "test/1.png"]):
        save(root / name, i)
    module = ready(tmp_path, root)
    assert module.class_names == ("images",)
    assert [greys(module, key) for key in ("train", "val", "test")] == [[0], [1], [2]]


@pytest.mark.parametrize("name", ["png", "jpg", "bmp", "gif", "tif", "webp", "ppm"])
def test_formats(tmp_path, name):
    path = tmp_path / f"image.{name}"
    save(path, 100, (40, 40))
    with Image.open(path) as image:
        assert to_pixels(image, Form(3, 8, 8)) == pytest.approx(np.full((3, 8, 8), 100), abs=2)


def test_the_middle_square_of_the_shorter_side_is_kept():
    image = Image.new("RGB", (64, 32), "black")
    image.paste("red", (16, 0, 48, 32))
    scaled = to_pixels(image, Form(3, 16, 16))
    assert scaled.shape == (3, 16, 16)
    assert (scaled[0, :, 1:-1] == 255).all()  # the outermost columns are mixed with what is beside them
    assert (scaled[0] > 230).all()
    assert (scaled[1:] == 0).all()
    upright = to_pixels(image.transpose(Image.Transpose.ROTATE_90), Form(3, 16, 16))
    assert np.array_equal(upright, np.rot90(scaled, axes=(1, 2)))


def test_scaling_averages_what_it_removes():
    checks = Image.fromarray((np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8))
    assert to_pixels(checks, Form(1, 8, 8)).mean() == pytest.approx(127.5, abs=2)


def test_an_image_of_the_right_size_is_unchanged():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert np.array_equal(to_pixels(Image.fromarray(pixels), Form(3, 32, 32)), pixels.transpose(2, 0, 1))


def test_sixteen_bits_are_rounded_to_eight(tmp_path):
    values = np.arange(0, 65_536, 64, dtype=np.uint16).reshape(32, 32)
    Image.fromarray(values).save(tmp_path / "deep.png")
    with Image.open(tmp_path / "deep.png") as image:
        assert np.array_equal(to_pixels(image, Form(1, 32, 32))[0], np.round(values / 257))


def test_floats_are_taken_from_0_to_1(tmp_path):
    values = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "float.tif")
    with Image.open(tmp_path / "float.tif") as image:
        assert np.array_equal(to_pixels(image, Form(1, 16, 16))[0].ravel(), np.arange(256))


def test_floats_of_another_scale_are_skipped_and_named(tmp_path, flat, capsys):
    Image.fromarray(np.full((8, 8), 200, np.float32)).save(flat / "x.tif")
    module = ready(tmp_path, flat)
    assert sum(len(split) for split in module.splits.values()) == 25
    said = capsys.readouterr().err
    assert f"{flat}/x.tif: its values go from 200 to 200; they must be within 0 and 1" in said


def test_transparent_pixels_are_white(tmp_path):
    half = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    half.paste((255, 0, 0, 255), (0, 0, 4, 8))
    half.save(tmp_path / "half.png")
    half.convert("P").save(tmp_path / "palette.gif", transparency=half.convert("P").getpixel((7, 7)))
    for name in ("half.png", "palette.gif"):
        with Image.open(tmp_path / name) as image:
            assert to_pixels(image, Form(3, 8, 8))[:, 0, 7].tolist() == [255, 255, 255]
    with Image.open(tmp_path / "half.png") as image:
        assert to_pixels(image, Form(3, 8, 8))[:, 0, 0].tolist() == [255, 0, 0]


def test_a_palette_becomes_its_colours(tmp_path):
    Image.new("RGB", (8, 8), (10, 200, 30)).convert("P", palette=Image.Palette.ADAPTIVE).save(
        tmp_path / "p.png"
    )
    with Image.open(tmp_path / "p.png") as image:
        assert image.mode == "P"
        assert to_pixels(image, Form(3, 8, 8))[:, 3, 3].tolist() == [10, 200, 30]


def test_a_photograph_is_turned_upright(tmp_path):
    image = Image.new("RGB", (32, 32), "black")
    image.paste("white", (0, 0, 32, 16))  # the upper half
    exif = Image.Exif()
    exif[0x0112] = 3  # taken upside down
    image.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as turned:
        rows = to_pixels(turned, Form(1, 32, 32))[0].mean(1)
    assert rows[:15].max() == 0
    assert rows[17:].min() == 255


def test_grey_is_rec_601():
    image = Image.new("RGB", (4, 4), (200, 100, 50))
    assert to_pixels(image, Form(1, 4, 4))[0, 0, 0] == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)


def test_any_shape_and_depth(tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    for i in range(10):
        Image.fromarray(np.full((6, 9), 1000 * i + 1, np.uint16)).save(root / f"{i}.png")
    module = ready(tmp_path, root, image_size=[6, 8], channels=1, bits=16)
    assert module.shape == (1, 6, 8)
    split = module.splits["train"]
    assert split.images.dtype == torch.uint16
    known = {(1000 * i + 1) / 65_535 for i in range(10)}
    assert {round(x, 6) for x in split[:][:, 0, 0, 0].tolist()} <= {round(x, 6) for x in known}
    same = ready(tmp_path, root, image_size=[6, 8], channels=1, bits=32).splits["train"]
    assert same.images.dtype == torch.float32
    torch.testing.assert_close(same[:], split[:])


def test_each_form_has_a_cache_of_its_own(tmp_path, flat):
    forms = [{}, {"fit": "pad"}, {"fit": "stretch"}, {"bits": 16}, {"bits": 32}, {"image_size": [4, 5]}]
    assert len({ready(tmp_path, flat, **form).sha256 for form in forms}) == 6
    assert len(list((tmp_path / "data" / "folder").iterdir())) == 6


@pytest.mark.parametrize(("size", "kept"), [(4, True), ([4, 5], False)])
def test_oblong_pictures_that_caelab_read_before_0_13_are_read_again(tmp_path, flat, monkeypatch, size, kept):
    with monkeypatch.context() as earlier:
        earlier.setattr("caelab.data.folder._OBLONG", "")
        earlier.setattr(pictures, "read", lambda path, form, look=None: np.full(form[:3], 200, np.uint8))
        before = ready(tmp_path, flat, image_size=size)
    after = ready(tmp_path, flat, image_size=size)
    assert set(greys(before, "test")) == {200}
    assert (set(greys(after, "test")) == {200}) == kept
    assert after.sha256 == before.sha256  # of the files


def test_what_is_not_taken_as_it_is_is_said_once(tmp_path, flat, capsys):
    for name in ("x", "y"):
        Image.new("CMYK", (8, 8)).save(flat / f"{name}.jpg")
    ready(tmp_path, flat)
    lines = [line for line in capsys.readouterr().err.splitlines() if "CMYK" in line]
    what = "folder: CMYK: turned to RGB without its colour profile"
    assert lines == [f"{what} ({flat / 'x.jpg'} and 1 more)"]


def test_unreadable_files_are_named_and_skipped_with_a_count(tmp_path, flat, capsys):
    (flat / "03.png").write_bytes((flat / "03.png").read_bytes()[:50])
    (flat / "notes.txt").write_text("no image")
    (flat / ".hidden").write_text("passed over without a word")
    module = ready(tmp_path, flat)
    assert sum(len(split) for split in module.splits.values()) == 24
    assert 3 not in greys(module, "train") + greys(module, "val") + greys(module, "test")
    said = capsys.readouterr().err
    assert str(flat / "03.png") in said
    assert str(flat / "notes.txt") in said
    assert "2 of 26 files cannot be read as images and are skipped" in said
    assert ".hidden" not in said


def test_many_unreadable_files_are_named_only_in_part(tmp_path, flat, capsys):
    for i in range(30):
        (flat / f"x{i}.png").write_bytes(b"")
    ready(tmp_path, flat)
    said = capsys.readouterr().err
    assert said.count("folder: skipped") == 10
    assert "30 of 55 files" in said


def test_the_second_start_reads_no_image(tmp_path, flat, monkeypatch):
    first = ready(tmp_path, flat)
    monkeypatch.setattr(contents, "_COARSE", -1e9)  # whatever the clock says
    ready(tmp_path, flat)
    monkeypatch.setattr(pictures, "read", None)
    second = ready(tmp_path, flat)
    assert greys(second, "train") == greys(first, "train")
    assert second.sha256 == first.sha256
    assert torch.equal(second.splits["val"].index, first.splits["val"].index)


def test_more_than_memory_holds_is_read_by_place(tmp_path, flat, monkeypatch):
    before = ready(tmp_path, flat)
    assert before.splits["train"].stored is None
    monkeypatch.setattr("caelab.data.cache.fits", lambda *_: False)
    after = ready(tmp_path, flat)
    for name, split in after.splits.items():
        assert split.stored.path.parent.name == "cache"
        assert torch.equal(split[:], before.splits[name][:])


def test_a_changed_file_or_option_is_read_anew(tmp_path, flat):
    def hashes(**options):
        return ready(tmp_path, flat, **options).sha256

    first = hashes()
    save(flat / "24.png", 99)
    os.utime(flat / "24.png", ns=(0, 12345))
    changed = hashes()
    assert len({first, changed, hashes(image_size=5), hashes(channels=1)}) == 4
    assert hashes() == changed


def ten(root):
    for i in range(10):
        save(root / f"{i}.png", i)


def only_text(root):
    (root / "a.txt").write_text("no image")


def two(root):
    for i in range(2):
        save(root / f"{i}.png")


def no_test_folder(root):
    save(root / "train" / "a.png")
    save(root / "val" / "a.png")


def empty_val(root):
    for name in ("train", "test"):
        save(root / name / "a.png")
    (root / "val").mkdir()


@pytest.mark.parametrize(
    ("make", "options", "match"),
    [
        (lambda root: root.rmdir(), {}, r"dataset\.path=.*/images: there is no such folder"),
        (lambda root: root.rename(root.with_name("image")), {}, r"no such folder; did you mean .*/image\?$"),
        (lambda root: (root.rmdir(), root.touch()), {}, r"images: it is a file; give the folder of the pict"),
        (lambda root: None, {}, r"dataset\.path=.*/images: there is no file in it"),
        (only_text, {}, r"dataset\.path=.*/images: no file in it can be read as an image"),
        (two, {}, r"dataset\.path=.*/images: 2 images are too few; at least 3 are needed"),
        (no_test_folder, {}, r"dataset\.path=.*/images: there is train/ but no test/"),
        (empty_val, {}, r"dataset\.path=.*/images: no image in val/ that can be read"),
        (ten, {"classes": [1]}, r"dataset\.classes=\[1\]: give a list of different classes from 0 to 0"),
        (ten, {"channels": 5}, r"dataset\.channels=5: must be 1 \(grey\), 3 \(colour\) or 4 .*dataset=array"),
        (
            ten,
            {"channels": 4},
            r"/images/0\.png: its bands are R, G, B; dataset\.channels=4 takes pictures of",
        ),
        (ten, {"fit": "cut"}, r"dataset\.fit=cut: must be crop, pad, stretch"),
        (ten, {"bits": 12}, r"dataset\.bits=12: must be 8, 16 or 32 \(floats\)"),
        (ten, {"image_size": [4]}, r"dataset\.image_size=\[4\]: must be one number, or \[height,width\]"),
        (ten, {"image_size": [4, 0]}, r"dataset\.image_size=0: must be a whole number"),
        (ten, {"image_size": 0}, r"dataset\.image_size=0: must be a whole number"),
    ],
)
def test_a_users_mistake_is_one_line_that_names_the_key(tmp_path, make, options, match):
    root = tmp_path / "images"
    root.mkdir()
    make(root)
    with pytest.raises(UserError, match=match) as caught:
        ready(tmp_path, root, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_what_a_model_card_says_of_the_pictures_follows_fit(tmp_path, fit):
    assert {"pad": "black beside", "stretch": "stretched"}[fit] in Folder(
        str(tmp_path), "photos", fit=fit
    ).pictures
