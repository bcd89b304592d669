"""Files of arrays for a network of other values than bytes: each comes back in its own type and range."""

import json

import numpy as np
import pytest
from PIL import Image
from toys import leave_identity

from caelab.inference.reconstruct import reconstruct
from caelab.runs.record import RECORD

SHADES = np.arange(64).reshape(1, 8, 8) / 63
KINDS = {
    "bytes": (255 * SHADES).round().astype(np.uint8),
    "floats": SHADES.astype(np.float32),
    "whole": (4095 * SHADES).round().astype(np.uint16),
}


@pytest.fixture(params=["float32", "uint16"])
def run(request, tmp_path, monkeypatch):
    """A run of [0, 4095] that gives every image back; the working directory above it has the files."""
    monkeypatch.chdir(tmp_path)
    path = leave_identity(tmp_path / "run", (1, 8, 8))
    record = json.loads((path / RECORD).read_text())
    record["data"] |= {"dtype": request.param, "between": [0, 4095]}
    (path / RECORD).write_text(json.dumps(record))
    for name, images in KINDS.items():
        np.save(f"{name}.npy", images)
    np.save("empty.npy", np.zeros((0, 8, 8), request.param))
    return request.param


def test_a_file_of_another_type_comes_back_in_its_own_range(run, lab):
    names = ["bytes.npy", "floats.npy", *(["whole.npy"] if run == "uint16" else [])]
    for words in (["reconstruct", "run", *names], ["encode", "run", *names], ["decode", "run", "codes.npz"]):
        status, _, err = lab(*words, "--out", "codes.npz" if words[0] == "encode" else words[0])
        assert status == 0, err
    for name in names:
        given = np.load(name)
        for folder in ("reconstruct", "decode"):
            found = np.load(f"{folder}/{name}")
            assert (found.dtype, found.shape) == (given.dtype, given.shape)
            assert np.abs(found - given.astype(float)).max() <= (2e-4 if given.dtype.kind == "f" else 0)


def test_figures_of_another_type_are_of_its_own_range(run, tmp_path):
    rows, skipped = reconstruct(tmp_path / "run", [tmp_path / "bytes.npy"], tmp_path / "out")
    assert skipped == 0
    assert rows[0].psnr > 60


def test_a_file_without_an_image_is_skipped_and_the_others_are_not(run, lab):
    status, _, err = lab("encode", "run", "empty.npy", "bytes.npy", "--out", "codes.npz")
    assert status == 1
    assert "caelab: empty.npy: skipped: no image in it\n" in err
    assert lab("decode", "run", "codes.npz", "--out", "decoded")[0] == 0
    assert np.array_equal(np.load("decoded/bytes.npy"), KINDS["bytes"])
    status, _, err = lab("encode", "run", "empty.npy", "--out", "none.npz")
    assert status == 1
    assert "caelab: empty.npy: skipped: no image in it\n" in err


def test_numbers_that_torch_does_not_have_are_floats(run, lab):
    np.save("long.npy", SHADES.astype(np.longdouble))
    status, _, err = lab("reconstruct", "run", "long.npy", "--out", "out")
    assert status == 0, err
    found = np.load("out/long.npy")
    assert (found.dtype, np.abs(found - SHADES).max() <= 2e-4) == (np.longdouble, True)


@pytest.fixture(params=["deep", "four bands"])
def pictures(request, tmp_path, monkeypatch):
    """A run of 16-bit grey, or of four bands, that gives every picture back; and two such pictures."""
    monkeypatch.chdir(tmp_path)
    deep = request.param == "deep"
    path = leave_identity(tmp_path / "run", (1 if deep else 4, 8, 8))
    record = json.loads((path / RECORD).read_text())
    if deep:
        record["data"] |= {"dtype": "uint16", "between": [0, 65535]}
    (path / RECORD).write_text(json.dumps(record))
    (tmp_path / "photos").mkdir()
    draw, found = np.random.default_rng(0), {}
    for name in ("a", "b"):
        shape, top = ((8, 8), 65535) if deep else ((8, 8, 4), 255)
        found[name] = draw.integers(0, top, shape, np.uint16 if deep else np.uint8, endpoint=True)
        Image.fromarray(found[name]).save(f"photos/{name}.png")
    return found


def test_pictures_of_16_bits_or_four_bands_come_back_as_they_were(pictures, lab):
    for words in (
        ["reconstruct", "run", "photos"],
        ["encode", "run", "photos"],
        ["decode", "run", "codes.npz"],
    ):
        status, _, err = lab(*words, "--out", "codes.npz" if words[0] == "encode" else words[0])
        assert status == 0, err
    for name, given in pictures.items():
        for folder in ("reconstruct", "decode"):
            with Image.open(f"{folder}/{name}.png") as found:
                assert found.mode == ("I;16" if given.dtype == np.uint16 else "RGBA")
                assert np.array_equal(np.asarray(found), given)


def test_pictures_are_refused_where_their_16_bits_of_colour_could_not_come_back(tmp_path, monkeypatch, lab):
    monkeypatch.chdir(tmp_path)
    path = leave_identity(tmp_path / "run", (3, 8, 8))
    record = json.loads((path / RECORD).read_text())
    record["data"] |= {"dtype": "uint16", "between": [0, 65535]}
    (path / RECORD).write_text(json.dumps(record))
    Image.new("RGB", (8, 8)).save("a.png")
    status, out, err = lab("reconstruct", "run", "a.png", "--out", "out")
    assert (status, out) == (1, "")
    assert "a.png: skipped: not an array file; its name must end in .npy, .tif, .tiff\n" in err
    np.save("a.npy", np.zeros((2, 8, 8, 3), np.uint16))
    assert lab("reconstruct", "run", "a.npy", "--out", "out")[0] == 0


def test_axes_that_could_be_two_are_those_that_the_network_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    leave_identity(tmp_path / "run", (6, 4, 6))
    array = np.random.default_rng(2).integers(0, 256, (2, 6, 4, 6), np.uint8)
    np.save("odd.npy", array)
    rows, _ = reconstruct(tmp_path / "run", [tmp_path / "odd.npy"], tmp_path / "out")
    assert (rows[0].height, rows[0].width, rows[0].psnr > 60) == (4, 6, True)
    assert np.array_equal(np.load("out/odd.npy"), array)


def test_a_picture_that_does_not_fit_leaves_nothing_in_the_way(pictures, lab):
    Image.new("CMYK", (8, 8)).save("inks.jpg")
    Image.new("I;16" if pictures["a"].dtype == np.uint16 else "RGBA", (9, 8)).save("wide.png")
    status, _, err = lab("reconstruct", "run", "wide.png", "inks.jpg", "--out", "out")
    assert status == 1
    (wide,) = (
        line for line in err.splitlines() if line.startswith("caelab: wide.png: skipped: an array of ")
    )
    assert wide.endswith("; --fit whole takes other sizes with model=spatial")
    assert "caelab: inks.jpg: skipped: its bands are inks, " in err
    np.save("bands.npy", np.zeros((2, 9, 8, 3), np.uint8))
    (other,) = (
        line for line in lab("encode", "run", "bands.npy", "--out", "c.npz")[2].splitlines() if ".npy" in line
    )
    assert other.endswith(" or (N, C, H, W)")  # no fit gives it other bands
    assert lab("reconstruct", "run", "photos/a.png", "--out", "out")[0] == 0
