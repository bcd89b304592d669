"""A deterministic latent whose distribution over images is held near the standard normal."""

import torch
from torch import Tensor

from caelab.bottlenecks.bottleneck import Bottleneck, Crossing, above
from caelab.draws import keys, normal

_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class MMD(Bottleneck):
    """Compares the codes of a step with draws from the standard normal by their maximum mean discrepancy.

    The deterministic Wasserstein autoencoder of Tolstikhin et al., "Wasserstein Auto-Encoders" (2018), and,
    with another kernel, InfoVAE (Zhao et al. 2019). The kernel is theirs, the inverse multiquadratic
    ``c / (c + |a - b|^2)``, summed over ``c = s * 2 * latent`` for seven ``s`` from 0.1 to 10. Images of a
    step share the discrepancy, the unbiased estimate, in equal parts.

    Args:
        latent: numbers in ``z`` per image.
        weight: of the discrepancy, 0 or more, beside squared errors summed over an image.
    """

    random = True
    near_normal = True

    def __init__(self, latent: int, weight: float = 10.0) -> None:
        super().__init__(latent)
        self.weight = above("weight", weight, 0)

    def forward(self, h: Tensor, key: Tensor | None = None) -> Crossing:
        """Let a latent (N, latent) cross; outside training the draws are always the same."""
        if torch.compiler.is_exporting():  # where nobody asks for the penalty, which has N x N terms
            return Crossing(h)
        if key is None:
            key = keys(torch.arange(len(h), device=h.device), 0)
        z = h.float()
        discrepancy = squared_discrepancy(z, normal(key, self.latent))
        return Crossing(h, (self.weight * discrepancy).expand(len(h)))


def squared_discrepancy(a: Tensor, b: Tensor) -> Tensor:
    """Unbiased estimate of the squared discrepancy of two samples (N, latent); 0 of a single image."""
    n = len(a)
    if n < 2:
        return a.new_zeros(())
    within = (_kernel(a, a) + _kernel(b, b)).fill_diagonal_(0).sum() / (n * (n - 1))
    return within - 2 * _kernel(a, b).mean()


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    distances = (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T).clamp(min=0)
    scales = [2 * a.shape[1] * scale for scale in _SCALES]
    return torch.stack([scale / (scale + distances) for scale in scales]).sum(0)
