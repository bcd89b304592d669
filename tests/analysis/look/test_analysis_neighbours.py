"""Neighbours that were put there are found."""

import numpy as np
import pytest

from caelab.analysis.look import neighbours


def test_a_planted_neighbour_is_found():
    points = np.random.default_rng(0).normal(size=(40, 6))
    points[31] = points[7] + 0.001
    rows, distances = neighbours.nearest(points, np.array([7, 31]), 3)
    assert rows.shape == (2, 3)
    assert rows[:, 0].tolist() == [31, 7]
    assert distances[:, 0] == pytest.approx(0.001 * np.sqrt(6))


def test_neighbours_are_those_of_the_full_table_of_distances():
    points = np.random.default_rng(1).normal(size=(30, 4))
    rows, distances = neighbours.nearest(points, np.arange(30), 5)
    table = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(table, np.inf)
    np.testing.assert_array_equal(rows, table.argsort(1)[:, :5])
    np.testing.assert_allclose(distances, np.sort(table, 1)[:, :5])


@pytest.mark.parametrize("twins", [2, 6])
def test_a_point_is_never_its_own_neighbour_among_twins(twins):
    points = np.arange(12.0)[:, None]
    points[:twins] = 0
    rows, _ = neighbours.nearest(points, np.arange(12), 3)
    assert (rows != np.arange(12)[:, None]).all()
    assert all(len(set(row)) == 3 for row in rows.tolist())


def test_agreement_of_separate_and_of_mixed_classes():
    line = np.arange(20.0)[:, None]
    halves, alternating = np.arange(20) // 10, np.arange(20) % 2
    far = line + 1000 * halves[:, None]
    assert neighbours.agreement(far, halves, 4) == 1
    # two nearest on a line: the two sides, of the other class; at the ends the second is of the own class
    assert neighbours.agreement(line, alternating, 2) == pytest.approx(2 / 40)
