"""A normalising flow as a prior. It takes zuko, so it is imported only where it is asked for."""

from dataclasses import dataclass

import torch
from torch import Tensor
from zuko.flows import NSF

from caelab import terminal
from caelab.draws import keys, normal

STEPS = 1_000
"""Of training."""

_BATCH = 256  # codes of a step
_AT_ONCE = 500  # codes that are drawn
_RATE = 1e-3  # at the first step; it falls to 0 as half a cosine does
_FLAT = 1e-6  # of the largest variance: an axis with less is left out, and stays at the mean


@dataclass(frozen=True, eq=False)
class Flow:
    """A normalising flow on the principal axes of codes.

    Attributes:
        about: what it is, in a line.
        net: maps K numbers of variance 1, along the axes, to noise.
        mean: of the codes, (latent,).
        axes: principal axes, each as long as the codes' standard deviation along it, (latent, K).
    """

    about: str
    net: NSF
    mean: Tensor
    axes: Tensor

    @torch.inference_mode()
    def draw(self, number: int, seed: int) -> Tensor:
        """Draw codes (number, latent) float32."""
        noise = normal(keys(torch.arange(number), seed), self.axes.shape[1])
        back = self.net().transform.inv
        whole = torch.cat([back(part) for part in torch.split(noise, _AT_ONCE)])  # (number, K)
        return self.mean + whole @ self.axes.T


def fit(codes: Tensor, seed: int) -> Flow:
    """Fit a neural spline flow to codes (N, latent) float32 that vary, by maximum likelihood.

    Durkan et al., "Neural Spline Flows" (2019), with couplings of randomly chosen halves, by zuko.
    """
    mean = codes.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov(codes.double().T).reshape(codes.shape[1], -1))
    kept = values > _FLAT * values.max()
    spread, vectors = values[kept].sqrt(), vectors[:, kept]
    whitened = ((codes - mean).double() @ vectors / spread).float()  # (N, K)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = NSF(whitened.shape[1], transforms=4, passes=2, randperm=True, hidden_features=(128, 128))
    _train(net, whitened, seed)
    about = f"a neural spline flow, fitted to the training codes in {STEPS:,} steps"
    return Flow(about, net, mean, (vectors * spread).float())


def _train(net: NSF, x: Tensor, seed: int) -> None:
    optimizer = torch.optim.Adam(net.parameters(), _RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    generator = torch.Generator().manual_seed(seed)
    for _ in terminal.tracked(range(STEPS), f"fitting a flow to {len(x):,} codes"):
        rows = torch.randint(len(x), (_BATCH,), generator=generator)
        loss = -net().log_prob(x[rows]).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimizer.step()
        schedule.step()
