"""Codes in two dimensions."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

Floats = NDArray[np.float64]

_PERPLEXITY = 30.0
_AXES = 50  # of PCA before the two others, as the authors of t-SNE do


def project(z: Floats, method: str, seed: int) -> Floats:
    """Map codes (N, latent), N at least 10, to the plane, (N, 2).

    Args:
        z: the codes.
        method: key of ``METHODS``.
        seed: of what is random in it.
    """
    return METHODS[method](_reduced(z, _AXES if method != "pca" else 2), seed)


def _reduced(z: Floats, axes: int) -> Floats:
    kept = min(axes, *z.shape)
    found: Floats = PCA(kept, svd_solver="full").fit_transform(z)
    return np.pad(found, ((0, 0), (0, max(0, 2 - kept))))  # a latent of one number is a line


def _tsne(points: Floats, seed: int) -> Floats:
    perplexity = min(_PERPLEXITY, (len(points) - 1) / 3)
    found: Floats = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(points)
    return found.astype(np.float64)


def _umap(points: Floats, seed: int) -> Floats:
    import umap  # an extra

    # n_jobs=1 is what a seed makes of it anyway, with a warning
    neighbours = min(15, len(points) - 1)
    mapper = umap.UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1)
    found: Floats = np.asarray(mapper.fit_transform(points), np.float64)
    return found


METHODS: dict[str, Callable[[Floats, int], Floats]] = {
    "pca": lambda points, _seed: points,
    "tsne": _tsne,
    "umap": _umap,
}
"""Ways to map, by their name on the command line."""
