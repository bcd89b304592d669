import pytest
import torch

from caelab.bottlenecks.mmd import MMD, squared_discrepancy
from caelab.draws import keys


def kernel(a, b):
    distance = float((a - b).square().sum())
    scales = [2 * len(a) * scale for scale in (0.1, 0.2, 0.5, 1, 2, 5, 10)]
    return sum(scale / (scale + distance) for scale in scales)


def test_discrepancy_is_that_of_loops():
    a, b = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    pairs = [(i, j) for i in range(6) for j in range(6)]
    within = sum(kernel(a[i], a[j]) + kernel(b[i], b[j]) for i, j in pairs if i != j) / 30
    across = sum(kernel(a[i], b[j]) for i, j in pairs) / 36
    assert float(squared_discrepancy(a, b)) == pytest.approx(within - 2 * across, rel=1e-4)


def test_images_share_what_the_step_costs():
    h = torch.randn(400, 4, generator=torch.Generator().manual_seed(0))
    key = keys(torch.arange(400), 0)
    near, far = MMD(4, weight=2)(h, key), MMD(4, weight=2)(3 * h + 1, key)
    assert torch.equal(near.z, h)
    assert near.penalty.tolist() == [float(near.penalty[0])] * 400
    assert abs(float(near.penalty[0])) < 0.05 < 0.5 < float(far.penalty[0])


def test_a_single_image_costs_nothing():
    assert MMD(4)(torch.ones(1, 4)).penalty.tolist() == [0]
