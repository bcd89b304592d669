"""Which images lie next to each other."""

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from caelab.analysis.look.codes import Floats

Rows = NDArray[np.int64]


def nearest(points: Floats, queries: Rows, count: int) -> tuple[Rows, Floats]:
    """Find the points nearest to some of them, never a point itself.

    Args:
        points: (N, D), N above ``count``.
        queries: (Q,), rows of it.
        count: neighbours of each.

    Returns:
        Rows (Q, count), nearest first, and their Euclidean distances (Q, count).
    """
    found = NearestNeighbors(n_neighbors=count + 1, algorithm="brute").fit(points)
    distances, rows = found.kneighbors(points[queries])
    # A twin at distance 0 may come before the point itself, or push it out.
    order = np.argsort(rows == queries[:, None], axis=1, kind="stable")[:, :count]
    return np.take_along_axis(rows, order, 1), np.take_along_axis(distances, order, 1)


def agreement(points: Floats, labels: Rows, count: int) -> float:
    """Return the part, in [0, 1], of all points' ``count`` nearest neighbours that have the point's label."""
    rows, _ = nearest(points, np.arange(len(points)), count)
    return float((labels[rows] == labels[:, None]).mean())
