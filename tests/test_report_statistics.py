"""Statistics over seeds: against scipy.stats, closed forms, published examples, and by simulation."""

import math
import re

import numpy as np
import pytest
from scipy import stats

from caelab.report.statistics import against, groups, holm, interval, paired, winner

A = {0: 21.4, 1: 21.9, 2: 21.1, 3: 21.6}
B = {0: 20.9, 1: 21.5, 2: 20.9, 3: 20.8}


def rows(array):
    """Label -> seed -> figure, for (rows, seeds); labels are the rows' numbers."""
    return {str(label): dict(enumerate(row)) for label, row in enumerate(np.asarray(array).tolist())}


def test_interval_by_hand():
    # 20, 21, 22: standard deviation 1; t(0.975, 2) = sqrt(2) * 0.95 / sqrt(1 - 0.95^2) in closed form
    half = math.sqrt(2) * 0.95 / math.sqrt(1 - 0.95**2) / math.sqrt(3)
    found = interval([20.0, 22.0, 21.0])
    assert (found.mean, found.low, found.high) == pytest.approx((21, 21 - half, 21 + half), rel=1e-12)
    assert found.n == 3


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_interval_at_other_levels(level):
    values = list(A.values())
    expected = stats.t.interval(level, 3, loc=np.mean(values), scale=stats.sem(values))
    found = interval(values, level)
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-12)


def test_interval_of_little():
    assert math.isnan(interval([]).mean)
    assert interval([]).n == 0
    alone = interval([21.5])
    assert (alone.mean, alone.low, alone.high, alone.n) == (21.5, None, None, 1)
    same = interval([0.1, 0.1, 0.1])
    assert (same.low, same.high) == pytest.approx((0.1, 0.1))


def test_paired_is_the_paired_t_test():
    expected = stats.ttest_rel(list(A.values()), list(B.values()))
    ends = expected.confidence_interval(0.95)
    found = paired(A, B)
    assert found.mean == pytest.approx((0.5 + 0.4 + 0.2 + 0.8) / 4, rel=1e-12)
    assert (found.low, found.high, found.p) == pytest.approx((ends.low, ends.high, expected.pvalue), rel=1e-9)
    mirrored = paired(B, A)
    assert (mirrored.mean, mirrored.low, mirrored.p) == pytest.approx((-found.mean, -found.high, found.p))


def test_pairs_are_matched_by_seed():
    shuffled = {7: 0.0, 3: B[3], 0: B[0], 2: B[2]}
    found = paired(A, shuffled)
    expected = stats.ttest_1samp([0.5, 0.2, 0.8], 0.0)
    assert (found.mean, found.p, found.n) == pytest.approx((0.5, expected.pvalue, 3), rel=1e-9)


def test_paired_with_little():
    one = paired({0: 21.0, 1: 22.0}, {1: 21.5, 2: 20.0})
    assert (one.mean, one.low, one.high, one.p, one.n) == (0.5, None, None, None, 1)
    none = paired({0: 21.0}, {1: 21.0})
    assert math.isnan(none.mean)
    assert (none.p, none.n) == (None, 0)
    # one degree of freedom is the Cauchy distribution: p = 1 - 2 atan(t) / pi, here with t = 0.6 / 0.2
    two = paired({0: 21.4, 1: 21.8}, {0: 21.0, 1: 21.0})
    assert two.p == pytest.approx(1 - 2 * math.atan(3) / math.pi, rel=1e-9)


def test_differences_without_scatter():
    # 0.1 has no exact double, so these differences agree only up to rounding
    shifted = paired({0: 20.1, 1: 21.3, 2: 22.7}, {0: 20.0, 1: 21.2, 2: 22.6})
    assert (shifted.low, shifted.high) == pytest.approx((0.1, 0.1))
    assert shifted.p == 0.0
    same = paired(A, A)
    assert (same.mean, same.low, same.high, same.p) == (0, 0, 0, 1.0)


def test_against_a_constant():
    expected = stats.ttest_1samp(list(A.values()), 21.0)
    ends = expected.confidence_interval(0.95)
    found = against(list(A.values()), 21.0)
    assert (found.mean, found.n) == pytest.approx((0.5, 4), rel=1e-12)
    assert (found.low, found.high, found.p) == pytest.approx(
        (ends.low - 21, ends.high - 21, expected.pvalue), rel=1e-9
    )
    assert against([22.0], 21.0).p is None


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        # the example of Wikipedia's "Holm-Bonferroni method"
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        # the example in the documentation of pingouin
        ([0.5, 0.003, 0.32, 0.054, 0.0003], [0.64, 0.012, 0.64, 0.162, 0.0015]),
        ([0.9, 0.8], [1.0, 1.0]),
        ([0.02, 0.02, 0.5], [0.06, 0.06, 0.5]),
        ([0.3], [0.3]),
        ([], []),
    ],
)
def test_holm(p, adjusted):
    assert holm(p) == pytest.approx(adjusted, rel=1e-12)


NOISE = np.array([[0.01, -0.02, 0.0, 0.01], [-0.01, 0.0, 0.02, 0.0], [0.02, 0.01, -0.01, 0.0]])


def test_groups_of_rows_far_apart_and_alike():
    # the second and third differ by less than their noise; 5 dB above and below them is beyond all doubt
    array = np.array([[20.0], [25.0], [25.0], [30.0]]) + np.vstack([NOISE, NOISE[:1]])
    assert groups(rows(array)) == {"0": "c", "1": "b", "2": "b", "3": "a"}


def test_groups_overlap():
    # means 20.9, 20.5, 20.1; adjusted p of the outer pair is 0.009, of both inner pairs above 0.05
    steps = np.array([[0.10, -0.10, 0.06, -0.06], [0.15, 0.25, -0.20, -0.20], [0.0, 0.0, 0.0, 0.0]])
    array = np.array([[20.9], [20.5], [20.1]]) + steps
    p = [stats.ttest_rel(array[a], array[b]).pvalue for a, b in ((0, 1), (0, 2), (1, 2))]
    assert 3 * p[1] < 0.05 < 2 * min(p[0], p[2])
    assert groups(rows(array)) == {"0": "a", "1": "ab", "2": "b"}
    assert groups(rows(array), level=1 - 1e-6) == {"0": "a", "1": "a", "2": "a"}


@pytest.mark.parametrize("count", [1, 5, 30])
def test_groups_are_right_for_every_pair(count):
    """Two rows share a letter exactly where the Holm-adjusted test does not tell them apart."""
    rng = np.random.default_rng(count)
    values = rows(20 + rng.normal(0, 3, (count, 1)) + rng.normal(0, 0.1, (count, 4)))
    letters = {label: set(re.findall("[a-z]'*", text)) for label, text in groups(values).items()}
    pairs = [(a, b) for a in values for b in values if a < b]
    p = [stats.ttest_rel(list(values[a].values()), list(values[b].values())).pvalue for a, b in pairs]
    for (a, b), adjusted in zip(pairs, stepwise(p), strict=True):
        assert bool(letters[a] & letters[b]) == (adjusted >= 0.05)
    assert "a" in letters[max(values, key=lambda label: np.mean(list(values[label].values())))]


def stepwise(p):
    """Holm's adjustment after its definition: the largest (m - j + 1) p_(j) over j up to the rank."""
    ordered = sorted(p)
    products = [min(1, (len(p) - j) * value) for j, value in enumerate(ordered)]
    return [max(products[: ordered.index(value) + 1]) for value in p]


def test_more_groups_than_letters():
    array = 10.0 * np.arange(28)[:, None] + 0.001 * np.random.default_rng(0).normal(size=(28, 8))
    letters = groups(rows(array))
    assert [letters[str(label)] for label in (27, 26, 2, 1, 0)] == ["a", "b", "z", "a'", "b'"]


def test_too_few_seeds_tell_nothing_apart():
    far = {"low": {0: 10.0, 1: 10.1}, "high": {0: 30.0, 1: 30.1}}
    assert groups(far) == {"low": "a", "high": "a"}
    assert winner(far) is None
    # four seeds each, of which only two are shared
    apart = {"low": {0: 10.0, 1: 10.1, 2: 10.0, 3: 10.0}, "high": {2: 30.0, 3: 30.1, 4: 30.0, 5: 30.1}}
    assert groups(apart) == {"low": "a", "high": "a"}
    assert winner(apart) is None


def test_rows_without_values_are_not_compared():
    values = rows([[20.0, 20.1, 20.0], [25.0, 25.0, 25.1]]) | {"failed": {}}
    assert groups(values) == {"0": "b", "1": "a", "failed": ""}
    assert winner(values) == "1"
    assert groups({}) == {}
    assert winner({"alone": A}) is None


def test_winner_must_beat_every_row():
    clear = np.array([[20.0], [25.0], [30.0]]) + NOISE
    assert winner(rows(clear)) == "2"
    assert winner(rows(-clear)) == "0"
    tied = np.array([[20.0], [30.0], [30.0]]) + NOISE
    assert winner(rows(tied)) is None


def test_winner_is_adjusted_for_its_comparisons():
    # t = 5 with 2 degrees of freedom: p = 1 - 5 / sqrt(2 + 25) = 0.0377, and Holm doubles it for two rows
    base = np.array([20.0, 20.5, 21.0])
    gap = 0.5 + 0.1 * math.sqrt(3) * np.array([-1.0, 0.0, 1.0])
    assert paired(*rows([base + gap, base]).values()).p == pytest.approx(1 - 5 / math.sqrt(27), rel=1e-9)
    assert winner(rows([base + gap, base])) == "0"
    assert winner(rows([base + gap, base, base])) is None


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(
    ("levels", "noise"),
    [
        ([0, 0], [1, 1]),
        ([0, 0, 0, 0], [1, 1, 1, 1]),
        ([0, 0, 0, 0], [3, 1, 0.1, 0.1]),
        ([0, 0, -100, -100], [1, 1, 1, 1]),  # the hardest case: two rows tied for the first place
    ],
)
def test_false_winners_are_rare(levels, noise, seeds):
    draws = 2000
    rng = np.random.default_rng(1)
    seed_effect = rng.normal(0, 2, (draws, 1, seeds))
    figures = 20 + np.array(levels)[:, None] + seed_effect
    figures = figures + np.array(noise)[:, None] * rng.normal(size=(draws, len(levels), seeds))
    winners = sum(winner(rows(draw)) is not None for draw in figures)
    # 5 %, and three standard deviations of a count of that rate
    assert winners <= 0.05 * draws + 3 * math.sqrt(draws * 0.05 * 0.95)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_intervals_cover_the_truth(seeds):
    draws = 4000
    rng = np.random.default_rng(2)
    seed_effect = rng.normal(0, 2, (draws, seeds))
    a = 21 + seed_effect + rng.normal(0, 0.3, (draws, seeds))
    b = 20 + seed_effect + rng.normal(0, 0.5, (draws, seeds))
    means = [interval(x) for x in a.tolist()]
    gaps = [paired(*rows(pair).values()) for pair in zip(a, b, strict=True)]
    assert 0.93 <= np.mean([found.low <= 21 <= found.high for found in means]) <= 0.97
    assert 0.93 <= np.mean([found.low <= 1 <= found.high for found in gaps]) <= 0.97
    # the seed effect is common to both: pairing must remove it, not only keep the coverage
    wide, narrow = (np.median([found.high - found.low for found in each]) for each in (means, gaps))
    assert narrow < wide / 2
