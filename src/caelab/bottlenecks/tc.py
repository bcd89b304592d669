"""A distribution whose numbers are pushed apart."""

import math

import torch
from torch import Tensor

from caelab.bottlenecks.variational import Variational, divergence, log_density

_GROUP = 50


class TotalCorrelation(Variational):
    """Beta-TCVAE: of the divergence only the part between the numbers, their total correlation, is weighed.

    Chen et al., "Isolating Sources of Disentanglement in Variational Autoencoders" (2018), eq. 4: the KL
    divergence plus ``beta - 1`` times the total correlation, which is estimated over the images of a step
    (their minibatch-weighted sampling; the size of the dataset only adds a constant to it, and is left out).
    Its terms grow with the square of the images, so outside training it is estimated over 50 at a time.

    Args:
        latent: numbers in ``z`` per image.
        beta: weight of the total correlation, 0 or more; 1 is ``bottleneck=variational`` in expectation.
        warm_up: epochs over which training lets the whole penalty rise from 0.
    """

    def __init__(self, latent: int, beta: float = 6.0, warm_up: int = 0) -> None:
        super().__init__(latent, 1.0, 0.0, warm_up)
        self.weight = Variational(latent, beta).beta

    def price(self, z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        """KL divergence and the weighted total correlation, (N,) nats."""
        size = len(z) if self.training else _GROUP
        groups = zip(*(torch.split(x, size) for x in (z, mean, log_variance)), strict=True)
        correlation = torch.cat([total_correlation(*group) for group in groups])
        return divergence(mean, log_variance).sum(1) + (self.weight - 1) * correlation


def total_correlation(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Log-density of each code less that of its numbers one by one, over these images, (N,) nats."""
    pairs = log_density(z[:, None], mean[None], log_variance[None])  # (N, N, latent)
    count = math.log(len(z))
    return (pairs.sum(2).logsumexp(1) - count) - (pairs.logsumexp(1) - count).sum(1)
