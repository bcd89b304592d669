import pytest
import torch

from caelab.bottlenecks.vq import VQ

LATENT, DIM, ENTRIES = 12, 4, 6


def build(**options):
    torch.manual_seed(0)
    return VQ(LATENT, dim=DIM, entries=ENTRIES, **options)


H = torch.randn(9, LATENT, generator=torch.Generator().manual_seed(1))


def test_tokens_become_the_nearest_entries():
    bottleneck = build().eval()
    entries = bottleneck.codebook.codebook
    crossing = bottleneck(H)
    for image in range(9):
        for n, token in enumerate(H[image].split(DIM)):
            distances = [float((token - entry).square().sum()) for entry in entries]
            nearest = min(range(ENTRIES), key=distances.__getitem__)
            assert crossing.indices[image, n, 0] == nearest
            torch.testing.assert_close(crossing.z[image].split(DIM)[n], entries[nearest])
    expected = (H - crossing.z).square().sum(1)
    assert crossing.penalty.tolist() == pytest.approx(expected.tolist(), rel=1e-5)


def test_entries_are_moving_averages():
    bottleneck = build(decay=0.9)
    before = bottleneck.codebook.codebook.clone()
    indices = bottleneck(H).indices[..., 0].flatten()
    tokens = H.reshape(-1, DIM)
    counts = torch.stack([(indices == n).sum() for n in range(ENTRIES)]).float()
    sums = torch.stack([tokens[indices == n].sum(0) for n in range(ENTRIES)])
    sizes = 0.9 + 0.1 * counts  # they start at 1
    averages = 0.9 * before + 0.1 * sums
    smoothed = (sizes + 1e-5) / (sizes.sum() + ENTRIES * 1e-5) * sizes.sum()
    torch.testing.assert_close(bottleneck.codebook.codebook, averages / smoothed[:, None])


def test_gradients_pass_straight_through():
    h = H.clone().requires_grad_()
    build(commitment=0)(h).z.sum().backward()
    assert h.grad.tolist() == torch.ones_like(h).tolist()


def test_entries_that_nobody_uses_start_again():
    bottleneck = build(decay=0.5, revive=0.5)
    with torch.no_grad():
        bottleneck.codebook.codebook[1:] = 1e3
    used = []
    for _ in range(8):
        used.append(len(bottleneck(H).indices.unique()))
    assert used[0] == 1
    assert used[-1] > 1
