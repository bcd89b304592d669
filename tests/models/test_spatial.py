"""The spatial model: patch PCA at first, better when trained, and the same for pictures of any size."""

import math
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from test_patch_pca import pictures

from caelab.config import CONF, options
from caelab.models.patch_pca import PatchPCA
from caelab.models.spatial import Spatial

THIN = {"channels": 8, "encoder_channels": 8, "blocks": 1, "encoder_blocks": 1}
SMALL = THIN | {"latent_channels": 4, "factor": 4}
KINDS = sorted(Path(CONF, "bottleneck").glob("*.yaml"))


def floor(images, shape=(3, 8, 12)):
    net = PatchPCA(shape, latent_channels=4, factor=4)
    net.initialise(images)
    return net


def mse(net, images):
    return float((net.reconstruct(images) - images / 255).square().mean())


def test_without_convolutions_it_starts_as_patch_pca():
    images = pictures()
    net = Spatial((3, 8, 12), **SMALL | {"blocks": 0, "encoder_blocks": 0, "steps": 0})
    net.initialise(images)
    x = images / 255
    torch.testing.assert_close(net.encode(x).z, floor(images).encode(x).z, rtol=0, atol=1e-4)
    torch.testing.assert_close(net(x), floor(images)(x), rtol=0, atol=1e-5)


def test_training_leads_above_patch_pca():
    images = pictures(30)
    torch.manual_seed(0)
    net = Spatial((3, 8, 12), **SMALL)
    net.initialise(images)
    optimizer, x = torch.optim.Adam(net.parameters(), lr=3e-3), images / 255
    for _ in range(60):
        optimizer.zero_grad()
        (net(x) - x).square().mean().backward()
        optimizer.step()
    assert mse(net, images) < 0.8 * mse(floor(images), images)


@pytest.mark.parametrize("shape", [(3, 16, 24), (3, 7, 30), (3, 8, 12)])
def test_one_set_of_weights_does_for_any_size(shape):
    torch.manual_seed(0)
    net = Spatial((3, 8, 12), **SMALL)
    net.initialise(pictures())
    other = net.at(shape)
    images = pictures(2, shape, seed=1)
    code = other.encode(images / 255)
    assert code.z.shape == (2, other.latent) == (2, 4 * -(-shape[1] // 4) * -(-shape[2] // 4))
    assert other.decode(code).shape == images.shape
    assert other.state_dict().keys() == net.state_dict().keys()
    assert all(
        a.data_ptr() == b.data_ptr() for a, b in zip(other.parameters(), net.parameters(), strict=True)
    )
    assert (net.shape, net.latent) == ((3, 8, 12), 24)  # as it was
    alone = Spatial(shape, **SMALL)
    alone.load_state_dict(net.state_dict())
    assert torch.equal(alone.encode(images / 255).z, code.z)


def test_a_code_keeps_its_place():
    """What changes in one corner of an image changes the numbers there, and not those of the opposite one."""
    torch.manual_seed(0)
    net = Spatial((1, 64, 64), **THIN, latent_channels=3, factor=8)
    net.initialise(pictures(20, (1, 64, 64)))
    x = pictures(1, (1, 64, 64), seed=5) / 255
    changed = x.clone()
    changed[..., :8, :8] = 1 - changed[..., :8, :8]
    with torch.no_grad():
        before, after = (net.encode(one).z.reshape(8, 8, 3) for one in (x, changed))
    moved = (before - after).abs().amax(2)
    assert moved[0, 0] > 0.1
    assert moved[4:, 4:].max() == 0


@pytest.mark.parametrize("file", KINDS, ids=lambda path: path.stem)
def test_it_takes_every_bottleneck_at_every_size(file):
    bottleneck = instantiate(options.node("bottleneck", file))
    net = Spatial((3, 8, 12), **SMALL | {"latent_channels": 8}, bottleneck=bottleneck).eval()
    net.initialise(pictures(40))
    other = net.at((3, 16, 16))
    code = other.encode(torch.rand(2, 3, 16, 16))
    assert code.z.shape == (2, 16 * 8)
    assert net.bottleneck.latent == 6 * 8
    if net.bottleneck.bits is not None:
        tokens = 16 * 8 // net.bottleneck.dim
        assert code.indices.shape[:2] == (2, tokens)
        entries = net.bottleneck.entries**net.bottleneck.codebooks
        assert other.bottleneck.bits == pytest.approx(tokens * math.log2(entries))


def test_it_can_be_exported_for_any_batch():
    net = Spatial((3, 9, 12), **SMALL).eval()
    net.initialise(pictures(40, (3, 9, 12)))
    batch = torch.export.Dim("batch")
    program = torch.export.export(net, (torch.rand(2, 3, 9, 12),), dynamic_shapes=({0: batch},))
    x = torch.rand(5, 3, 9, 12)
    torch.testing.assert_close(program.module()(x), net(x))
