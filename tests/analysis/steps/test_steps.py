"""PSNR and time of an encoder's steps; and the number of steps that commands take."""

import json

import matplotlib.image
import numpy as np
import pytest
import torch
from PIL import Image
from tiny import TINY

import caelab
from caelab.data.datamodule import Split
from caelab.errors import UserError
from caelab.inference.restore import datamodule, load
from caelab.metrics.quality import mse, psnr
from caelab.models.autoencoder import Code
from caelab.runs.analyses import analyses
from caelab.runs.record import made

steps = analyses()["steps"]
SMALL = (*(word for word in TINY if not word.startswith("model")), "model=auto_decoder", "model.latent=8")


@pytest.fixture
def run(trained):
    return trained(*SMALL, "model.channels=8", "model.blocks=1", "trainer.max_epochs=1", tiny=False)


def by_hand(net, x, count):
    """PSNR (dB) of each image after so many steps, each of them written out."""
    z = net._project(x)
    v = torch.zeros_like(z)
    for _ in range(count):
        v = net.momentum * v + net.rate * net._pull(z, x)
        z = z + v
    return psnr(mse(net.decode(Code(z)), x))


def test_points_are_those_of_the_first_images(run):
    found = steps(run.run_dir, steps="3,0,1", images=45)
    net, data = load(run.run_dir), datamodule(made(run.record))
    data.setup()
    x = data.splits["test"][:45].float() / 255
    with torch.no_grad():
        expected = [by_hand(net, x, count).mean().item() for count in (0, 1, 3)]
    assert [point["steps"] for point in found["points"]] == [0, 1, 3]
    assert [point["psnr"] for point in found["points"]] == pytest.approx(expected, abs=1e-4)
    assert all(point["milliseconds"] > 0 for point in found["points"])
    assert (found["trained"], found["images"]) == (8, 45)
    assert found["figures"]["steps/psnr"] == pytest.approx(max(expected), abs=1e-4)
    near = [count for count, one in zip((0, 1, 3), expected, strict=True) if one >= max(expected) - 0.05]
    assert found["figures"]["steps/enough"] == near[0]
    assert matplotlib.image.imread(run.run_dir / "steps.png").std() > 0.01


def test_of_pairs_the_one_is_encoded_and_the_other_compared_with(run, monkeypatch):
    monkeypatch.setattr(Split, "pairs", lambda split, rows: (255 - split[rows], split[rows]))
    (found,) = steps(run.run_dir, steps="0", images=20)["points"]
    net, data = load(run.run_dir), datamodule(made(run.record))
    data.setup()
    x = data.splits["test"][:20].float() / 255
    with torch.no_grad():
        expected = psnr(mse(net.decode(Code(net._project(1 - x))), x)).mean().item()
    assert found["psnr"] == pytest.approx(expected, abs=1e-4)


def test_where_bits_have_a_price_steps_are_judged_with_it(train, lab):
    run = train(*SMALL, "bottleneck=entropy", "bottleneck.price=0.05", "trainer.max_epochs=1", tiny=False)
    found = steps(run.run_dir, steps="0,8", images=20)
    net, data = load(run.run_dir), datamodule(made(run.record))
    data.setup()
    x = data.splits["test"][:20].float() / 255
    costs = []
    for count, point in zip((0, 8), found["points"], strict=True):
        net.steps = count
        with torch.no_grad():
            code = net.encode(x)
            error = (net.decode(code) - x).square().flatten(1).sum(1).mean().item()
        bits = net.bottleneck.bits_of(code.z).mean().item()
        assert point["bits"] == pytest.approx(bits, rel=1e-4)
        costs.append(error + 0.05 * bits)
        assert point["objective"] * x[0].numel() == pytest.approx(costs[-1], rel=1e-4)
    assert costs[1] < costs[0]
    assert found["figures"]["steps/psnr"] == found["points"][1]["psnr"]
    status, out, _ = lab("steps", run.run_dir, "--steps", "0,8", "--images", 20)
    assert (status, "of the best with the price of the bits," in " ".join(out.split())) == (0, True)
    assert f"{found['points'][1]['bits']:,.0f}" in out


def test_commands_take_as_many_steps_as_they_are_told(run, lab, tmp_path):
    folder = run.run_dir
    own = run.record["metrics"]["test/psnr"]
    for count in (0, 8):
        status, out, _ = lab("evaluate", folder, "--encoder-steps", count)
        assert (status, f"in {count} steps of the encoder" in out) == (0, True)
    assert lab("evaluate", folder)[0] == 0
    found = {file.stem: json.loads(file.read_text()) for file in (folder / "evaluations").glob("*.json")}
    by_steps = {one.get("encoder_steps"): one["metrics"]["test/psnr"] for one in found.values()}
    assert set(by_steps) == {None, 0, 8}
    assert by_steps[8] == by_steps[None] == pytest.approx(own, abs=1e-4)
    assert by_steps[0] != by_steps[8]
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "own.png")
    assert lab("encode", folder, "own.png", "--out", "codes.npz", "--encoder-steps", 2)[0] == 0
    with np.load("codes.npz") as codes:
        z = caelab.load(folder, encoder_steps=2).encode(pixels).z
        assert np.array_equal(codes["z"], z)
        assert not np.array_equal(z, caelab.load(folder).encode(pixels).z)
    assert lab("decode", folder, "codes.npz", "--out", "rebuilt")[0] == 0
    assert lab("reconstruct", folder, "own.png", "--out", "again", "--encoder-steps", 2)[0] == 0
    assert (tmp_path / "rebuilt/own.png").read_bytes() == (tmp_path / "again/own.png").read_bytes()


def test_a_network_without_steps_is_refused_in_a_line(trained, lab):
    run = trained("trainer.max_epochs=1")
    for words in (
        ("evaluate",),
        ("reconstruct", "own.png", "--out", "o"),
        ("encode", "own.png", "--out", "c.npz"),
    ):
        Image.new("RGB", (32, 32)).save("own.png")
        status, _, err = lab(words[0], run.run_dir, *words[1:], "--encoder-steps", 5)
        assert (status, err.count("\n")) == (1, 1)
        assert err.startswith(
            "caelab: encoder_steps=5: the encoder of this Base takes no steps, unlike that of"
        )
    with pytest.raises(
        UserError, match="the encoder of this Base takes no steps, unlike model=auto_decoder$"
    ):
        steps(run.run_dir)
    with pytest.raises(UserError, match="^encoder_steps=-1: must be 0 or more$"):
        caelab.load(run.run_dir, encoder_steps=-1)
    status, _, err = lab("steps", run.run_dir, "--steps", "2,many")
    line = "caelab: --steps 2,many: give whole numbers, at least 0, such as --steps 0,2,8\n"
    assert (status, err) == (1, line)
