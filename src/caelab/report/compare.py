"""A row's figures alone and against another row's: the interval and the test that fit what the rows are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from caelab.metrics import statistics
from caelab.metrics.statistics import ALPHA, UNBOUNDED, Bounds, Difference, Interval
from caelab.report.rows import Row
from caelab.runs.analyses import columns


@dataclass(frozen=True)
class Comparison:
    """Two rows of a claim.

    Attributes:
        row: label of the row of which the claim speaks.
        other: label of the row that it is compared with, or the bound as text.
        difference: ``row - other`` over their seeds, in the metric's unit, with a 95 % interval.
        p: of its lying where the claim says, in [0, 1]; None with fewer than 2 seeds.
        against: p of its lying on the other side, Holm-adjusted over the claim's comparisons, likewise.
    """

    row: str
    other: str
    difference: Difference
    p: float | None
    against: float | None

    @property
    def label(self) -> str:
        """Such as ``improved against base``."""
        return f"{self.row} against {self.other}"

    @property
    def supports(self) -> bool:
        """Whether it lies significantly where the claim says."""
        return self.p is not None and self.p < ALPHA

    @property
    def refutes(self) -> bool:
        """Whether it lies significantly on the other side."""
        return self.against is not None and self.against < ALPHA


@cache
def bounds(metric: str) -> Bounds:
    """Least and greatest value that a metric can have; most have none that an interval could meet."""
    return next((one.bounds for one in columns().values() if one.path == metric), UNBOUNDED)


def interval(row: Row, metric: str) -> Interval:
    """Mean of a row over its seeds, with its 95 % interval within the metric's bounds."""
    return statistics.interval(list(row.values(metric).values()), bounds(metric))


def difference(a: Row, b: Row, metric: str) -> Difference:
    """Mean of ``a`` less that of ``b``; a floor is a constant, whose one figure owes nothing to a seed.

    Rows whose runs start from the same weights are paired, others are not: see ``statistics.difference``.
    Both have the figure.
    """
    low, high = bounds(metric)
    x, y = a.starts(metric), b.starts(metric)
    if b.floor:
        return statistics.against(list(x.values()), fmean(y.values()), (low, high))
    if a.floor:
        return statistics.against([-value for value in y.values()], -fmean(x.values()), (-high, -low))
    return statistics.difference(x, y, (low, high))


def against(row: Row, bound: float, metric: str) -> Difference:
    """Mean of a row less a number that it is held against."""
    return statistics.against(list(row.values(metric).values()), bound, bounds(metric))


def means(rows: Sequence[Row], metric: str) -> tuple[list[float], NDArray[np.float64]]:
    """Average each row over its seeds.

    Args:
        rows: with runs.
        metric: key of the records' metrics.

    Returns:
        The N means, and how far their 95 % intervals reach below and above, (2, N); NaN for one seed.
    """
    found = [interval(row, metric) for row in rows]
    reach = [
        (math.nan, math.nan)
        if one.low is None or one.high is None
        else (one.mean - one.low, one.high - one.mean)
        for one in found
    ]
    return [one.mean for one in found], np.array(reach).reshape(-1, 2).T
