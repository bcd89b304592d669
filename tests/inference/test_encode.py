"""The command that encodes a user's own images: codes, bytes, and what mistakes say."""

import numpy as np
import pytest
from PIL import Image
from toys import leave_identity, leave_run

import caelab
from caelab.inference.encode import encode, summary


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three pictures, the working directory above them, and a run whose code is the image."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for i, size in enumerate([(8, 8), (9, 20), (1, 1)]):
        pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"in/{i}.png")
    leave_identity(tmp_path / "run")
    return tmp_path


def test_codes_are_those_of_the_tiles(folder, command):
    status, out, lines = command("run", "in", "--out", "codes.npz", "--fit", "tile")
    assert (status, lines) == (0, [])
    assert "Bytes per image; 3 encoded" in out
    with np.load(folder / "codes.npz") as codes:
        assert codes["z"].shape == (1 + 6 + 1, 3 * 8 * 8)
        assert codes["tiles"].tolist() == [[1, 1], [2, 3], [1, 1]]
        z = codes["z"].reshape(-1, 3, 8, 8)
    with Image.open(folder / "in/1.png") as image:
        pixels = np.asarray(image) / np.float32(255)
    assert np.array_equal(z[1], pixels[:8, :8].transpose(2, 0, 1))
    assert np.array_equal(z[3][:, :, :4], pixels[:8, 16:].transpose(2, 0, 1))
    assert np.array_equal(z[6][:, 0, :4], pixels[8, 16:].T)


def test_bytes_of_code_and_file_are_told(folder):
    rows, skipped = encode(folder / "run", [folder / "in"], folder / "codes.npz", "tile")
    assert skipped == 0
    assert [row.code for row in rows] == [4 * 3 * 8 * 8 * tiles for tiles in (1, 6, 1)]
    assert [row.pixels for row in rows] == [3 * 8 * 8, 3 * 9 * 20, 3]
    assert [row.file for row in rows] == [(folder / f"in/{i}.png").stat().st_size for i in range(3)]
    cells = [list(column.cells) for column in summary(rows).columns]
    assert cells[0][-1] == "mean of all"
    assert cells[2] == ["768", "4,608", "768", "2,048"]
    ratio = sum(row.code for row in rows) / sum(row.file for row in rows)
    assert cells[5][-1] == f"{ratio:.3g}"
    assert cells[5][0] == f"{768 / rows[0].file:.3g}"


def test_latents_are_fitted_on_demand(folder, command):
    leave_run(folder / "net")
    Image.effect_mandelbrot((16, 16), (-2, -1, 1, 1), 9).convert("RGB").save(folder / "own.png")
    status, _, lines = command("net", "own.png", "--out", "codes.npz", "--refine", 2)
    assert (status, lines) == (0, [])
    model = caelab.load(folder / "net")
    with Image.open(folder / "own.png") as image, np.load(folder / "codes.npz") as codes:
        plain, fitted = model.encode(image).z, model.encode(image, refine=2).z
        assert np.array_equal(codes["z"], fitted)
        assert not np.array_equal(plain, fitted)
    status, _, _ = command("net", "own.png", "--out", "other.npz", "--refine", "-1")
    assert status == 2
    assert not (folder / "other.npz").exists()


def test_what_is_next_can_be_pasted(folder, command):
    _, out, _ = command("run", "in", "--out", "my codes.npz", "--fit", "crop")
    assert out.endswith("\nnext: caelab decode run 'my codes.npz' --out rebuilt\n")


def test_broken_files_are_skipped_and_named(folder, command):
    (folder / "in/0.png").write_bytes(b"no picture")
    status, out, lines = command("run", "in", "--out", "codes.npz", "--fit", "resize")
    assert status == 1
    assert lines[0].startswith("caelab: in/0.png: skipped: ")
    assert lines[1:] == ["caelab: skipped 1 of 3 files"]
    assert "Bytes per image; 2 encoded" in out
    with np.load(folder / "codes.npz") as codes:
        assert codes["names"].tolist() == ["1.png", "2.png"]


def test_where_no_file_can_be_read_nothing_is_written(folder, command):
    status, out, lines = command("run", "in/1.png", "--out", "codes.npz")
    assert (status, out) == (1, "")
    assert "20x9 pixels, the network takes 8x8; give --fit" in lines[0]
    assert sorted(path.name for path in folder.iterdir()) == ["in", "run"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["in", "--out", "codes"], "--out codes: must end in .npz"),
        (["--out", "codes.npz"], "no image is given; name files or folders after RUN"),
        (["in", "--out", "old.npz"], "old.npz is there already; give another --out, or --force to overwrite"),
        (["in", "--out", "codes.npz", "--fit", "til"], "--fit til: must be one of resize, crop, tile, whole"),
    ],
)
def test_mistakes_are_one_line(folder, command, words, message):
    (folder / "old.npz").write_text("precious")
    assert command("run", *words)[::2] == (1, [f"caelab: {message}"])
    assert (folder / "old.npz").read_text() == "precious"
    assert not (folder / "codes.npz").exists()
    if "--fit" not in words and words[0] == "in":
        assert command("run", "in", "--out", "old.npz", "--fit", "crop", "--force")[0] == 0
        assert (folder / "old.npz").read_bytes()[:2] == b"PK"


def test_of_the_networks_own_size_a_picture_needs_no_fit(folder):
    leave_run(folder / "small", 8)
    rows, _ = encode(folder / "small", [folder / "in/0.png"], folder / "codes.npz")
    assert [row.code for row in rows] == [4 * 6]
