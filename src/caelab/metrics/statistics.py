"""Intervals and tests over seeds: a value is the figure of one run, never that of one image.

A row's figures are keyed by what the weights of each run started from: see ``Row.starts``. Rows with the
same keys are compared start by start, all others as independent samples.
"""

import itertools
import math
import string
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, variance

from scipy import special

MIN_SEEDS = 3
"""Fewest seeds of a row that is told apart: two leave a t test of one row one degree of freedom."""

ALPHA = 0.05
"""A p value below this is significant: what intervals of 95 % leave out."""

Bounds = tuple[float, float]
"""Least and greatest value that a figure can have."""

UNBOUNDED: Bounds = (-math.inf, math.inf)

_ROUNDING = 1e-12  # figures lie between 0 and 100; equal ones differ by less than this after a subtraction


@dataclass(frozen=True)
class Interval:
    """A mean over seeds.

    Attributes:
        mean: in the unit of the values; NaN without values.
        low: lower end of its 95 % interval; None with fewer than 2 seeds.
        high: upper end.
        n: number of seeds.
    """

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Difference:
    """A mean difference over seeds, and how sure it is.

    Attributes:
        mean: in the unit of the values; NaN where a side has none.
        error: its standard error; 0 where nothing scatters, None with fewer than 2 seeds on a side.
        freedom: degrees of freedom of ``(mean - truth) / error``, which has a t distribution.
        n: number of seeds, of the side that has fewer.
        test: ``paired``, ``Welch`` or ``one-sample``.
        bounds: between which the true difference must lie.
    """

    mean: float
    error: float | None
    freedom: float
    n: int
    test: str
    bounds: Bounds = UNBOUNDED

    @property
    def low(self) -> float | None:
        """Lower end of its 95 % interval, within its bounds; None with fewer than 2 seeds."""
        return None if self.error is None else max(self.bounds[0], self.mean - self._half(self.error))

    @property
    def high(self) -> float | None:
        """Upper end."""
        return None if self.error is None else min(self.bounds[1], self.mean + self._half(self.error))

    @property
    def p(self) -> float | None:
        """Two-sided p value of "no difference", in [0, 1]; None with fewer than 2 seeds."""
        above, below = self.above(), self.below()
        return None if above is None or below is None else min(above, below)

    def above(self, limit: float = 0.0) -> float | None:
        """P value against "at most ``limit``", of one side and doubled.

        It is below 0.05 exactly where the 95 % interval without bounds lies above the limit.
        """
        return self._doubled(self.mean - limit)

    def below(self, limit: float = 0.0) -> float | None:
        """P value against "at least ``limit``", likewise."""
        return self._doubled(limit - self.mean)

    def plus(self, constant: float) -> "Difference":
        """Return what differed by this from a constant: the same, with the constant back."""
        low, high = self.bounds
        return replace(self, mean=self.mean + constant, bounds=(low + constant, high + constant))

    def _half(self, error: float) -> float:
        return float(special.stdtrit(self.freedom, 1 - ALPHA / 2)) * error

    def _doubled(self, gap: float) -> float | None:
        if self.error is None:
            return None
        if self.error == 0:  # no scatter to divide by
            return float(gap <= _ROUNDING)
        return min(1.0, 2 * float(special.stdtr(self.freedom, -gap / self.error)))


def interval(values: Sequence[float], bounds: Bounds = UNBOUNDED) -> Interval:
    """Mean over seeds with its 95 % Student t interval, cut off at the bounds of the figure.

    What is cut off cannot hold the true mean, so the interval covers it no less often.

    Args:
        values: one figure for each seed.
        bounds: of the figure.
    """
    found = against(values, 0.0, bounds)
    return Interval(found.mean, found.low, found.high, found.n)


def difference(
    a: Mapping[Hashable, float], b: Mapping[Hashable, float], bounds: Bounds = UNBOUNDED
) -> Difference:
    """Mean of ``a`` less mean of ``b``: by a paired t test where both have the same keys, else by Welch's.

    Pairing takes out what the runs of a key share, at the cost of half the degrees of freedom; where they
    share nothing it only costs. Source: B. L. Welch, The generalization of "Student's" problem when several
    different population variances are involved, Biometrika 34 (1947).

    Args:
        a: what a run started from -> its figure.
        b: the same of the other side.
        bounds: of the figures.
    """
    reach = (bounds[0] - bounds[1], bounds[1] - bounds[0])
    if a.keys() == b.keys():
        return replace(against([a[key] - b[key] for key in a], 0.0, reach), test="paired")
    sides = [list(a.values()), list(b.values())]
    mean, n = _mean(sides[0]) - _mean(sides[1]), min(map(len, sides))
    if n < 2:
        return Difference(mean, None, math.nan, n, "Welch", reach)
    error, freedom = _welch([_squared_error(side) for side in sides], [len(side) - 1 for side in sides])
    return Difference(mean, error, freedom, n, "Welch", reach)


def against(values: Sequence[float], constant: float, bounds: Bounds = UNBOUNDED) -> Difference:
    """Mean of ``values - constant``, with a one-sample t test.

    For a row against a floor such as PCA: its one figure owes nothing to a seed.

    Args:
        values: one figure for each seed.
        constant: what they are compared with.
        bounds: of the values.
    """
    gaps, n = [value - constant for value in values], len(values)
    error = math.sqrt(_squared_error(gaps)) if n > 1 else None
    reach = (bounds[0] - constant, bounds[1] - constant)
    return Difference(_mean(gaps), error, n - 1, n, "one-sample", reach)


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Adjust the p values of a family of tests by Holm's step-down method.

    Whoever rejects those below a level rejects any true hypothesis with at most that probability, however the
    tests depend on each other. Source: S. Holm, A simple sequentially rejective multiple test procedure,
    Scandinavian Journal of Statistics 6 (1979).

    Args:
        p: in [0, 1]; None for what was not tested, which is no part of the family.

    Returns:
        The adjusted p values, in [0, 1], in the order of ``p``; None stays None.
    """
    tested = sorted((value, index) for index, value in enumerate(p) if value is not None)
    adjusted: list[float | None] = [None] * len(p)
    largest = 0.0
    for rank, (value, index) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - rank) * value))
        adjusted[index] = largest
    return adjusted


def groups(values: Mapping[str, Mapping[Hashable, float]], level: float = 1 - ALPHA) -> dict[str, str]:
    """Compact letter display: rows that share a letter do not differ significantly.

    Every pair is compared as ``difference`` does, Holm-adjusted over all pairs. Source of the letters: H.-P.
    Piepho, An algorithm for a letter-based representation of all-pairwise comparisons, Journal of
    Computational and Graphical Statistics 13 (2004).

    Args:
        values: label -> what a run started from -> figure. A row with fewer than ``MIN_SEEDS`` figures is
            told apart from none; one without any is not compared.
        level: 1 minus the probability that any two equal rows are told apart, in (0, 1).

    Returns:
        Label -> letters, such as "ab"; the row with the highest mean has "a", a row without values "".
    """
    order = _ordered(values)
    pairs = list(itertools.combinations(order, 2))
    adjusted = holm([_p(values[a], values[b]) for a, b in pairs])
    alike = {frozenset(order)}
    for pair, p in zip(pairs, adjusted, strict=True):
        if p is not None and p < 1 - level:
            alike = _split(alike, *pair)
    letters = dict.fromkeys(values, "")
    for number, members in enumerate(sorted(alike, key=lambda group: sorted(map(order.index, group)))):
        for label in members:
            letters[label] += _letter(number)
    return letters


def winner(values: Mapping[str, Mapping[Hashable, float]]) -> str | None:
    """The row with the highest mean, if it differs from each other one.

    It is compared with every other row as ``difference`` does. All comparisons must be significant, so none
    needs an adjustment (R. L. Berger, Multiparameter hypothesis testing and acceptance sampling,
    Technometrics 24 (1982)); and the tests are two-sided, so that the row was chosen by its mean needs none
    either (K. Hung and W. Fithian, Rank verification for exponential families, Annals of Statistics 47
    (2019)). ``groups`` adjusts for all pairs, so a winner may still share a letter.

    Args:
        values: label -> what a run started from -> figure; rows without any are not compared.

    Returns:
        Its label; None with fewer than ``MIN_SEEDS`` figures in a row, fewer than two rows, or where no row
        stands out.
    """
    best, *others = _ordered(values) or [""]
    p = [_p(values[best], values[other]) for other in others]
    return best if p and max(p) < ALPHA else None


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else math.nan


def _squared_error(values: Sequence[float]) -> float:
    """Square of the standard error of the mean of two or more values; 0 where only rounding parts them."""
    return 0.0 if max(values) - min(values) <= _ROUNDING else variance(values) / len(values)


def _welch(squares: Sequence[float], freedoms: Sequence[int]) -> tuple[float, float]:
    """Standard error of a difference of means, and its degrees of freedom by Welch and Satterthwaite."""
    whole = sum(squares)
    if whole == 0:
        return 0.0, sum(freedoms)
    parts = [square**2 / freedom for square, freedom in zip(squares, freedoms, strict=True)]
    return math.sqrt(whole), whole**2 / sum(parts)


def _ordered(values: Mapping[str, Mapping[Hashable, float]]) -> list[str]:
    """Labels of the rows with values, highest mean first."""
    means = {label: fmean(row.values()) for label, row in values.items() if row}
    return sorted(means, key=lambda label: -means[label])


def _p(a: Mapping[Hashable, float], b: Mapping[Hashable, float]) -> float:
    """P value of the difference; 1 with fewer than ``MIN_SEEDS`` seeds on a side."""
    found = difference(a, b)
    return 1.0 if found.p is None or found.n < MIN_SEEDS else found.p


def _split(alike: set[frozenset[str]], a: str, b: str) -> set[frozenset[str]]:
    """Take ``a`` and ``b`` apart in every group, and drop the groups that then lie within another."""
    apart = {
        part for group in alike for part in ((group - {a}, group - {b}) if {a, b} <= group else (group,))
    }
    return {group for group in apart if not any(group < other for other in apart)}


def _letter(number: int) -> str:
    letter = string.ascii_lowercase[number % 26]
    return letter + "'" * (number // 26)
