from functools import partial

import torch

from caelab.bottlenecks.bottleneck import Crossing
from caelab.bottlenecks.topk import TopK
from caelab.models.spatial import Spatial


def test_the_largest_cross():
    h = torch.tensor([[1.0, -5.0, 2.0, 0.5], [0.1, 0.2, -0.3, 0.0]])
    assert TopK(4, k=2)(h).z.tolist() == torch.tensor([[0, -5, 2, 0], [0, 0.2, -0.3, 0]]).tolist()


def test_of_another_size_the_same_share_crosses():
    torch.manual_seed(0)
    net = Spatial((3, 8, 12), latent_channels=4, factor=4, blocks=0, bottleneck=partial(TopK, k=5)).eval()
    kept = {(8, 12): 5, (16, 24): 20, (4, 8): 2, (4, 4): 1, (1, 1): 1}  # of 24, 96, 8, 4 and 4 numbers
    for size, k in kept.items():
        for start in (net, net.at((3, 1, 1))):
            z = start.at((3, *size)).encode(torch.rand(2, 3, *size)).z
            assert (z != 0).sum(1).tolist() == [k, k]
    assert all(TopK(latent, k).k == k for latent in range(1, 300) for k in range(1, latent + 1))


def test_active_numbers_cross_in_some_image():
    z = torch.tensor([[1.0, 0, 0, 2], [0, 0, 0, 1]])
    assert TopK(4, k=2).measure(Crossing(z)) == {"active_numbers": 2.0}
