"""Pictures: the right images, and the right figure below each."""

import subprocess
import sys
from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest
import torch
from toys import leave_run

from caelab.corruptions import Blur
from caelab.data.shapes import Shapes
from caelab.metrics.quality import mse, psnr
from caelab.models.pca import PCA
from caelab.plotting import figures
from caelab.report import comparison
from caelab.runs import results


def test_first_of_each_class_in_the_order_of_the_classes(tmp_path):
    data = Shapes(str(tmp_path), train_size=300, val_size=10, test_size=40)
    data.setup()
    net = PCA(data.shape, 4)
    net.initialise(data.splits["train"])
    blur = Blur(1.0)
    originals, corrupted, reconstructed = figures.first_of_each_class(data, net, blur)
    test, labels = data.splits["test"], data.splits["test"].targets.tolist()
    firsts = [labels.index(label) for label in (0, 1, 2)]
    assert torch.equal(originals, test[torch.tensor(firsts)].float() / 255)
    assert torch.equal(corrupted, blur(originals, None))
    assert torch.equal(reconstructed, net(corrupted))


def test_without_classes_it_is_the_first_ten(tmp_path):
    data = Shapes(str(tmp_path), train_size=30, val_size=10, test_size=40)
    data.setup()
    for names in ((), ("images",)):
        data.class_names = names
        assert figures.first_rows(data).tolist() == list(range(10))


def test_kept_images_are_whole_grey_levels(tmp_path):
    levels = torch.arange(256).reshape(1, 1, 16, 16)
    near = (levels + 0.4).clamp(0, 255) / 255
    figures.keep(tmp_path / "x.npz", originals=levels / 255, reconstructions=near)
    with np.load(tmp_path / "x.npz") as kept:
        assert kept["originals"].dtype == np.uint8
        assert np.array_equal(kept["originals"], levels.numpy())
        assert np.array_equal(kept["reconstructions"], levels.numpy())


def test_kept_images_beyond_the_range_are_black_or_white(tmp_path):
    beyond = torch.tensor([-0.1, 1.1]).reshape(1, 1, 1, 2)
    figures.keep(tmp_path / "x.npz", originals=beyond.clamp(0, 1), reconstructions=beyond)
    with np.load(tmp_path / "x.npz") as kept:
        assert kept["reconstructions"].tolist() == [[[[0, 255]]]]


@pytest.mark.parametrize("channels", [1, 3])
def test_the_picture_shows_originals_and_each_row(tmp_path, channels):
    originals = torch.rand(4, channels, 16, 16, generator=torch.Generator().manual_seed(0))
    path = figures.reconstructions(tmp_path / "x.png", originals, {"a": originals * 0.5, "b": originals * 0})
    picture = matplotlib.image.imread(path)
    assert picture.shape[1] > 4 * 50
    assert picture.shape[0] > 3 * 50
    assert picture[..., :3].min() == 0


def test_a_picture_of_many_classes_shows_the_first_ones(tmp_path, monkeypatch):
    places = []
    monkeypatch.setattr(
        figures, "_place", lambda axes, image, note, centre, side: places.append((image, note))
    )
    x = torch.rand(200, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    figures.reconstructions(tmp_path / "x.png", x, {"a": x})
    assert len(places) == 2 * 40
    assert torch.equal(torch.stack([image for image, _ in places[:40]]), x[:40])
    assert [note for _, note in places] == [""] * 40 + ["100.0 dB"] * 40
    assert matplotlib.image.imread(tmp_path / "x.png").shape[1] < 25 * 150


def test_no_name_of_a_row_is_cut(tmp_path):
    """The margin at the left and the room below grow with a name, and its letters stay within."""
    x = torch.ones(2, 1, 8, 8)
    sizes = []
    for name in ("a", "improved_skip\noptimizer.weight_decay=0.0001", "a long name of many parts " * 8):
        figures.grid(tmp_path / "x.png", {name: [(x[0], ""), (x[1], "")]})
        picture = matplotlib.image.imread(tmp_path / "x.png")[..., :3].min(2)
        ink = np.argwhere(picture < 0.5)
        assert ink.min() > 5  # pixels of white at the left and above
        assert picture.shape[0] - ink[:, 0].max() > 5
        sizes.append(picture.shape)
    assert sizes[0][1] < sizes[1][1]
    assert sizes[1][0] < sizes[2][0]


def test_runs_stand_below_what_they_were_given(tmp_path, monkeypatch):
    sigmas = {"a": None, "b": 1.0, "c": 1.0, "d": 2.0}
    records = {}
    for number, (name, sigma) in enumerate(sigmas.items()):
        record = results.finished(leave_run(tmp_path / name))
        blur = {"_target_": "caelab.corruptions.Blur", "sigma": sigma}
        record.config.update({"paths": {"data": record.config["dataset"]["data_dir"]}})
        record.config.update({"corruption": blur} if sigma else {})
        record.choices["corruption"] = "blur" if sigma else "none"
        records[tmp_path / name] = replace(record, seed=number)
    shown = {}
    monkeypatch.setattr(comparison, "reconstructions", lambda path, x, rows: shown.update(original=x, **rows))
    comparison.compare_runs(records, tmp_path)
    one, two = "corruption.sigma=1.0", "corruption.sigma=2.0"
    assert list(shown) == [
        "original",
        "corruption=none\nseed=0",
        f"given to\ncorruption=blur\nseed=1\n{one}",
        f"corruption=blur\nseed=1\n{one}",
        f"corruption=blur\nseed=2\n{one}",
        f"given to\ncorruption=blur\nseed=3\n{two}",
        f"corruption=blur\nseed=3\n{two}",
    ]
    given = [images for name, images in shown.items() if name.startswith("given to\n")]
    for images, sigma in zip(given, (1.0, 2.0), strict=True):
        assert torch.equal(images, Blur(sigma)(shown["original"], None))


def test_psnr_below_each_image():
    x = torch.full((2, 1, 11, 11), 0.5)
    x_hat = x + torch.tensor([0.1, 0.01]).reshape(2, 1, 1, 1)
    assert psnr(mse(x_hat, x)).tolist() == pytest.approx([20.0, 40.0], abs=1e-3)


def test_a_name_in_letters_that_the_font_has_not_brings_no_warning(tmp_path):
    code = f"""
from pathlib import Path
import torch
from caelab.plotting.figures import grid
grid(Path({str(tmp_path / "a.png")!r}), {{"original": [(torch.zeros(1, 4, 4), "\u6f22\u5b57.png")]}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert (tmp_path / "a.png").is_file()
