"""From an array of five bands and 16 bits, 64x78 pixels, to codes, an export and pictures."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import caelab
from caelab.errors import UserError

MODELS = {
    "improved": ("model.channels=[2,3,4,4]", "model.latent=12"),
    "spatial": ("model.channels=4", "model.blocks=1", "model.encoder_channels=4", "model.encoder_blocks=1"),
}
LOW, HIGH = 100, 4095
ARRAY = np.random.default_rng(5).integers(LOW, HIGH + 1, (20, 8, 13, 5), np.uint16).repeat(8, 1).repeat(6, 2)
OWN = (
    "dataset=array",
    "dataset.path=five.npy",
    f"dataset.value_range=[{LOW},{HIGH}]",
    "dataset.bands=[3,2,1]",
)
FAST = ("dataset.batch_size=8", "trainer.max_epochs=1", "trainer.accelerator=cpu", "metrics=[ms_ssim]")


@pytest.fixture(params=MODELS)
def run(request, train, tmp_path, monkeypatch):
    monkeypatch.setattr("caelab.export.check.SECONDS", 0.0)  # one pass
    np.save(tmp_path / "five.npy", ARRAY)
    answer = train(f"model={request.param}", *MODELS[request.param], *OWN, *FAST, tiny=False)
    assert answer.status == 0, answer.err
    return answer


def rescaled(x):
    return LOW + (HIGH - LOW) * np.asarray(x, np.float64)


def near(some, others):
    """Whether values of 16 bits are the same: a network rounds otherwise in another batch."""
    return some.shape == others.shape and np.abs(some.astype(int) - others).max() <= 1


def test_five_bands_of_16_bits_go_all_the_way(run, lab):
    data = run.record["data"]
    assert (data["shape"], data["dtype"], data["between"]) == ([5, 64, 78], "uint16", [LOW, HIGH])
    assert run.record["size"]["input_numbers"] == 5 * 64 * 78
    status, out, _ = lab("evaluate", run.run_dir)
    assert status == 0
    assert f"{run.record['metrics']['test/psnr']:.2f}" in out

    trained = caelab.load(run.run_dir)
    images = ARRAY[:3]
    x = torch.from_numpy((images.astype(np.float32) - LOW) / (HIGH - LOW)).movedim(-1, 1).contiguous()
    with torch.inference_mode():
        expected = rescaled(trained.network(x).movedim(1, -1).numpy())
    again = trained.reconstruct(images)
    assert (again.dtype, again.shape) == (np.uint16, images.shape)
    assert np.abs(again - expected).max() <= 0.51
    assert near(trained.reconstruct(images[0]), again[0])
    tensor = trained.reconstruct(torch.from_numpy(images[:1]).movedim(-1, 1))
    assert tensor.dtype == torch.uint16
    assert near(tensor.movedim(1, -1).numpy(), again[:1])
    decoded = trained.decode(trained.encode(images))
    assert np.array_equal(decoded.movedim(1, -1).numpy(), again)
    assert np.allclose(
        trained.reconstruct(x.numpy().transpose(0, 2, 3, 1)), (expected - LOW) / (HIGH - LOW), atol=1e-5
    )
    with pytest.raises(UserError, match=r"images from 0 to 0; the network takes uint16 from 100 to 4095"):
        trained.encode(np.zeros_like(images))


def test_its_pictures_show_three_named_bands(run):
    kept = np.load(run.run_dir / "reconstructions.npz")
    assert kept["originals"].shape == (2, 3, 64, 78)
    assert kept["all_bands"].shape == (2, 5, 64, 78)
    assert np.array_equal(kept["originals"], kept["all_bands"][:, [3, 2, 1]])
    values = ARRAY.transpose(0, 3, 1, 2)[:, [3, 2, 1]].astype(np.float64)
    expected = np.rint(255 * (values - LOW) / (HIGH - LOW))
    first = kept["originals"][0]
    assert min(np.abs(first - one).max() for one in expected) <= 1
    with Image.open(run.run_dir / "reconstructions.png") as picture:
        pixels = np.asarray(picture.convert("RGB"), np.float64)
    corner = first[:, :8, :6].mean((1, 2))  # one colour
    assert (np.abs(pixels - corner).max(-1) <= 2).any()


@pytest.mark.slow
@pytest.mark.parametrize("there", [True, False])
def test_its_export_says_the_range(run, lab, tmp_path, there):
    pytest.importorskip("onnxruntime")
    if not there:
        (tmp_path / "five.npy").unlink()
    status, _, err = lab("export", run.run_dir, "--format", "onnx")
    assert status == 0, err
    folder = run.run_dir / "export" / "onnx"
    card = (folder / "model_card.md").read_text()
    assert "pixels in [0, 1], where 0 is 100 and 1 is 4,095 of uint16 images" in card
    assert ("images that the run kept" in card) == (not there)
    import onnxruntime

    x = ((ARRAY[:2].astype(np.float32) - LOW) / (HIGH - LOW)).transpose(0, 3, 1, 2)
    session = onnxruntime.InferenceSession(folder / "autoencoder.onnx")
    (x_hat, *_) = session.run(["x_hat"], {"x": x})
    again = caelab.load(run.run_dir).reconstruct(ARRAY[:2]).transpose(0, 3, 1, 2)
    assert np.abs(rescaled(x_hat) - again).max() <= 1


def test_an_exported_file_knows_type_and_range(run, lab):
    assert lab("export", run.run_dir, "--format", "safetensors")[0] == 0
    exported = caelab.load(run.run_dir / "export" / "safetensors" / "autoencoder.safetensors")
    assert np.array_equal(exported.reconstruct(ARRAY[:2]), caelab.load(run.run_dir).reconstruct(ARRAY[:2]))


def test_its_files_come_back_as_they_were(run, lab, tmp_path):
    tifffile.imwrite(tmp_path / "one.tif", ARRAY[3], photometric="minisblack", planarconfig="contig")
    np.save(tmp_path / "first.npy", ARRAY[:3].transpose(0, 3, 1, 2))
    files = [tmp_path / "one.tif", tmp_path / "first.npy"]
    status, out, err = lab("encode", run.run_dir, *files, "--out", tmp_path / "codes.npz")
    assert status == 0, err
    status, _, err = lab("decode", run.run_dir, tmp_path / "codes.npz", "--out", tmp_path / "decoded")
    assert status == 0, err
    status, out, err = lab("reconstruct", run.run_dir, *files, "--out", tmp_path / "again")
    assert status == 0, err
    expected = caelab.load(run.run_dir).reconstruct(ARRAY[:4])
    for folder in ("decoded", "again"):
        one = tifffile.imread(tmp_path / folder / "one.tif")
        several = np.load(tmp_path / folder / "first.npy")
        assert (one.dtype, several.dtype, several.flags.c_contiguous) == (np.uint16, np.uint16, True)
        assert near(one, expected[3])
        assert near(several.transpose(0, 2, 3, 1), expected[:3])
    rows = list(csv.DictReader((tmp_path / "again" / "reconstructions.csv").read_text().splitlines()))
    assert [(Path(row["file"]).name, row["tiles"]) for row in rows] == [("one.tif", "1"), ("first.npy", "3")]
    error = (expected[:3].astype(float) - ARRAY[:3]) / (HIGH - LOW)
    decibels = -10 * np.log10(np.square(error).mean((1, 2, 3)))
    assert float(rows[1]["psnr"]) == pytest.approx(decibels.mean(), abs=0.01)


def test_what_are_no_such_images_is_named(run, lab, tmp_path):
    Image.new("RGB", (78, 64)).save(tmp_path / "x.png")
    np.save(tmp_path / "low.npy", np.zeros_like(ARRAY[0]))
    np.save(tmp_path / "three.npy", ARRAY[..., :3])
    files = [tmp_path / name for name in ("x.png", "low.npy", "three.npy")]
    status, _, err = lab("reconstruct", run.run_dir, *files, "--out", tmp_path / "out")
    assert status == 1
    assert "low.npy: skipped: images from 0 to 0; the network takes uint16 from 100 to 4095" in err
    assert (
        "three.npy: skipped: an array of shape (20, 64, 78, 3); the network takes 5x64x78, as (N, H, W" in err
    )
    assert "x.png: skipped: " in err
    assert "skipped 3 of 3 files" in err
    status, _, err = lab(
        "encode", run.run_dir, tmp_path / "x.png", "--out", tmp_path / "x.npz", "--fit", "tile"
    )
    assert (status, err) == (1, "caelab: --fit tile: arrays are taken as they are; give whole or nothing\n")
