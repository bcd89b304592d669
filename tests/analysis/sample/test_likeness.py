"""Figures of samples, against loops over all pairs, scipy, and closed forms."""

import numpy as np
import pytest
import scipy.linalg
import torch

from caelab.analysis.sample import likeness
from caelab.analysis.sample.likeness import NEIGHBOURS, Reference, frechet, reach


def drawn(n, dim, seed, shift=0.0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return shift + scale * torch.randn(n, dim, generator=generator)


def by_loops(real, made):
    """Precision, recall, density and coverage as the papers define them, pair by pair."""

    def radius(points, i):
        return sorted(np.linalg.norm(points - points[i], axis=1))[NEIGHBOURS]

    real, made = real.double().numpy(), made.double().numpy()
    real_radii = [radius(real, i) for i in range(len(real))]
    made_radii = [radius(made, j) for j in range(len(made))]
    inside = [[np.linalg.norm(y - x) <= r for x, r in zip(real, real_radii, strict=True)] for y in made]
    reached = [any(np.linalg.norm(y - x) <= r for y, r in zip(made, made_radii, strict=True)) for x in real]
    precision = sum(any(row) for row in inside) / len(made)
    density = sum(map(sum, inside)) / (NEIGHBOURS * len(made))
    coverage = sum(any(column) for column in zip(*inside, strict=True)) / len(real)
    return precision, sum(reached) / len(real), density, coverage


@pytest.mark.parametrize(("dim", "shift", "scale"), [(2, 0.7, 0.6), (5, 0.3, 1.4), (1, 0.5, 1.0)])
@pytest.mark.parametrize("chunk", [7, 500])
def test_they_are_those_of_loops_over_all_pairs(monkeypatch, dim, shift, scale, chunk):
    monkeypatch.setattr(likeness, "_CHUNK", chunk)
    real, made = drawn(40, dim, 0), drawn(30, dim, 1, shift, scale)
    found = Reference(real).likeness(made)
    expected = by_loops(real, made)
    assert (found.precision, found.recall, found.density, found.coverage) == pytest.approx(expected)
    assert 0 < found.coverage < 1


def test_of_one_distribution_density_is_1_and_coverage_what_its_paper_expects():
    found = Reference(drawn(2000, 4, 0)).likeness(drawn(2000, 4, 1))
    assert found.density == pytest.approx(1, abs=0.05)
    assert found.coverage == pytest.approx(1 - 0.5**NEIGHBOURS, abs=0.02)  # Naeem et al., section 4


def test_far_away_nothing_is_shared_and_of_itself_everything():
    x = drawn(20, 3, 0)
    assert Reference(x).likeness(x + 100)[1:] == (0, 0, 0, 0)
    found = Reference(x).likeness(x)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    assert found.frechet == pytest.approx(0, abs=1e-9)


def test_images_that_are_all_the_same_reach_nowhere_but_to_each_other():
    x = torch.zeros(10, 3)
    assert reach(x.double()).tolist() == [0] * 10
    assert Reference(x).likeness(x)[1:] == (1, 1, 10 / NEIGHBOURS, 1)


@pytest.mark.parametrize("dim", [1, 3, 8])
def test_the_distance_is_that_of_scipy(dim):
    a = drawn(60, dim, 0).double()
    b = drawn(50, dim, 1, 0.5).double() @ torch.randn(
        dim, dim, dtype=torch.double, generator=torch.manual_seed(2)
    )
    means = a.mean(0).numpy(), b.mean(0).numpy()
    covariances = [np.atleast_2d(np.cov(x.numpy(), rowvar=False)) for x in (a, b)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = np.square(means[0] - means[1]).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet(b, a) == pytest.approx(expected, rel=1e-6)


def exactly(mean, deviation, n=30):
    """A sample with just this mean and these standard deviations, and no correlation."""
    x = torch.randn(n, len(mean), dtype=torch.double, generator=torch.Generator().manual_seed(0))
    axes = torch.linalg.qr(x - x.mean(0)).Q * (n - 1) ** 0.5
    return torch.tensor(mean).double() + axes * torch.tensor(deviation).double()


def test_of_diagonal_distributions_it_is_the_difference_of_means_and_deviations():
    a, b = exactly([0, 1, 2], [1, 2, 3]), exactly([3, 1, 0], [2, 2, 0])
    assert frechet(a, b) == pytest.approx((9 + 0 + 4) + (1 + 0 + 9))


def test_it_takes_fewer_images_than_features():
    a, b = drawn(4, 10, 0).double(), drawn(5, 10, 1, 2.0).double()
    root = scipy.linalg.sqrtm(np.cov(a.numpy(), rowvar=False) + 0j)
    whole = scipy.linalg.svdvals(root @ scipy.linalg.sqrtm(np.cov(b.numpy(), rowvar=False) + 0j)).sum()
    expected = (a.mean(0) - b.mean(0)).square().sum() + a.var(0).sum() + b.var(0).sum() - 2 * whole
    assert frechet(a, b) == pytest.approx(expected.item(), rel=1e-5)
