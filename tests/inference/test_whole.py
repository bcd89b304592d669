"""Pictures of any size, encoded and decoded whole by a network that takes any size."""

import csv
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode
from toys import leave_network, leave_run

import caelab
from caelab.bottlenecks.fsq import FSQ
from caelab.errors import UserError
from caelab.models.spatial import Spatial
from caelab.models.spatial_auto_decoder import SpatialAutoDecoder

SMALL = {
    "latent_channels": 6,
    "factor": 4,
    "channels": 8,
    "encoder_channels": 8,
    "blocks": 1,
    "encoder_blocks": 1,
}
SIZES = {"a": (16, 16), "b": (20, 33), "c": (7, 5)}
VQ = {"_target_": "caelab.bottlenecks.vq.VQ", "_partial_": True, "dim": 3, "entries": 300}


CODED = {"_target_": "caelab.bottlenecks.hyperprior.Hyperprior", "_partial_": True, "price": 0.02}
AROUND = {
    "_target_": "caelab.bottlenecks.context.Context",
    "_partial_": True,
    "price": 0.02,
    "channels": 4,
    "blocks": 1,
}


@pytest.fixture(params=[None, VQ, CODED, AROUND], ids=["numbers", "indices", "stream", "context"])
def folder(request, tmp_path, monkeypatch):
    """Three pictures, the working directory above them, and a run with random weights."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for name, size in SIZES.items():
        pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"in/{name}.png")
    torch.manual_seed(0)
    node = request.param
    bottleneck = None
    if node:
        pytest.importorskip("vector_quantize_pytorch" if node == VQ else "constriction")
        from hydra.utils import instantiate

        bottleneck = instantiate(node)
    words = SMALL | ({"bottleneck": node} if node else {})
    net = Spatial((3, 16, 16), **SMALL, bottleneck=bottleneck)
    net.initialise(torch.from_numpy(generator.integers(0, 256, (40, 3, 16, 16), dtype=np.uint8)))
    leave_network(tmp_path / "run", net, **words)
    return tmp_path


def test_decode_writes_what_reconstruct_does(folder, lab):
    assert lab("reconstruct", "run", "in", "--out", "rebuilt", "--fit", "whole")[0] == 0
    assert lab("encode", "run", "in", "--out", "codes.npz", "--fit", "whole")[0] == 0
    assert lab("decode", "run", "codes.npz", "--out", "decoded")[0] == 0
    model = caelab.load("run")
    for name, size in SIZES.items():
        with Image.open(f"in/{name}.png") as picture:
            pixels = np.asarray(picture)
        expected = model.at(*size).reconstruct(pixels)
        assert expected.shape == pixels.shape
        for place in ("rebuilt", "decoded"):
            with Image.open(f"{place}/{name}.png") as rebuilt:
                assert np.array_equal(np.asarray(rebuilt), expected)
    with open("rebuilt/reconstructions.csv", newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [(int(row["height"]), int(row["width"])) for row in rows] == [*SIZES.values()]
    places = 4 * 4 + 5 * 9 + 2 * 2
    with np.load("codes.npz") as codes:
        if "z" in codes:
            assert codes["z"].shape == (6 * places,)
        elif "indices" in codes:
            assert codes["indices"].shape == (2 * places,)
            assert codes["indices"].dtype == np.uint16


def test_codes_that_end_too_early_are_damaged(folder, lab):
    assert lab("encode", "run", "in", "--out", "codes.npz", "--fit", "whole")[0] == 0
    with np.load("codes.npz") as codes:
        arrays = {name: codes[name] for name in codes}
    name = next(name for name in ("z", "indices", "words") if name in arrays)
    np.savez("codes.npz", **arrays | {name: arrays[name][:-1]})
    status, _, err = lab("decode", "run", "codes.npz", "--out", "decoded")
    assert status == 1
    lines = {"words": "codes.npz is damaged ("}
    assert lines.get(name, "codes.npz is damaged: it ends within c.png") in err


def test_a_network_of_one_size_refuses(tmp_path, monkeypatch, lab):
    monkeypatch.chdir(tmp_path)
    leave_run(tmp_path / "run")
    Image.new("RGB", (20, 20)).save("own.png")
    status, _, err = lab("reconstruct", "run", "own.png", "--out", "rebuilt", "--fit", "whole")
    assert (status, err) == (
        1,
        "caelab: --fit whole: Base takes images of one size, unlike model=spatial; give tile\n",
    )
    with pytest.raises(UserError, match="Base takes images of 16x16 only"):
        caelab.load("run").at(20, 20)


@pytest.fixture
def halves(tmp_path, monkeypatch):
    """A run whose tokens of 4 do not divide the 6 numbers of a patch, in the working directory."""
    monkeypatch.chdir(tmp_path)
    node = {"_target_": "caelab.bottlenecks.fsq.FSQ", "_partial_": True, "levels": [3, 3, 3, 3]}
    bottleneck = partial(FSQ, levels=node["levels"])
    net = Spatial((3, 16, 16), **SMALL, bottleneck=bottleneck)
    leave_network(tmp_path / "run", net, **SMALL, bottleneck=node)


@pytest.mark.parametrize("ending", ["png", "npy"])
@pytest.mark.usefixtures("halves")
def test_a_size_that_tokens_do_not_divide_is_skipped(lab, ending):
    for name, size in {"a": (8, 8), "b": (4, 12), "c": (20, 16)}.items():
        pixels = np.zeros((*size, 3), np.uint8)
        Image.fromarray(pixels).save(f"{name}.png")
        np.save(f"{name}.npy", pixels)
    line = (
        f"caelab: b.{ending}: skipped: 4x12 pixels become 18 numbers, which tokens of 4 do not divide; "
        "a run whose tokens divide model.latent_channels=6 takes any size"
    )
    files = [f"{name}.{ending}" for name in "abc"]
    for command, out in {"encode": "codes.npz", "reconstruct": "rebuilt"}.items():
        status, _, err = lab(command, "run", *files, "--out", out, "--fit", "whole")
        assert status == 1
        assert line in err.splitlines()
    with np.load("codes.npz") as codes:
        assert codes["sizes"].tolist() == [[8, 8], [20, 16]]
        assert codes["indices"].shape == (6 * (4 + 20) // 4,)
    with pytest.raises(UserError, match="^4x12 pixels become 18 numbers"):
        caelab.load("run").at(4, 12)


class Largest(TorchDispatchMode):
    """Notes the bytes of the largest tensor that is made."""

    most = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        tensors = [
            one for one in (made if isinstance(made, tuple | list) else [made]) if torch.is_tensor(one)
        ]
        self.most = max(self.most, *(one.untyped_storage().nbytes() for one in tensors), 0)
        return made


@pytest.mark.parametrize("kind", [Spatial, SpatialAutoDecoder])
def test_a_photograph_takes_far_less_than_two_gigabytes(kind):
    net = kind((3, 64, 64)).eval().at((3, 128, 192))
    with torch.inference_mode(), Largest() as largest:
        net.decode(net.encode(torch.zeros(1, 3, 128, 192)))
    of_a_photograph = largest.most * (512 * 768) // (128 * 192)  # they grow with the pixels
    assert 48 * 256 * 384 * 4 <= of_a_photograph < 100e6
