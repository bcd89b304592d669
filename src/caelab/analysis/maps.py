"""Codes in two dimensions. Imports nothing heavy, so that a mistake in the method's name is told at once."""

import importlib.metadata
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from caelab.errors import UserError
from caelab.mistakes import nearest

Floats = NDArray[np.float64]

_PERPLEXITY = 30.0
_AXES = 50  # of PCA before the two others, as the authors of t-SNE do


def check(method: str) -> None:
    """Make sure that a map can be made.

    Raises:
        UserError: there is no such method, or it needs a package that is not installed.
    """
    if method not in METHODS:
        raise UserError(f"--map {method}: there is no such map{nearest(method, list(METHODS))}")
    if method == "umap" and not installed("umap-learn"):
        raise UserError(
            "--map umap: umap-learn is not installed; pip install 'caelab[umap]', or take --map tsne"
        )


def installed(package: str) -> bool:
    """Whether a package is there, by its name in the registry: others may be imported as the same."""
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def project(z: Floats, method: str, seed: int) -> Floats:
    """Map codes (N, latent), N at least 10, to the plane, (N, 2).

    Args:
        z: the codes.
        method: key of ``METHODS``.
        seed: of what is random in it.
    """
    return METHODS[method](_reduced(z, _AXES if method != "pca" else 2), seed)


def _reduced(z: Floats, axes: int) -> Floats:
    from sklearn.decomposition import PCA

    kept = min(axes, *z.shape)
    found: Floats = PCA(kept, svd_solver="full").fit_transform(z)
    return np.pad(found, ((0, 0), (0, max(0, 2 - kept))))  # a latent of one number is a line


def _tsne(points: Floats, seed: int) -> Floats:
    from sklearn.manifold import TSNE

    perplexity = min(_PERPLEXITY, (len(points) - 1) / 3)
    found: Floats = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(points)
    return found.astype(np.float64)


def _umap(points: Floats, seed: int) -> Floats:
    import umap

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
