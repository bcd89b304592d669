"""Every tool with a run of every kind of bottleneck."""

import numpy as np
import pytest
from PIL import Image
from test_bottleneck_runs import KINDS, tiny

import caelab

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", KINDS)
def test_every_tool_takes_it(train, lab, tmp_path, kind):
    run = train(*tiny(kind), "trainer.max_epochs=1", tiny=False).run_dir
    words = {
        "audit": [],
        "probe": [],
        "look": ["--map", "pca", "--images", "30"],
        "rate": ["--bits", "3"],
    }
    for tool, options in words.items():
        status, _, err = lab(tool, run, *options)
        if tool == "probe" and kind == "vq":  # whose codebook collapses in so few steps
            assert (status, "z: the same for every training image" in err) == (1, True)
            continue
        assert status == 0, (tool, err)
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "own.png")
    assert lab("encode", run, "own.png", "--out", "codes.npz")[0] == 0
    assert lab("decode", run, "codes.npz", "--out", "rebuilt")[0] == 0
    with Image.open(tmp_path / "rebuilt/own.png") as rebuilt:
        expected = caelab.load(run).reconstruct(pixels)
        assert np.array_equal(np.asarray(rebuilt), expected)
    for form in ("onnx", "torch_export", "safetensors"):
        status, _, err = lab("export", run, "--format", form)
        assert status == 0, (form, err)
