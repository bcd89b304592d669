"""Photographs of any size, coded whole: bits and PSNR computed by the commands that write and read files."""

import io
from pathlib import Path
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest
from PIL import Image
from tiny import TINY
from toys import leave_network

import caelab
from caelab.analysis.photos import photos as module
from caelab.bottlenecks.entropy import Entropy
from caelab.errors import UserError
from caelab.models.spatial import Spatial
from caelab.runs.analyses import analyses

photos = analyses()["photos"]
SMALL = (
    *(word for word in TINY if not word.startswith("model")),
    *("model=spatial", "model.factor=4", "model.latent_channels=6", "model.channels=8", "model.blocks=1"),
    *("model.encoder_channels=8", "model.encoder_blocks=1", "trainer.max_epochs=1"),
)
SIZES = ((24, 36), (17, 30))  # height and width; factor divides neither side of the second


def trained(train, price, *words):
    words = words or ("bottleneck=entropy",)
    runs = train(*SMALL, *words, f"bottleneck.price={price}", tiny=False).run_dirs
    return max(runs, key=lambda run: (run / "result.json").stat().st_mtime_ns)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, (height, width) in enumerate(SIZES):
        y, x = np.mgrid[:height, :width] / 40
        pixels = np.stack([x, y, (x + y + number) / 3], 2)
        Image.fromarray((255 * pixels).clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return folder


def decibels(one, other):
    error = np.mean((np.asarray(one, np.float64) - np.asarray(other, np.float64)) ** 2)
    return 10 * np.log10(255**2 / error)


@pytest.mark.parametrize("words", [["bottleneck=entropy"], ["bottleneck=context", "bottleneck.channels=8"]])
def test_bits_and_psnr_are_those_of_files(train, images, words):
    run = trained(train, 0.001, *words)
    found = photos(run, images=images)
    model = caelab.load(run, "cpu")
    for one, size, path in zip(found["pictures"], SIZES, sorted(images.iterdir()), strict=True):
        original = Image.open(path)
        rebuilt = model.at(*size).reconstruct(np.asarray(original))
        assert one["name"] == path.name
        assert tuple(one["size"]) == size
        assert one["psnr"] == pytest.approx(decibels(rebuilt, original), abs=1e-3)
    bits = sum(one["bits"] for one in found["pictures"]) / len(SIZES)
    psnr = sum(one["psnr"] for one in found["pictures"]) / len(SIZES)
    assert found["figures"]["photos/bits_per_pixel"] == pytest.approx(bits)
    assert found["figures"]["photos/psnr"] == pytest.approx(psnr)
    assert all(one["bits"] > 0 for one in found["pictures"])


def test_codecs_stand_beside_it(train, images):
    wide = images / "wide.png"
    Image.new("RGB", (16_384, 8)).save(wide)
    found = photos(trained(train, 0.001), images=images)
    assert found["skipped"] == [str(wide)]
    wide.unlink()
    psnrs = []
    for path in sorted(images.iterdir()):
        file = io.BytesIO()
        Image.open(path).save(file, "JPEG", quality=50, subsampling="4:4:4")
        psnrs.append(decibels(Image.open(file), Image.open(path)))
    assert found["codecs"]["JPEG"][3]["psnr"] == pytest.approx(np.mean(psnrs), abs=1e-3)
    assert [*found["codecs"]][:2] == ["JPEG", "WebP"]
    own, ours = found["codecs"]["JPEG"], found["figures"]["photos/bits_per_pixel"]
    below = [one for one in own if one["bits"] <= ours]
    over = found["figures"].get("photos/psnr_over_jpeg")
    assert (over is None) == (not below)


def test_runs_of_several_prices_share_a_picture_and_a_table(train, images, lab):
    runs = [trained(train, price) for price in (0.001, 0.05)]
    status, out, _ = lab("photos", *runs, "--images", images)
    assert status == 0
    few, many = (photos(run, images=images)["figures"]["photos/bits_per_pixel"] for run in reversed(runs))
    assert few < many
    assert out.count(f"{few:.3f}") >= 2  # by itself, and beside the other
    assert matplotlib.image.imread(runs[0] / "photos.png").std() > 0.01


def test_runs_in_grey_and_in_colour_are_not_compared(monkeypatch):
    monkeypatch.setattr(module, "_draw", lambda group: None)

    def finished(run):
        return SimpleNamespace(data=SimpleNamespace(shape=[1 if run.name == "grey" else 3, 32, 32]))

    def found(decibels):
        figures = {"photos/bits_per_pixel": 1.0, "photos/psnr": 30.0}
        codecs = {"JPEG": [{"bits": 1.0, "psnr": decibels}]}  # of another machine, it may differ a little
        return {"figures": figures, "pictures": [{"name": "a"}], "codecs": codecs, "images": "kodak"}

    monkeypatch.setattr(module.results, "finished", finished)
    (shown,) = module.compare({Path(name): found(29 + n / 1e6) for n, name in enumerate(("grey", "a", "b"))})
    assert list(shown.columns[0].cells) == ["a", "b", "JPEG"]


def test_a_network_of_other_bands_is_refused_before_any_file_is_read(tmp_path):
    small = {"latent_channels": 6, "factor": 4, "channels": 8, "blocks": 1, "steps": 0}
    node = {"_target_": "caelab.bottlenecks.entropy.Entropy", "_partial_": True}
    net = Spatial((4, 16, 16), **small, bottleneck=Entropy)
    run = leave_network(tmp_path / "run", net, **small, bottleneck=node)
    with pytest.raises(
        UserError, match="run: the network takes images of 4 channels, no pictures; give a run"
    ):
        photos(run, images=tmp_path / "nothing")


def test_other_networks_and_empty_folders_are_refused(train, tmp_path, images):
    (tmp_path / "empty").mkdir()
    run = trained(train, 0.001)
    with pytest.raises(UserError, match="--images is missing: give the folder"):
        photos(run)
    with pytest.raises(UserError, match="there is no image in this folder"):
        photos(run, images=tmp_path / "empty")
    plain = train(*SMALL, "seed=1", tiny=False).run_dirs
    with pytest.raises(UserError, match="or spatial_auto_decoder with bottleneck=entropy, hyper"):
        photos(next(one for one in plain if one != run), images=images)
