"""Priors: distributions of codes that samples are drawn from."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from caelab import durable, terminal
from caelab.bottlenecks.bottleneck import Bottleneck
from caelab.draws import keys, normal, uniform
from caelab.errors import UserError
from caelab.runs import arrays

COMPONENTS = 10
"""Normal distributions of a mixture, as Ghosh et al. have it."""

MIXTURES = ("normal", "gmm")
"""Names of the priors that are mixtures, whose parameters are kept."""

DRAWS = 256
"""Codes that are kept of any other prior, where they are not too long."""

_NUMBERS = 1 << 18  # of these codes together, at most

_PARAMETERS = ("shares", "means", "covariances")
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
        for component, root in enumerate(self.roots):
            mine = which == component
            z[mine] += noise[mine] @ root
        return z.float()

    @property
    def roots(self) -> Tensor:
        """What turns standard normal rows into rows of each component, (K, latent, latent) float64."""
        values, vectors = torch.linalg.eigh(self.covariances)  # which may be singular
        roots: Tensor = values.clamp(min=0).sqrt()[..., None] * vectors.mT
        return roots


def save(priors: Mapping[str, Prior], path: Path, seed: int = 0) -> None:
    """Write float32 parameters of mixtures, and of other priors the first draws; ``saved`` reads both."""
    parts: dict[str, Any] = {}
    for name, one in priors.items():
        if isinstance(one, Mixture):
            parts |= {f"{name}/{part}": getattr(one, part).float().numpy() for part in _PARAMETERS}
        else:
            z = one.draw(DRAWS, seed)
            parts[f"{name}/draws"] = z[: max(1, _NUMBERS // z.shape[1])].numpy()
    with durable.file(path) as file:
        np.savez(file, **parts)


def saved(path: Path, names: Sequence[str]) -> dict[str, Mixture | Tensor]:
    """Read of what ``save`` wrote the priors of these names: a mixture, or draws (N, latent) of another one.

    Files of before 0.10 have no draws: such a prior is left out.

    Raises:
        UserError: the file is missing or damaged.
    """
    kept: dict[str, Mixture | Tensor] = {}
    try:
        for name in names:
            if name in MIXTURES:
                parts = arrays.load(path, [f"{name}/{part}" for part in _PARAMETERS])
                kept[name] = Mixture("", *map(_double, parts))
            else:
                with suppress(KeyError):
                    kept[name] = torch.from_numpy(*arrays.load(path, [f"{name}/draws"]))
        return kept
    except arrays.DAMAGE as error:
        raise UserError(
            f"{path} cannot be read ({terminal.one_line(error)}); caelab sample writes it"
        ) from None


def _double(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(values).double()


def standard_or_fitted(codes: Tensor, bottleneck: Bottleneck, seed: int) -> Mixture:
    """Return the standard normal where training holds codes near it, else a normal distribution of codes.

    Raises:
        UserError: fewer than two codes to have a covariance.
    """
    latent = codes.shape[1]
    mean, covariance = torch.zeros(latent).double(), torch.eye(latent).double()
    about = "the standard normal, which training holds the codes near"
    if not bottleneck.near_normal:
        if len(codes) < 2:
            raise UserError("its single training image is too few for a normal distribution; train on more")
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
            f"it has {len(codes)} training images, fewer than the {COMPONENTS} components of a "
            "mixture; train on more"
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
