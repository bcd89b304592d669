"""The command that decodes: the very pictures that reconstruct writes, and what mistakes say."""

import numpy as np
import pytest
import torch
from PIL import Image
from toys import leave_network, leave_run

from caelab.inference import trained
from caelab.inference.decode import decode
from caelab.inference.encode import encode
from caelab.inference.reconstruct import reconstruct
from caelab.models.improved_skip import ImprovedSkip

OPTIONS = {"latent": 5, "channels": [4, 8], "skip_levels": [1, 2]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Pictures of several sizes in two folders, and a run with skips; the working directory."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for name, size in {
        "a/1": (16, 16),
        "a/2": (40, 23),
        "b/1": (7, 50),
        "b/dot": (1, 1),
        "b/3": (33, 18),
    }.items():
        path = tmp_path / f"in/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    torch.manual_seed(0)
    leave_network(tmp_path / "run", ImprovedSkip((3, 16, 16), **OPTIONS), **OPTIONS)
    return tmp_path


@pytest.mark.parametrize("batch", [2, 256])
@pytest.mark.parametrize("way", ["resize", "crop", "tile"])
def test_decoding_what_was_encoded_is_reconstructing(folder, way, batch, monkeypatch):
    monkeypatch.setattr(trained, "_BATCH", batch)
    (folder / "in/b/2.png").write_bytes(b"no picture")
    rows, _ = reconstruct(folder / "run", [folder / "in"], folder / "whole", way)
    encode(folder / "run", [folder / "in"], folder / "codes.npz", way)
    paths = decode(folder / "run", folder / "codes.npz", folder / "parts")
    assert [str(path.relative_to(folder / "parts")) for path in paths] == [row.output for row in rows]
    assert len(paths) == 5
    for row in rows:
        assert (folder / "parts" / row.output).read_bytes() == (folder / "whole" / row.output).read_bytes()


def test_the_command_line_says_how_many(folder, command):
    encode(folder / "run", [folder / "in"], folder / "codes.npz", "tile")
    assert command("run", "codes.npz", "--out", "out") == (0, "out: 5 decoded\n", [])
    with Image.open(folder / "out/b/1.png") as image:
        assert image.size == (50, 7)
    status, _, lines = command("run", "codes.npz", "--out", "out")
    assert status == 1
    assert lines == [
        "caelab: out/a/1.png is there already (and 4 more); give another --out, or --force to overwrite"
    ]
    assert command("run", "codes.npz", "--out", "out", "--force")[0] == 0


def test_mistakes_are_one_line_and_leave_nothing(folder, command):
    encode(folder / "run", [folder / "in"], folder / "codes.npz", "tile")
    leave_run(folder / "other")
    (folder / "damaged.npz").write_bytes((folder / "codes.npz").read_bytes()[:2000])
    for words, message in {
        ("other", "codes.npz"): "codes.npz holds codes of the model with weights ",
        (
            "run",
            "damaged.npz",
        ): "damaged.npz is damaged or not a file of codes (File is not a zip",
        ("run", "none.npz"): "none.npz: no such file; caelab encode writes one",
        (
            "none",
            "codes.npz",
        ): "none: no such directory, and no finished run below multirun; train one",
    }.items():
        status, _, lines = command(*words, "--out", "out")
        assert (status, len(lines)) == (1, 1)
        assert lines[0].startswith(f"caelab: {message}")
        assert not (folder / "out").exists()
