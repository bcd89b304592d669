"""Features: the outputs of the stages, by name, pooled by the rule, for the images that are meant."""

import numpy as np
import pytest
import torch
from torch import nn

from caelab.analysis.probe import features
from caelab.data.datamodule import Split
from caelab.data.shapes import Shapes
from caelab.models.base import Base
from caelab.models.improved_skip import ImprovedSkip
from caelab.models.internal_skip import InternalSkip
from caelab.models.pca import PCA

SHAPE = (3, 32, 32)


def images(n=6):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, *SHAPE), dtype=torch.uint8, generator=generator)


def split(n=6):
    return Split(images(n), torch.zeros(n, dtype=torch.int64), torch.arange(n))


def test_a_stage_is_what_the_encoder_put_out_there():
    torch.manual_seed(0)
    net = ImprovedSkip(SHAPE, 16, channels=(4, 6, 8, 10)).eval()
    x = images().float() / 255
    with torch.no_grad():
        code = net.encode(x)
    found = features.encode(net, images(), features.stages(net))
    assert list(found) == ["z", "stage1", "stage2", "stage3", "stage4"]
    torch.testing.assert_close(found["z"], code.z)
    for level, skip in enumerate(code.skips, start=1):  # its skips are its stages' outputs
        torch.testing.assert_close(found[f"stage{level}"], skip.flatten(1))
    assert not any(module._forward_hooks for module in net.modules())


def test_a_network_without_stages_has_its_code_only():
    net = PCA(SHAPE, 3)
    net.initialise(split())
    assert features.stages(net) == []
    assert list(features.read(net, {"test": split()}, [], lambda: None)) == ["z"]


def test_internal_skips_have_stages_too():
    net = InternalSkip(SHAPE, 8)
    assert len(features.stages(net)) == 3
    assert features.encode(net.eval(), images(), features.stages(net))["stage2"].shape == (6, 512)


@pytest.mark.parametrize(
    ("shape", "numbers"),
    [
        ((16, 8, 8), 1024),  # as it is
        ((16, 16, 16), 1024),  # one halving
        ((3, 32, 32), 768),
        ((32, 7, 7), 512),  # an odd side is halved upwards
        ((600, 3, 3), 600),  # to one number a channel
        ((2000, 1, 1), 2000),  # channels are never mixed
        ((1500,), 1500),
    ],
)
def test_large_maps_are_averaged_over_blocks(shape, numbers):
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    assert features.pooled(x).shape == (2, numbers)


def test_blocks_are_means_of_what_they_have():
    x = torch.arange(2 * 25 * 25, dtype=torch.float32).reshape(1, 2, 25, 25)
    found = features.pooled(x).reshape(2, 13, 13).numpy()
    plain = x[0].numpy()
    assert found[1, 3, 5] == pytest.approx(plain[1, 6:8, 10:12].mean())
    assert found[0, 12, 4] == pytest.approx(plain[0, 24, 8:10].mean())
    assert found[0, 12, 12] == plain[0, 24, 24]


def test_every_image_is_read_in_order_and_in_eval_mode():
    torch.manual_seed(0)
    net = Base(SHAPE, 8, channels=(4, 8), hidden=())
    ticks = []
    splits = {"train": split(features.BATCH + 3), "test": split(5)}
    found = features.read(net.train(), splits, features.stages(net)[:1], lambda: ticks.append(1))
    assert len(ticks) == features.batches(splits) == 3
    assert found["z"]["train"].shape == (features.BATCH + 3, 8)
    with torch.no_grad():
        expected = {name: net.eval().encode(one[:].float() / 255).z for name, one in splits.items()}
    torch.testing.assert_close(found["z"], expected)


def test_too_many_images_become_a_fixed_subset(monkeypatch):
    monkeypatch.setattr(features, "IMAGES", {"train": 100, "val": 100, "test": 100})
    data = Shapes("unused", train_size=300, val_size=100, test_size=20, batch_size=10)
    data.setup()
    found = features.chosen(data)
    assert [len(found[name]) for name in ("train", "val", "test")] == [100, 100, 20]
    assert torch.equal(found["val"].index, data.splits["val"].index)
    index = found["train"].index
    assert len(index.unique()) == 100
    assert torch.equal(index, features.chosen(data)["train"].index)
    assert torch.equal(found["train"].targets, data.splits["train"].targets[index])


def test_pixels_and_components():
    splits = {"train": split(40), "test": split(7)}
    pixels = features.pixels(splits)
    plain = {name: one[:].reshape(len(one), -1).numpy() / 255 for name, one in splits.items()}
    assert np.allclose(pixels["test"].numpy() / 255, plain["test"])
    found = features.components(splits, 5)
    mean = plain["train"].mean(0)
    _, _, rows = np.linalg.svd(plain["train"] - mean, full_matrices=False)
    assert np.allclose(np.abs(found["test"].numpy()), np.abs((plain["test"] - mean) @ rows[:5].T), atol=1e-4)
    assert features.components(splits, 64)["train"].shape == (40, 40)  # there are no more of 40 images


def test_stages_are_the_children_of_any_encoder():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(2, 3), nn.ReLU())

    net = Net()
    assert features.stages(net) == list(net.encoder)
