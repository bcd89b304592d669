import pytest
import torch

from caelab.bottlenecks.rvq import RVQ


def test_each_codebook_takes_what_is_left():
    torch.manual_seed(0)
    bottleneck = RVQ(8, dim=4, entries=5, codebooks=3).eval()
    h = torch.randn(6, 8, generator=torch.Generator().manual_seed(1))
    crossing = bottleneck(h)
    rest, indices = h.reshape(-1, 4), []
    for layer in bottleneck.codebook.layers:
        entries = layer.codebook
        nearest = torch.cdist(rest, entries).argmin(1)
        indices.append(nearest)
        rest = rest - entries[nearest]
    assert torch.equal(crossing.indices, torch.stack(indices, 1).reshape(6, 2, 3))
    torch.testing.assert_close(crossing.z, h - rest.reshape(6, 8))
    torch.testing.assert_close(crossing.penalty, rest.reshape(6, 8).square().sum(1))


@pytest.mark.parametrize("codebooks", [2, 4])
def test_gradients_pass_straight_through_once(codebooks):
    bottleneck = RVQ(8, dim=4, entries=5, codebooks=codebooks).train()
    h = torch.randn(6, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
    slopes = torch.arange(1.0, 9)
    (bottleneck(h).z * slopes).sum().backward()
    torch.testing.assert_close(h.grad, slopes.expand(6, 8))
