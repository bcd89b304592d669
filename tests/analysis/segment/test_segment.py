"""The command line of segmentation: what it leaves beside a run, what it shows, and what mistakes say."""

import json

import matplotlib.image
import pytest
import torch
from toys import leave_run

from caelab.analysis.segment import segment
from caelab.analysis.segment.pixels import Pixels, confusion, decoded, fit, scores
from caelab.inference.restore import datamodule, load
from caelab.models.base import Base
from caelab.runs import results

KINDS = ("decoder", "reconstruction", "untrained", "pca", "pixels")


def test_a_run_gets_figures_of_each_kind(tmp_path, command):
    path = leave_run(tmp_path / "one", image_size=16)
    status, out, _ = command(path)
    assert status == 0
    record = results.finished(path)
    found = json.loads((path / "segment.json").read_text())
    assert set(found["figures"]) == {f"segment/{kind}/{key}" for kind in KINDS for key in segment._SCORES}
    assert results.analyses(path, record) == found["figures"]
    assert found["classes"] == ["background", "ellipse", "rectangle", "triangle"]
    assert found["images"] == {"train": 96, "test": 50}
    assert [found["features"][kind]["numbers"] for kind in KINDS] == [4 + 3, 3, 4 + 3, 3, 3]

    data = datamodule(record)
    data.setup()
    train, test = (
        Pixels(data.splits[name], data.pixel_classes(name, torch.arange(n)))
        for name, n in (("train", 96), ("test", 50))
    )
    torch.manual_seed(3)  # of the record
    fresh = Base(data.shape, latent=6, channels=[4, 8], hidden=[])
    for kind, net in (("decoder", load(path)), ("untrained", fresh)):
        counts = confusion(fit(decoded(net), train), decoded(net), test, 4)
        assert found["features"][kind]["confusion"] == counts.tolist()
        assert found["features"][kind]["scores"] == pytest.approx(scores(counts))
    assert found["figures"]["segment/pixels/foreground"] > 0.8
    for kind in KINDS:
        assert kind in out
    assert f"{100 * found['figures']['segment/pca/iou']:.1f}" in out
    assert matplotlib.image.imread(path / "segment.png").std() > 0.05


def test_data_without_masks_are_named(tmp_path, command, monkeypatch):
    path = leave_run(tmp_path / "one")
    from caelab.data.shapes import Shapes

    monkeypatch.delattr(Shapes, "pixel_classes")
    status, _, lines = command(path)
    assert status == 1
    assert lines == [f"caelab: {path}: dataset=shapes has no known masks; dataset=shapes has"]
