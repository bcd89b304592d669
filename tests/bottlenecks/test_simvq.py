import torch

from caelab.bottlenecks.simvq import SimVQ


def test_tokens_become_the_nearest_of_the_moved_entries():
    torch.manual_seed(0)
    bottleneck = SimVQ(8, dim=4, entries=7, commitment=0.5)
    h = torch.randn(6, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
    entries = bottleneck.codebook.frozen_codebook @ bottleneck.codebook.code_transform.weight.T
    nearest = torch.cdist(h.reshape(-1, 4), entries).argmin(1)
    crossing = bottleneck(h)
    assert torch.equal(crossing.indices.flatten(), nearest)
    quantised = entries[nearest].reshape(6, 8)
    torch.testing.assert_close(crossing.z, quantised)
    torch.testing.assert_close(crossing.penalty, 1.5 * (h - quantised).square().sum(1))
    crossing.penalty.sum().backward()
    torch.testing.assert_close(h.grad, 2 * 0.5 * (h - quantised).detach())  # the encoder's part alone
    assert bottleneck.codebook.code_transform.weight.grad.abs().sum() > 0
