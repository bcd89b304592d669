"""DCI and MIG: closed forms, a code that is its factors, and one that knows nothing of them."""

import math

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from caelab.analysis.probe import factors
from caelab.analysis.probe.factors import completeness, disentanglement, mig, structure
from caelab.data.shapes import NAMES, draw_factors

LEVELS = draw_factors(2_000, range(3), 1, 1)
TRAIN = 1_500


def measured(z, levels=LEVELS, names=NAMES):
    return structure((z[:TRAIN], levels[:TRAIN]), (z[TRAIN:], levels[TRAIN:]), names)


def noise(columns):
    return np.random.default_rng(0).normal(size=(len(LEVELS), columns))


def test_a_code_that_is_its_factors_is_near_1():
    found = measured(3 - 0.5 * (LEVELS + 0.05 * noise(7))[:, ::-1])  # in another order, unit and sign
    assert found.disentanglement > 0.99
    assert found.completeness > 0.99
    assert found.informativeness > 0.99
    assert found.mig > 0.97


def test_numbers_that_tell_nothing_do_not_disturb():
    found = measured(np.hstack([LEVELS + 0.05 * noise(7), noise(9)]))
    assert found.disentanglement > 0.97
    assert found.completeness > 0.97


def test_a_random_code_is_near_0():
    found = measured(noise(10))
    assert found.disentanglement < 0.01
    assert found.completeness < 0.01
    assert found.mig < 0.02
    for name, levels in zip(NAMES, (3, 8, 4, 8, 8, 12, 6), strict=True):
        assert found.levels[name] == pytest.approx(1 / levels, abs=0.1)
    assert found.informativeness == pytest.approx(np.mean(list(found.levels.values())))


def test_a_turned_code_is_informative_but_not_disentangled():
    turn, _ = np.linalg.qr(noise(7)[:7])
    found = measured((LEVELS - LEVELS.mean(0)) / LEVELS.std(0) @ turn)
    assert found.informativeness > 0.45  # chance is 0.16
    assert found.disentanglement < 0.1
    assert found.mig < 0.1


def test_disentanglement_and_completeness_of_importances_by_hand():
    importance = np.array([[3.0, 1.0], [0.0, 4.0], [0.0, 0.0]])
    bits = 0.75 * math.log2(4 / 3) + 0.25 * math.log2(4)  # of the first number; the second has none
    assert disentanglement(importance) == pytest.approx(0.5 * (1 - bits) + 0.5)
    shares = 0.2 * math.log(5, 3) + 0.8 * math.log(1.25, 3)  # of the second factor, to base 3
    assert completeness(importance) == pytest.approx((1 + (1 - shares)) / 2)
    assert disentanglement(np.ones((5, 3))) == pytest.approx(0)
    assert completeness(np.ones((5, 3))) == pytest.approx(0)
    assert completeness(np.ones((1, 3))) == 1


def test_mig_by_hand():
    levels = np.array([[a, b] for a in (0, 1) for b in (0, 1, 2, 3)] * 3)
    code = np.column_stack([levels[:, 0], levels[:, 1], levels[:, 1] // 2]).astype(float)
    # the first factor has one number to itself; of the second, two numbers tell 2 bits and 1 bit of 2
    assert mig(code, levels) == pytest.approx((1 + 0.5) / 2)
    assert mig(code[:, :1], levels) == pytest.approx(0.5)  # of one number only


def test_mig_is_that_of_scikit_learns_mutual_information():
    z = noise(4) + LEVELS[:, [1, 3, 3, 5]]
    bins = [np.histogram_bin_edges(column, factors.BINS)[1:-1] for column in z.T]
    digits = [np.digitize(column, edges) for column, edges in zip(z.T, bins, strict=True)]
    gaps = []
    for factor in LEVELS.T:
        told = sorted(mutual_info_score(column, factor) for column in digits)
        gaps.append((told[-1] - told[-2]) / mutual_info_score(factor, factor))
    assert mig(z, LEVELS) == pytest.approx(np.mean(gaps))


def test_a_constant_number_tells_nothing_and_a_constant_factor_is_left_out():
    z = np.hstack([LEVELS + 0.05 * noise(7), np.ones((len(LEVELS), 1))])
    assert mig(z, LEVELS) == pytest.approx(mig(z[:, :7], LEVELS))
    fixed = LEVELS.copy()
    fixed[:, 2] = 1
    found = measured(LEVELS.astype(float), fixed)
    assert "size" not in found.levels
    assert len(found.levels) == 6
    assert found.mig == pytest.approx(
        mig(LEVELS[:TRAIN].astype(float), LEVELS[:TRAIN][:, [0, 1, 3, 4, 5, 6]])
    )
