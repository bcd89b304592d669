"""Intervals and tests over seeds: a value is the figure of one run, never that of one image.

Runs that share a seed share what it draws, such as the order of the batches, so rows are compared seed by
seed.
"""

import itertools
import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy import special

MIN_SEEDS = 3
"""Fewest seeds from which rows are told apart: two leave a t test one degree of freedom."""

_ROUNDING = 1e-12  # figures lie between 0 and 100; equal ones differ by less than this after a subtraction


@dataclass(frozen=True)
class Interval:
    """A mean over seeds.

    Attributes:
        mean: in the unit of the values; NaN without values.
        low: lower end of its interval; None with fewer than 2 seeds.
        high: upper end.
        n: number of seeds.
    """

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Difference:
    """A mean difference over seeds.

    Attributes:
        mean: in the unit of the values; NaN where no seed is shared.
        low: lower end of its 95 % interval; None with fewer than 2 seeds.
        high: upper end.
        p: two-sided p value of "no difference", in [0, 1]; None with fewer than 2 seeds.
        n: number of seeds.
    """

    mean: float
    low: float | None
    high: float | None
    p: float | None
    n: int

    def plus(self, constant: float) -> "Difference":
        """Return what differed by this from a constant: the same, with the constant back."""
        low, high = (None if end is None else end + constant for end in (self.low, self.high))
        return Difference(self.mean + constant, low, high, self.p, self.n)


def interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Mean over seeds with its Student t interval.

    Args:
        values: one figure for each seed.
        level: coverage, in (0, 1).
    """
    if len(values) < 2:
        return Interval(_mean(values), None, None, len(values))
    low, high, _ = _t_test(values, level)
    return Interval(fmean(values), low, high, len(values))


def paired(a: Mapping[int, float], b: Mapping[int, float]) -> Difference:
    """Mean of ``a - b`` over the seeds that both have, with a paired t test.

    Args:
        a: seed -> figure.
        b: seed -> figure.
    """
    return against([a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())], 0.0)


def against(values: Sequence[float], constant: float) -> Difference:
    """Mean of ``values - constant``, with a one-sample t test.

    For a row against a floor such as PCA: its one figure owes nothing to a seed.
    """
    differences = [value - constant for value in values]
    if len(differences) < 2:
        return Difference(_mean(differences), None, None, None, len(differences))
    low, high, p = _t_test(differences, 0.95)
    return Difference(fmean(differences), low, high, p, len(differences))


def holm(p: Sequence[float]) -> list[float]:
    """Adjust the p values of a family of tests by Holm's step-down method.

    Whoever rejects those below a level rejects any true hypothesis with at most that probability, however the
    tests depend on each other. Source: S. Holm, A simple sequentially rejective multiple test procedure,
    Scandinavian Journal of Statistics 6 (1979).

    Returns:
        The adjusted p values, in [0, 1], in the order of ``p``.
    """
    adjusted = [0.0] * len(p)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = largest
    return adjusted


def groups(values: Mapping[str, Mapping[int, float]], level: float = 0.95) -> dict[str, str]:
    """Compact letter display: rows that share a letter cannot be told apart.

    Every pair is compared by a paired t test, Holm-adjusted over all pairs. Source of the letters: H.-P.
    Piepho, An algorithm for a letter-based representation of all-pairwise comparisons, Journal of
    Computational and Graphical Statistics 13 (2004).

    Args:
        values: label -> seed -> figure. Only the seeds that all rows share are looked at; with fewer than
            ``MIN_SEEDS`` of them all rows share "a". Rows without values are not compared.
        level: 1 minus the probability that any two equal rows are told apart, in (0, 1).

    Returns:
        Label -> letters, such as "ab"; the row with the highest mean has "a", a row without values "".
    """
    rows = _shared(values)
    order = sorted(rows, key=lambda label: -_mean(rows[label]))
    pairs = list(itertools.combinations(order, 2))
    adjusted = holm([_p(rows[a], rows[b]) for a, b in pairs])
    alike = {frozenset(order)}
    for pair, p in zip(pairs, adjusted, strict=True):
        if p < 1 - level:
            alike = _split(alike, *pair)
    letters = dict.fromkeys(values, "")
    for number, members in enumerate(sorted(alike, key=lambda group: sorted(map(order.index, group)))):
        for label in members:
            letters[label] += _letter(number)
    return letters


def winner(values: Mapping[str, Mapping[int, float]], level: float = 0.95) -> str | None:
    """The row with the highest mean, if it differs from each other one.

    It is compared with every other row by a paired t test, Holm-adjusted over these comparisons. The tests
    are two-sided and must all agree; then that the row was chosen by its mean needs no further adjustment,
    see K. Hung and W. Fithian, Rank verification for exponential families, Annals of Statistics 47 (2019).
    ``groups`` adjusts for all pairs, so a winner may still share a letter.

    Args:
        values: label -> seed -> figure. Only the seeds that all rows share are looked at; rows without values
            are not compared.
        level: 1 minus the probability of a winner among rows that do not differ, in (0, 1).

    Returns:
        Its label; None with fewer than ``MIN_SEEDS`` seeds, fewer than two rows, or where no row stands out.
    """
    rows = _shared(values)
    if len(rows) < 2:
        return None
    best = max(rows, key=lambda label: _mean(rows[label]))
    adjusted = holm([_p(rows[best], rows[other]) for other in rows if other != best])
    return best if max(adjusted) < 1 - level else None


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else math.nan


def _t_test(values: Sequence[float], level: float) -> tuple[float, float, float]:
    """Ends of the t interval of the mean of two or more values, and the p value of a mean of 0."""
    mean, freedom = fmean(values), len(values) - 1
    if max(values) - min(values) <= _ROUNDING:  # no scatter to divide by
        return mean, mean, float(abs(mean) <= _ROUNDING)
    error = stdev(values) / math.sqrt(len(values))
    half = float(special.stdtrit(freedom, (1 + level) / 2)) * error
    return mean - half, mean + half, 2 * float(special.stdtr(freedom, -abs(mean) / error))


def _shared(values: Mapping[str, Mapping[int, float]]) -> dict[str, list[float]]:
    """Label -> figures of the seeds that all rows with any figure have, in the order of the seeds."""
    rows = {label: row for label, row in values.items() if row}
    seeds = set.intersection(*(set(row) for row in rows.values())) if rows else set()
    return {label: [row[seed] for seed in sorted(seeds)] for label, row in rows.items()}


def _p(a: Sequence[float], b: Sequence[float]) -> float:
    """P value of the paired t test; 1 with fewer than ``MIN_SEEDS`` seeds."""
    if len(a) < MIN_SEEDS:
        return 1.0
    return _t_test([x - y for x, y in zip(a, b, strict=True)], 0.95)[2]


def _split(alike: set[frozenset[str]], a: str, b: str) -> set[frozenset[str]]:
    """Take ``a`` and ``b`` apart in every group, and drop the groups that then lie within another."""
    apart = {
        part for group in alike for part in ((group - {a}, group - {b}) if {a, b} <= group else (group,))
    }
    return {group for group in apart if not any(group < other for other in apart)}


def _letter(number: int) -> str:
    letter = string.ascii_lowercase[number % 26]
    return letter + "'" * (number // 26)
