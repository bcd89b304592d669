"""Codes of ``bottleneck=entropy`` in files: real bytes, the tensor path again, and what is refused."""

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from PIL import Image
from toys import leave_network

import caelab
from caelab.errors import UserError
from caelab.inference import code_file, coded
from caelab.inference.encode import encode
from caelab.models.residual import Residual

pytest.importorskip("constriction")

ENTROPY = {"_target_": "caelab.bottlenecks.entropy.Entropy", "_partial_": True, "price": 0.003}
SMALL = {"latent": 40, "channels": 8, "blocks": 1, "encoder_channels": 8, "encoder_blocks": 1}


def smooth(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(n, 3, 4, 4, generator=generator)
    large = torch.nn.functional.interpolate(small, size=(16, 16), mode="bilinear")
    return (255 * large).to(torch.uint8)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Pictures, and a run with a coded latent; the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for n, image in enumerate(smooth(30, seed=1)):
        Image.fromarray(image.movedim(0, -1).numpy()).save(tmp_path / f"in/{n:02}.png")
    torch.manual_seed(0)
    net = Residual((3, 16, 16), **SMALL, bottleneck=instantiate(ENTROPY))
    net.initialise(smooth(300))
    leave_network(tmp_path / "run", net, **SMALL, bottleneck=ENTROPY)
    return tmp_path


def test_a_round_trip_through_bytes_is_the_tensor_path(folder, lab):
    assert lab("encode", "run", "in", "--out", "codes.npz")[0] == 0
    assert lab("decode", "run", "codes.npz", "--out", "decoded")[0] == 0
    model = caelab.load("run")
    x = smooth(30, seed=1)
    code = model.encode(x)
    expected = (255 * model.decode(code)).round().to(torch.uint8)
    for n, image in enumerate(expected):
        with Image.open(f"decoded/{n:02}.png") as found:
            assert np.array_equal(np.asarray(found), image.movedim(0, -1).numpy())
    reader = code_file.read(folder / "codes.npz")
    assert torch.equal(torch.cat([one.z for _, one in reader.batches(model)]), code.z)


def test_bytes_are_those_of_the_stream_and_near_what_the_densities_say(folder):
    rows, _ = encode(folder / "run", [folder / "in"], folder / "codes.npz")
    model = caelab.load("run")
    with np.load("codes.npz") as found:
        assert set(coded.ARRAYS) < set(found)
        assert "z" not in found
        size = found["words"].nbytes + found["far"].nbytes
    with torch.no_grad():
        bits = model.network.bottleneck.bits_of(model.encode(smooth(30, seed=1)).z)
    assert sum(row.code for row in rows) == pytest.approx(size)
    assert size < 0.5 * 30 * 4 * 40
    assert [row.code for row in rows] == pytest.approx((bits / 8).tolist(), rel=0.1)


def test_tables_of_another_machine_are_refused(folder, lab):
    encode(folder / "run", [folder / "in"], folder / "codes.npz")
    with np.load("codes.npz") as found:
        arrays = {name: found[name] for name in found}
    np.savez("codes.npz", **arrays | {"tables": "0" * 64})
    status, _, err = lab("decode", "run", "codes.npz", "--out", "decoded")
    assert status == 1
    line = "caelab: codes.npz: coded with tables 0000000000000000; this machine computes "
    assert err.splitlines()[-1].startswith(line)
    assert not (folder / "decoded").exists()


@pytest.mark.parametrize("name", coded.ARRAYS[:3])
def test_damage_is_a_line(folder, lab, name):
    encode(folder / "run", [folder / "in"], folder / "codes.npz")
    with np.load("codes.npz") as found:
        arrays = {name: found[name] for name in found}
    for damaged in (arrays[name] + 1, arrays[name].astype(np.float32), np.ones((2, 2), arrays[name].dtype)):
        if name == "far" and not len(arrays["far"]):
            damaged = np.concatenate([damaged.ravel(), [1]]).astype(damaged.dtype)
        np.savez("codes.npz", **arrays | {name: damaged})
        status, _, err = lab("decode", "run", "codes.npz", "--out", "decoded")
        assert status == 1
        assert err.splitlines()[-1].startswith("caelab: codes.npz is damaged")


def test_no_latent_is_fitted_between_the_steps(folder):
    with pytest.raises(
        UserError, match="rounded to steps that are coded, and a fitted one would lie between"
    ):
        encode(folder / "run", [folder / "in"], folder / "codes.npz", refine=2)
    assert not (folder / "codes.npz").exists()
