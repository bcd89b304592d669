"""Statistics over seeds: against scipy.stats, closed forms, published examples, and by simulation."""

import math
import re

import numpy as np
import pytest
from scipy import stats

from caelab.metrics.statistics import ALPHA, against, difference, groups, holm, interval, winner

A = {0: 21.4, 1: 21.9, 2: 21.1, 3: 21.6}
B = {0: 20.9, 1: 21.5, 2: 20.9, 3: 20.8}


def unlike(array):
    """The same of rows that share no start."""
    return {label: {(label, seed): x for seed, x in row.items()} for label, row in rows(array).items()}


def rows(array):
    """Label -> seed -> figure, for (rows, seeds); labels are the rows' numbers."""
    return {str(label): dict(enumerate(row)) for label, row in enumerate(np.asarray(array).tolist())}


def test_interval_by_hand():
    # 20, 21, 22: standard deviation 1; t(0.975, 2) = sqrt(2) * 0.95 / sqrt(1 - 0.95^2) in closed form
    half = math.sqrt(2) * 0.95 / math.sqrt(1 - 0.95**2) / math.sqrt(3)
    found = interval([20.0, 22.0, 21.0])
    assert (found.mean, found.low, found.high) == pytest.approx((21, 21 - half, 21 + half), rel=1e-12)
    assert found.n == 3


def test_interval_is_that_of_scipy():
    values = list(A.values())
    expected = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    found = interval(values)
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-12)


def test_an_interval_ends_where_the_figure_does():
    low, high = stats.t.interval(0.95, 2, loc=0.5, scale=stats.sem([0.1, 0.5, 0.9]))
    assert low < 0 < 1 < high
    cut = interval([0.1, 0.5, 0.9], (0.0, 1.0))
    assert (cut.mean, cut.low, cut.high) == (0.5, 0, 1)
    one = interval([0.1, 0.5, 0.9], (0.0, math.inf))
    assert (one.low, one.high) == pytest.approx((0, high))
    # two figures in [0, 1] are at most 1 apart, and one is at most 0.7 above 0.3
    far = difference({0: 0.9, 1: 0.2, 2: 1.0}, {3: 0.0, 4: 0.6, 5: 0.0}, (0.0, 1.0))
    assert (far.mean, far.high) == (pytest.approx(0.5), 1)
    gap = against([0.1, 0.5, 0.9], 0.3, (0.0, 1.0))
    assert (gap.low, gap.high) == pytest.approx((-0.3, 0.7))
    assert (gap.plus(0.3).low, gap.plus(0.3).high) == pytest.approx((0, 1))


def test_interval_of_little():
    assert math.isnan(interval([]).mean)
    assert interval([]).n == 0
    alone = interval([21.5])
    assert (alone.mean, alone.low, alone.high, alone.n) == (21.5, None, None, 1)
    same = interval([0.1, 0.1, 0.1])
    assert (same.low, same.high) == pytest.approx((0.1, 0.1))


def test_rows_with_the_same_keys_are_paired():
    expected = stats.ttest_rel(list(A.values()), list(B.values()))
    ends = expected.confidence_interval(0.95)
    found = difference(A, B)
    assert found.mean == pytest.approx((0.5 + 0.4 + 0.2 + 0.8) / 4, rel=1e-12)
    assert (found.low, found.high, found.p) == pytest.approx((ends.low, ends.high, expected.pvalue), rel=1e-9)
    mirrored = difference(B, A)
    assert (mirrored.mean, mirrored.low, mirrored.p) == pytest.approx((-found.mean, -found.high, found.p))


def test_pairs_are_matched_by_key():
    shuffled = {3: B[3], 1: B[1], 0: B[0], 2: B[2]}
    assert difference(A, shuffled) == difference(A, B)
    assert difference(A, B).test == "paired"


@pytest.mark.parametrize("other", [B, {8: 20.0, 9: 20.7}, {5: 20.0, 6: 20.9, 7: 20.0}])
def test_rows_with_other_keys_are_independent_samples(other):
    b = {("another network", key): value for key, value in other.items()}
    expected = stats.ttest_ind(list(A.values()), list(b.values()), equal_var=False)
    ends = expected.confidence_interval(0.95)
    found = difference(A, b)
    assert found.mean == pytest.approx(21.5 - np.mean(list(b.values())), rel=1e-12)
    assert (found.low, found.high, found.p) == pytest.approx((ends.low, ends.high, expected.pvalue), rel=1e-9)
    assert (found.n, found.test) == (min(4, len(b)), "Welch")
    mirrored = difference(b, A)
    assert (mirrored.mean, mirrored.low, mirrored.p) == pytest.approx((-found.mean, -found.high, found.p))
    # against a row that does not scatter it is the test against a constant
    still = difference(A, {5: 21.0, 6: 21.0, 7: 21.0})
    constant = against([*A.values()], 21.0)
    assert (still.low, still.p) == pytest.approx((constant.low, constant.p))
    # a seed that only one of two rows has leaves no pairs to speak of, either
    assert difference(A, {key: A[key] for key in (0, 1, 2)}).test == "Welch"


@pytest.mark.parametrize("limit", [-0.1, 0.0, 0.3])
def test_p_values_of_one_side_are_doubled(limit):
    found = difference(A, B)
    gaps = [A[key] - B[key] - limit for key in A]
    for p, side in ((found.above(limit), "greater"), (found.below(limit), "less")):
        assert p == pytest.approx(min(1, 2 * stats.ttest_1samp(gaps, 0, alternative=side).pvalue), rel=1e-9)
    assert (found.above(found.low - 1e-6) < ALPHA < found.above(found.low + 1e-6)) is True


def test_a_gap_of_fourteen_standard_deviations_decides_over_three_seeds():
    """Among 15 networks, as in a table of 105 pairs; paired, no three seeds could."""
    rng = np.random.default_rng(0)
    steps = np.array([-1.0, 0.0, 1.0])  # standard deviation 1
    figures = [rng.permutation(steps) + 14 * number for number in range(15)]
    own = {
        str(number): {(number, seed): x for seed, x in enumerate(row)} for number, row in enumerate(figures)
    }
    p = 105 * stats.ttest_ind(figures[0], figures[1], equal_var=False).pvalue
    assert p < 0.05 < 105 * stats.ttest_rel(figures[0], figures[1] + [0, 0.4, 0.9]).pvalue
    assert len(set(groups(own).values())) == 15
    assert winner(own) == "14"


def test_differences_with_little():
    one = difference({0: 21.0, 1: 22.0}, {1: 21.5})
    assert (one.mean, one.low, one.high, one.p, one.n) == (0, None, None, None, 1)
    none = difference({0: 21.0}, {})
    assert math.isnan(none.mean)
    assert (none.p, none.n) == (None, 0)
    # one degree of freedom is the Cauchy distribution: p = 1 - 2 atan(t) / pi, here with t = 0.6 / 0.2
    two = difference({0: 21.4, 1: 21.8}, {0: 21.0, 1: 21.0})
    assert two.p == pytest.approx(1 - 2 * math.atan(3) / math.pi, rel=1e-9)


def test_differences_without_scatter():
    # 0.1 has no exact double, so these differences agree only up to rounding
    shifted = difference({0: 20.1, 1: 21.3, 2: 22.7}, {0: 20.0, 1: 21.2, 2: 22.6})
    assert (shifted.low, shifted.high) == pytest.approx((0.1, 0.1))
    assert shifted.p == 0.0
    same = difference(A, A)
    assert (same.mean, same.low, same.high, same.p) == (0, 0, 0, 1.0)
    # two other networks of which neither scatters, but for rounding
    apart = difference({0: 0.3, 1: 0.3, 2: 0.3}, {3: 0.1 + 0.1, 4: 0.2, 5: 0.3 - 0.1})
    assert (apart.low, apart.high) == pytest.approx((0.1, 0.1))
    assert (apart.p, apart.above(0.05), apart.below(0.05)) == (0.0, 0.0, 1.0)
    alike = difference({0: 0.2, 1: 0.2, 2: 0.2}, {3: 0.1 + 0.1, 4: 0.2, 5: 0.3 - 0.1})
    assert (alike.p, alike.above(), alike.below()) == (1.0, 1.0, 1.0)


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
    # what was not tested counts for nothing
    assert holm([None, *p, None]) == [None, *holm(p), None]


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
    # four seeds each, of which only two are shared: no pairs, but two samples
    apart = {"low": {0: 10.0, 1: 10.1, 2: 10.0, 3: 10.0}, "high": {2: 30.0, 3: 30.1, 4: 30.0, 5: 30.1}}
    assert groups(apart) == {"low": "b", "high": "a"}
    assert winner(apart) == "high"
    assert winner(apart | {"few": {0: 1.0, 1: 1.1}}) is None


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


def test_a_winner_of_many_comparisons_needs_no_adjustment():
    # t = 5 with 2 degrees of freedom: p = 1 - 5 / sqrt(2 + 25) = 0.0377, which Holm would double for two rows
    base = np.array([20.0, 20.5, 21.0])
    gap = 0.5 + 0.1 * math.sqrt(3) * np.array([-1.0, 0.0, 1.0])
    assert difference(*rows([base + gap, base]).values()).p == pytest.approx(1 - 5 / math.sqrt(27), rel=1e-9)
    assert winner(rows([base + gap, base])) == "0"
    assert winner(rows([base + gap, base, base])) == "0"
    assert groups(rows([base + gap, base, base])) == {"0": "a", "1": "a", "2": "a"}


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
@pytest.mark.parametrize("alike", [True, False])
def test_false_winners_are_rare(levels, noise, seeds, alike):
    draws = 2000
    rng = np.random.default_rng(1)
    seed_effect = rng.normal(0, 2, (draws, 1, seeds)) if alike else 0
    figures = 20 + np.array(levels)[:, None] + seed_effect
    figures = figures + np.array(noise)[:, None] * rng.normal(size=(draws, len(levels), seeds))
    winners = sum(winner(rows(draw) if alike else unlike(draw)) is not None for draw in figures)
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
    gaps = [difference(*rows(pair).values()) for pair in zip(a, b, strict=True)]
    c = 20 + rng.normal(0, 0.5, (draws, seeds))  # shares nothing with the others
    apart = [difference(*unlike(pair).values()) for pair in zip(a, c, strict=True)]
    assert 0.93 <= np.mean([found.low <= 21 <= found.high for found in means]) <= 0.97
    assert 0.93 <= np.mean([found.low <= 1 <= found.high for found in gaps]) <= 0.97
    assert np.mean([found.low <= 1 <= found.high for found in apart]) >= 0.93
    # the seed effect is common to both: pairing must remove it, not only keep the coverage
    wide, narrow = (np.median([found.high - found.low for found in each]) for each in (means, gaps))
    assert narrow < wide / 2
