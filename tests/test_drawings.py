"""The drawings of the models in README.md are those of the networks as they are built."""

import crossings
import drawings
import pytest
import torch


def test_each_model_has_its_drawing():
    on_disk = {path.stem: path.read_text() for path in drawings.FOLDER.glob("*.svg")}
    assert dict(drawings.drawings()) == on_disk


def test_what_crosses_is_orange_once_for_each_skip():
    drawn = dict(drawings.drawings())
    assert drawn["improved"].count(drawings.ORANGE) == 1
    assert drawn["improved_skip"].count(drawings.ORANGE) == 5
    assert drawn["base"].count(drawings.BLUE) == 3


@pytest.mark.parametrize(("shape", "extent"), [((256,), (6, 22)), ((16, 8, 8), (6, 15.6))])
def test_extent(shape, extent):
    assert drawings.extent(torch.Size(shape)) == pytest.approx(extent)


@pytest.mark.parametrize(("name", "most"), [("none", 120), ("vq", 8), ("rvq", 16), ("fsq", 25)])
def test_what_crosses_is_drawn_by_the_bottleneck_itself(name, most):
    pytest.importorskip("vector_quantize_pytorch")
    x, z = crossings.crossed(name)
    assert x.shape == z.shape == (120, 2)
    assert 3 < len(z.mul(1e4).round().unique(dim=0)) <= most
    if name == "none":
        assert torch.equal(x, z)
    if name == "fsq":
        assert {*z.unique().tolist()} <= {-1, -0.5, 0, 0.5, 1}
