"""How much one set of images is like another: figures of their features."""

from typing import NamedTuple

import torch
from torch import Tensor

NEIGHBOURS = 5
"""k of precision, recall, density and coverage, as Naeem et al. have it."""

_CHUNK = 500  # rows of a table of distances


class Likeness(NamedTuple):
    """Figures of a set of images, held against real ones.

    Attributes:
        frechet: Fréchet distance of the features, 0 or more; 0 for equal means and covariances.
        precision: share of the set within reach of a real image, in [0, 1].
        recall: share of the real images within reach of one of the set, in [0, 1].
        density: how many real images each of the set is in reach of, divided by k; 0 or more, and 1 in
            expectation where both sets are of one distribution.
        coverage: share of the real images with one of the set in reach, in [0, 1].
    """

    frechet: float
    precision: float
    recall: float
    density: float
    coverage: float


class Reference:
    """Features of real images, that sets of images are held against.

    An image reaches as far as to its k-th nearest neighbour in its own set, with k = ``NEIGHBOURS``.

    Args:
        features: (N, D), N above k.
    """

    def __init__(self, features: Tensor) -> None:
        self._features = features.double()
        self._reach = reach(self._features)

    def likeness(self, features: Tensor) -> Likeness:
        """Hold a set of images against the real ones.

        Precision and recall: Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing
        Generative Models" (2019), eq. 1 and 2. Density and coverage: Naeem et al., "Reliable Fidelity and
        Diversity Metrics for Generative Models" (2020), eq. 3 and 4.

        Args:
            features: of the set, (M, D), M above k.
        """
        real, made = self._features, features.double()
        within, near = 0, torch.zeros(())  # of the set, and how many real ones each is near to
        nearest = torch.full((len(real),), torch.inf, dtype=torch.double)
        reached = torch.zeros(len(real), dtype=torch.bool)
        for rows, far in zip(torch.split(made, _CHUNK), torch.split(reach(made), _CHUNK), strict=True):
            distances = torch.cdist(rows, real)  # (n, N)
            inside = distances <= self._reach
            within += int(inside.any(1).sum())
            near = near + inside.sum()
            nearest = torch.minimum(nearest, distances.amin(0))
            reached |= (distances <= far[:, None]).any(0)
        return Likeness(
            frechet(real, made),
            within / len(made),
            reached.double().mean().item(),
            near.item() / (NEIGHBOURS * len(made)),
            (nearest <= self._reach).double().mean().item(),
        )


def reach(features: Tensor) -> Tensor:
    """Distance of each row of features (N, D) to its k-th nearest neighbour among the others, (N,)."""
    # the nearest of all is the row itself
    return torch.cat(
        [
            torch.cdist(rows, features).kthvalue(NEIGHBOURS + 1, 1).values
            for rows in torch.split(features, _CHUNK)
        ]
    )


def frechet(a: Tensor, b: Tensor) -> float:
    """Squared Fréchet distance of the normal distributions with the means and covariances of two samples.

    ``|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))``: Dowson and Landau (1982); of features of images,
    Heusel et al., "GANs Trained by a Two Time-Scale Update Rule" (2017), eq. 6. The eigenvalues of
    ``C_a C_b`` are those of ``C_a^(1/2) C_b C_a^(1/2)``, which is symmetric.

    Args:
        a: (N, D) float64, N above 1.
        b: (M, D) float64, M above 1.
    """
    values, vectors = torch.linalg.eigh(torch.cov(a.T).reshape(a.shape[1], -1))
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    other = torch.cov(b.T).reshape(root.shape)
    shared = torch.linalg.eigvalsh(root @ other @ root).clamp(min=0).sqrt().sum()
    means = (a.mean(0) - b.mean(0)).square().sum()
    return max(0.0, float(means + values.sum() + other.trace() - 2 * shared))
