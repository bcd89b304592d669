import torch

from caelab.bottlenecks.bottleneck import Crossing
from caelab.bottlenecks.topk import TopK


def test_the_largest_cross():
    h = torch.tensor([[1.0, -5.0, 2.0, 0.5], [0.1, 0.2, -0.3, 0.0]])
    assert TopK(4, k=2)(h).z.tolist() == torch.tensor([[0, -5, 2, 0], [0, 0.2, -0.3, 0]]).tolist()


def test_active_numbers_cross_in_some_image():
    z = torch.tensor([[1.0, 0, 0, 2], [0, 0, 0, 1]])
    assert TopK(4, k=2).measure(Crossing(z)) == {"active_numbers": 2.0}
