"""The command that reconstructs a user's own images: files, figures, pictures, and what mistakes say."""

import csv
import errno

import matplotlib.image
import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from toys import leave_identity, leave_run

import caelab
from caelab.inference import reconstruct as module
from caelab.inference import trained
from caelab.inference.reconstruct import reconstruct, summary

GENERATOR = np.random.default_rng(0)

FIT = "the network takes 16x16; give --fit resize, crop, tile or whole"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two folders with pictures of several sizes, some of the same name; the working directory."""
    monkeypatch.chdir(tmp_path)
    sizes = {"in/a/1.png": (16, 16), "in/a/2.png": (40, 23), "in/b/1.png": (7, 50), "in/b/dot.png": (1, 1)}
    for name, size in sizes.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(GENERATOR.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return tmp_path


@pytest.fixture
def run(folder):
    return leave_run(folder / "run")


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 8, 8)])
def test_with_tiles_a_network_that_keeps_all_gives_every_picture_back(folder, command, shape):
    leave_identity(folder / "identity", shape)
    status, out, lines = command("identity", "in", "--out", "out", "--fit", "tile")
    assert (status, lines) == (0, [])
    names = ["a/1.png", "a/2.png", "b/1.png", "b/dot.png"]
    for name in names:
        with Image.open(folder / "in" / name) as image:
            original = np.asarray(image.convert("L" if shape[0] == 1 else "RGB"))
        assert np.array_equal(pixels(folder / "out" / name), original)
    rows = table(folder / "out" / "reconstructions.csv")
    assert [row["output"] for row in rows] == names
    assert [int(row["tiles"]) for row in rows] == [4, 15, 7, 1]
    assert {float(row["psnr"]) for row in rows} == {100}
    assert [row["ssim"] and float(row["ssim"]) for row in rows] == [1, 1, "", ""]
    assert "mean of all" in out
    assert "100.00" in out


def test_what_is_written_is_what_the_network_makes_of_it(run, folder, command):
    assert command("run", "in/a/1.png", "--out", "out")[0] == 0
    expected = caelab.load(run).reconstruct(pixels(folder / "in/a/1.png"))
    assert np.array_equal(pixels(folder / "out/1.png"), expected)


@pytest.mark.parametrize("way", ["resize", "crop", "tile"])
def test_figures_are_of_the_pictures_as_written(run, folder, way):
    rows, skipped = reconstruct(run, [folder / "in"], folder / "out", way)
    assert skipped == 0
    assert [(row.height, row.width) for row in rows] == [(16, 16), (40, 23), (7, 50), (1, 1)]
    row = rows[1]
    found, original = pixels(folder / "out" / row.output) / 255, Image.open(row.file)
    if way == "crop":
        original = middle(original)
    original = np.asarray(original) / 255
    assert found.shape == original.shape == ((16, 16, 3) if way == "crop" else (40, 23, 3))
    assert row.psnr == pytest.approx(peak_signal_noise_ratio(original, found, data_range=1), abs=1e-4)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    similarity = structural_similarity(original, found, channel_axis=-1, **options)
    assert row.ssim == pytest.approx(similarity, abs=1e-4)
    written = table(folder / "out" / "reconstructions.csv")[1]
    assert {key: str(value) for key, value in row._asdict().items()} == written


def middle(image):
    top = (40 - 23) / 2
    return image.resize((16, 16), Image.Resampling.BICUBIC, box=(0, top, 23, top + 23))


def test_fitted_latents_make_better_pictures(run, folder):
    plain, _ = reconstruct(run, [folder / "in"], folder / "plain", "resize")
    fitted, _ = reconstruct(run, [folder / "in"], folder / "fitted", "resize", refine=3)
    gains = [after.psnr - before.psnr for before, after in zip(plain, fitted, strict=True)]
    assert min(gains) > -0.001  # the fit is of the picture before it is scaled back and rounded
    assert max(gains) > 0.003  # dB; these networks are not trained, and the pictures are noise


def test_batches_end_where_no_picture_does(run, folder, monkeypatch):
    reconstruct(run, [folder / "in"], folder / "whole", "tile")
    monkeypatch.setattr(trained, "_BATCH", 3)
    rows, _ = reconstruct(run, [folder / "in"], folder / "parts", "tile")
    for row in rows:
        one, other = (pixels(folder / out / row.output).astype(int) for out in ("whole", "parts"))
        assert np.abs(one - other).max() <= 1


def test_the_overview_has_the_first_pictures_over_their_reconstructions(run, folder, monkeypatch):
    drawn = {}
    monkeypatch.setattr(module, "SHOWN", 2)
    from caelab.plotting import figures

    grid = figures.grid
    monkeypatch.setattr(figures, "grid", lambda path, rows: drawn.update(rows) or grid(path, rows))
    rows, _ = reconstruct(run, [folder / "in"], folder / "out", "tile")
    assert list(drawn) == ["original", "reconstruction"]
    assert [note for _, note in drawn["original"]] == ["1.png", "2.png"]
    assert [note for _, note in drawn["reconstruction"]] == [f"{row.psnr:.1f} dB" for row in rows[:2]]
    for name, found in {"in/a/2.png": drawn["original"], "out/a/2.png": drawn["reconstruction"]}.items():
        assert np.allclose(found[1][0].movedim(0, -1).numpy(), pixels(folder / name) / 255)
    picture = matplotlib.image.imread(folder / "out" / "overview.png")
    assert picture.std() > 0.1


def test_the_table_names_the_worst_and_averages_all(run, folder, capsys):
    rows, _ = reconstruct(run, [folder / "in"], folder / "out", "resize")
    shown = summary(rows)
    cells = [list(column.cells) for column in shown.columns]
    worst = sorted(rows, key=lambda row: row.psnr)
    assert cells[0] == [*(row.file for row in worst), "mean of all"]
    assert cells[3] == [*(f"{row.psnr:.2f}" for row in worst), f"{np.mean([row.psnr for row in rows]):.2f}"]
    similar = [row.ssim for row in rows if row.ssim is not None]
    assert len(similar) == 2
    assert cells[4][-1] == f"{np.mean(similar):.3f}"
    many = summary([row._replace(file=f"{i}", psnr=20.0 - i) for i in range(9) for row in rows[:1]])
    assert list(many.columns[0].cells) == ["8", "7", "6", "5", "4", "mean of all"]


def test_broken_files_are_skipped_and_named_at_the_end(run, folder, command):
    (folder / "in/a/0.png").write_bytes(b"no picture")
    (folder / "in/b/2.jpg").write_bytes(b"")
    status, out, lines = command("run", "in", "--out", "out", "--fit", "resize")
    assert status == 1
    assert [line.partition(": skipped")[0] for line in lines[:2]] == [
        "caelab: in/a/0.png",
        "caelab: in/b/2.jpg",
    ]
    assert lines[2:] == ["caelab: skipped 2 of 6 files"]
    assert "Lowest PSNR first; 4 reconstructed" in out
    assert len(table(folder / "out/reconstructions.csv")) == 4
    assert not (folder / "out/a/0.png").exists()


def test_where_no_file_can_be_read_there_is_no_table(run, folder, command):
    status, out, lines = command("run", "in/b", "--out", "out")
    assert (status, out) == (1, "")
    assert lines == [
        f"caelab: in/b/1.png: skipped: 50x7 pixels, {FIT}",
        f"caelab: in/b/dot.png: skipped: 1x1 pixels, {FIT}",
        "caelab: skipped 2 of 2 files",
    ]
    assert not (folder / "out/overview.png").exists()


def test_older_outputs_are_not_overwritten(run, folder, command):
    words = ["run", "in", "--out", "out", "--fit"]
    assert command(*words, "resize")[0] == 0
    before = (folder / "out/a/2.png").read_bytes()
    status, _, lines = command(*words, "tile")
    assert (status, len(lines)) == (1, 1)
    assert lines[0].startswith(
        "caelab: out/a/1.png is there already (and 5 more); give another --out, or --force"
    )
    assert (folder / "out/a/2.png").read_bytes() == before
    assert command(*words, "tile", "--force")[0] == 0
    assert (folder / "out/a/2.png").read_bytes() != before


def test_older_outputs_outlive_a_full_disk(run, folder, command, monkeypatch):
    words = ["run", "in", "--out", "out", "--force", "--fit"]
    assert command(*words, "resize")[0] == 0
    before = {path: path.read_bytes() for path in (folder / "out").rglob("*.*")}

    def full(picture, file, *_):
        file.write(b"a part of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("PIL.Image.Image.save", full)
    assert command(*words, "tile")[0] == 1
    assert {path: path.read_bytes() for path in (folder / "out").rglob("*.*")} == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--out", "out"], "no image is given; name files or folders after RUN"),
        (["run", "none.png", "--out", "out"], "none.png: there is no such file or folder"),
        (
            ["none", "in", "--out", "out"],
            "none: no such directory, and no finished run below multirun; train one",
        ),
        (["none.safetensors", "in", "--out", "out"], "none.safetensors: no such file"),
        (
            ["run", "in", "--out", "out", "--fit", "scale"],
            "--fit scale: must be one of resize, crop, tile, whole",
        ),
        (["run", "in", "--out", "in", "--force"], "in/a/1.png: is an input, and would be overwritten; give"),
        (["run", "in", "--out", "run/result.json"], "run/result.json: File exists"),
    ],
)
def test_mistakes_are_one_line(run, folder, command, words, message):
    status, _, lines = command(*words)
    assert status == 1
    assert len(lines) == 1
    assert lines[0].startswith(f"caelab: {message}")
    assert not (folder / "out").exists()


@pytest.mark.parametrize("name", ["cost $5_$6.png", "p[/q][red]a.png", "a\x1b[31mb.png"])
def test_names_of_files_are_shown_as_they_are(run, folder, command, name):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / "in/a/1.png").rename(folder / name)
    status, out, lines = command("run", name, "--out", "out")
    assert (status, lines) == (0, [])
    assert name.replace("\x1b", "\ufffd") in out
    assert "\x1b" not in out
    assert (folder / "out" / "overview.png").is_file()
    assert (folder / "out" / name.rpartition("/")[2]).is_file()
