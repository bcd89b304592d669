"""Train, export, and in other processes encode a folder and decode it: the pictures are the run's own."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import caelab


def carried_out(folder, command, *words):
    """A command of caelab in a process of its own, in a folder without any run: exit status, all it said."""
    line = [sys.executable, "-m", "caelab", command, *words]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_an_exported_model_encodes_and_decodes_elsewhere(train, lab, tmp_path):
    model = ("model=improved_skip", "model.skip_levels=[2]")
    answer = train(*model)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    words = (answer.run_dir, "--format", "safetensors", "--out", elsewhere / "model")
    status, _, err = lab("export", *words)
    assert status == 0, err

    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    (elsewhere / "photos").mkdir()
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(elsewhere / f"photos/{i}.png")
    exported = "model/autoencoder.safetensors"
    status, said = carried_out(elsewhere, "encode", exported, "photos", "--out", "codes.npz")
    assert status == 0, said
    status, said = carried_out(elsewhere, "decode", exported, "codes.npz", "--out", "decoded")
    assert status == 0, said

    decoded = np.stack([np.asarray(Image.open(path)) for path in sorted(elsewhere.glob("decoded/**/*.png"))])
    assert np.array_equal(decoded, caelab.load(answer.run_dir).reconstruct(pictures))

    other = train(*model, "seed=1").run_dirs
    (other,) = set(other) - {answer.run_dir}
    status, said = carried_out(elsewhere, "decode", str(other), "codes.npz", "--out", "wrong")
    assert status == 1
    assert answer.record["fingerprint"][:8] in said
    assert not (elsewhere / "wrong").exists()
