"""A latent that training disturbs."""

import torch
from torch import Tensor, distributed

from caelab.bottlenecks.bottleneck import Bottleneck, Crossing, above
from caelab.draws import normal


class Noise(Bottleneck):
    """Adds independent normal noise to each number of the latent in training; nothing outside it.

    The noise is as large as the code: ``z + std * spread * n``, with ``spread`` each number's standard
    deviation over the images of the step. So a network cannot escape it by a larger code.

    Args:
        latent: numbers in ``z`` per image.
        std: standard deviation of the noise in units of the code's own, 0 or more.
    """

    random = True

    def __init__(self, latent: int, std: float = 0.1) -> None:
        super().__init__(latent)
        self.std = above("std", std, 0)

    def forward(self, h: Tensor, key: Tensor | None = None) -> Crossing:
        """Let a latent (N, latent) cross."""
        if not self.training or key is None:
            return Crossing(h)
        return Crossing(h + self.std * spread(h.detach()) * normal(key, self.latent).to(h.dtype))


def spread(h: Tensor) -> Tensor:
    """Standard deviation of each number over the images of a step, on all devices: (latent,) float32."""
    h = h.float()
    sums = torch.stack([torch.ones_like(h[0]) * len(h), h.sum(0), h.square().sum(0)])
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(sums)
    n, total, squares = sums
    variance: Tensor = squares / n - (total / n).square()
    return variance.clamp(min=0).sqrt()
