"""Priors: distributions of codes that samples are drawn from."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from caelab import terminal
from caelab.bottlenecks.bottleneck import Bottleneck
from caelab.draws import keys, normal, uniform
from caelab.errors import UserError

COMPONENTS = 10
"""Normal distributions of a mixture, as Ghosh et al. have it."""

_STEPS = 200  # of the fit of a mixture, at most


class Prior(Protocol):
    """A distribution of codes."""

    @property
    def about(self) -> str:
        """What it is, in a line."""

    def draw(self, number: int, seed: int) -> Tensor:
        """Draw codes (number, latent) float32."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of normal distributions.

    Attributes:
        about: what it is, in a line.
        shares: of the components, (K,) float64, which add up to 1.
        means: (K, latent) float64.
        covariances: (K, latent, latent) float64.
    """

    about: str
    shares: Tensor
    means: Tensor
    covariances: Tensor

    def draw(self, number: int, seed: int) -> Tensor:
        """Draw codes (number, latent) float32."""
        rows = torch.arange(number)
        noise = normal(keys(rows, seed, 1), self.means.shape[1]).double()
        turn = uniform(keys(rows, seed, 0), 1)[:, 0].double()
        which = torch.searchsorted(self.shares.cumsum(0), turn, right=True).clamp(max=len(self.shares) - 1)
        z = self.means[which]
        for component, covariance in enumerate(self.covariances):
            values, vectors = torch.linalg.eigh(covariance)  # which may be singular
            mine = which == component
            z[mine] += noise[mine] * values.clamp(min=0).sqrt() @ vectors.T
        return z.float()


def standard_or_fitted(codes: Tensor, bottleneck: Bottleneck, seed: int) -> Mixture:
    """Return the standard normal where training holds codes near it, else a normal distribution of codes."""
    latent = codes.shape[1]
    mean, covariance = torch.zeros(latent).double(), torch.eye(latent).double()
    about = "the standard normal, which training holds the codes near"
    if not bottleneck.near_normal:
        x = codes.double()
        mean, covariance = x.mean(0), torch.cov(x.T).reshape(latent, latent)
        about = "one normal distribution, mean and covariance those of the training codes"
    return Mixture(about, torch.ones(1).double(), mean[None], covariance[None])


def mixture(codes: Tensor, bottleneck: Bottleneck, seed: int) -> Mixture:
    """Fit a mixture of normal distributions with full covariances to codes.

    Ghosh et al., "From Variational to Deterministic Autoencoders" (2020), section 4, by scikit-learn.

    Raises:
        UserError: fewer codes than components, or all the same.
    """
    if len(codes) < COMPONENTS:
        raise UserError(
            f"its {len(codes)} training images are fewer than the {COMPONENTS} parts of a mixture"
        )
    _require_spread(codes, "mixture")
    x = codes.double()
    scale = x.std(0).max()
    fit = GaussianMixture(COMPONENTS, max_iter=_STEPS, random_state=seed)
    with terminal.waiting() as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # which ``about`` tells
        progress.add_task(f"fitting a mixture to {len(codes):,} codes", total=None)
        fit.fit((x / scale).numpy())  # of a size that what scikit-learn adds to variances is little beside
    ended = "" if fit.converged_ else f", not converged after {_STEPS} steps"
    return Mixture(
        f"{COMPONENTS} normal distributions with full covariances, fitted to the training codes{ended}",
        torch.from_numpy(fit.weights_),
        torch.from_numpy(fit.means_) * scale,
        torch.from_numpy(fit.covariances_) * scale**2,
    )


def flow(codes: Tensor, bottleneck: Bottleneck, seed: int) -> Prior:
    """Fit a normalising flow to codes: see ``caelab.analysis.sample.flow``.

    Raises:
        UserError: all codes are the same.
    """
    from caelab.analysis.sample.flow import fit  # zuko

    _require_spread(codes, "flow")
    return fit(codes, seed)


def _require_spread(codes: Tensor, what: str) -> None:
    if not (codes != codes[0]).any():
        raise UserError(
            f"all training images have the same code, so no {what} can be fitted; take --prior normal"
        )


FITS: dict[str, Callable[[Tensor, Bottleneck, int], Prior]] = {
    "normal": standard_or_fitted,
    "gmm": mixture,
    "flow": flow,
}
"""Name -> what fits a prior to codes (N, latent) float32 of a bottleneck, with a seed."""
