"""A latent that is a distribution, held near the standard normal."""

import math

import torch
from torch import Tensor

from caelab.bottlenecks.bottleneck import Bottleneck, Crossing, above
from caelab.draws import normal

COLLAPSED = 0.01
"""Variance over images below which the mean of a number says nothing: Burda et al. 2016, appendix C."""


class Variational(Bottleneck):
    """A normal distribution of each image's latent, with a price on what it tells beyond the standard one.

    Kingma and Welling, "Auto-Encoding Variational Bayes" (2014), and with ``beta`` Higgins et al., "beta-VAE"
    (2017). The encoder gives mean ``m`` and log-variance ``v`` of each number; training draws
    ``z = m + exp(v / 2) n``, everything else uses ``m``. The penalty of an image is ``beta`` times
    ``KL = sum(m^2 + exp(v) - v - 1) / 2`` in nats. It stands beside squared errors summed over the image, so
    ``loss=mse`` with ``beta=1`` is the usual VAE with a Gaussian decoder of variance 1/2.

    Args:
        latent: numbers in ``z`` per image.
        beta: weight of the KL divergence, 0 or more.
        free_bits: nats of each number that cost nothing: Kingma et al., "Improved Variational Inference with
            Inverse Autoregressive Flow" (2016), eq. 15, of each image.
        warm_up: epochs over which training lets ``beta`` rise from 0, linearly: Bowman et al. (2016).

    Raises:
        ValueError: a value that cannot be; the message starts with the parameter's name.
    """

    asks = 2
    random = True
    near_normal = True

    def __init__(self, latent: int, beta: float = 1.0, free_bits: float = 0.0, warm_up: int = 0) -> None:
        super().__init__(latent)
        self.beta = above("beta", beta, 0)
        self.free_bits = above("free_bits", free_bits, 0)
        self.warm_up = above("warm_up", warm_up, 0)
        self.share: Tensor
        self.register_buffer("share", torch.ones(()), persistent=False)  # of beta, in this epoch

    def start_epoch(self, epoch: int) -> None:
        """Raise the weight of the divergence while the epochs of the warm-up last."""
        self.share.fill_(min(1.0, epoch / self.warm_up) if self.warm_up else 1.0)

    def forward(self, h: Tensor, key: Tensor | None = None) -> Crossing:
        """Let mean and log-variance (N, 2 * latent) cross as ``z`` (N, latent)."""
        mean, log_variance = h.float().chunk(2, dim=1)
        z = mean
        if self.training and key is not None:
            z = mean + (log_variance / 2).exp() * normal(key, self.latent)
        if torch.compiler.is_exporting():  # where nobody asks for the penalty, which may have N x N terms
            return Crossing(z)
        beta = self.beta * self.share if self.training else self.beta
        return Crossing(z, beta * self.price(z, mean, log_variance))

    def price(self, z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        """What the distribution of each image costs, (N,) nats, before ``beta``."""
        return divergence(mean, log_variance).clamp(min=self.free_bits).sum(1)

    def measure(self, codes: Crossing) -> dict[str, float]:
        """``active_numbers``: how many means vary over images, so that they tell something."""
        return {"active_numbers": float((codes.z.float().var(0) > COLLAPSED).sum())}


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of normal distributions from the standard one, (N, latent) nats."""
    return (mean.square() + log_variance.exp() - log_variance - 1) / 2


def log_density(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Logarithm of the normal density of each number."""
    return -((z - mean).square() / log_variance.exp() + log_variance + math.log(2 * math.pi)) / 2
