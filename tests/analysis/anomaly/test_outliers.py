"""Scores of images and how well they find anomalies, each computed again by NumPy, SciPy or by hand."""

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial import cKDTree

from caelab.analysis.anomaly import outliers
from caelab.errors import UserError
from caelab.metrics import reliance
from caelab.models.pca import PCA


def gaussian(count, numbers=6, seed=0, offset=0.0):
    return torch.randn(count, numbers, generator=torch.Generator().manual_seed(seed)) + offset


def noisy(normal=60, anomalous=40, digits=1):
    """Scores with ties, and which of them are anomalous."""
    dice = np.random.default_rng(3)
    anomalies = dice.permutation(np.arange(normal + anomalous) >= normal)
    return np.round(dice.normal(size=normal + anomalous) + anomalies, digits), anomalies


def share_of_pairs(scores, anomalous):
    """Area under the ROC curve by Mann and Whitney's statistic."""
    above = stats.mannwhitneyu(scores[anomalous], scores[~anomalous]).statistic
    return above / (anomalous.sum() * (~anomalous).sum())


def average_precision(scores, anomalous):
    """The definition, threshold by threshold."""
    total, before = 0.0, 0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        found = scores >= threshold
        true = int((found & anomalous).sum())
        total += (true - before) * true / found.sum()
        before = true
    return total / anomalous.sum()


def test_a_known_ordering():
    found = outliers.detection(np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, False, True]))
    assert found.auroc.value == 3 / 4  # of the four pairs only (2, 3) is the wrong way round
    assert found.ap.value == pytest.approx((1 / 1 + 2 / 3) / 2)


def test_areas_are_those_of_their_definitions():
    scores, anomalous = noisy()
    found = outliers.detection(scores, anomalous)
    assert found.auroc.value == pytest.approx(share_of_pairs(scores, anomalous))
    assert found.ap.value == pytest.approx(average_precision(scores, anomalous))


def test_a_resample_is_measured_as_if_its_images_were_repeated():
    scores, anomalous = noisy()
    dice = np.random.default_rng(5)
    normal, other = (dice.integers(0, 4, (3, count)) for count in (60, 40))
    found = outliers._areas(scores, anomalous, normal, other)
    for place in range(3):
        times = np.zeros(100, int)
        times[~anomalous], times[anomalous] = normal[place], other[place]
        repeated = scores.repeat(times), anomalous.repeat(times)
        assert found[0, place] == pytest.approx(share_of_pairs(*repeated))
        assert found[1, place] == pytest.approx(average_precision(*repeated))


def test_the_interval_is_about_that_of_delong():
    scores, anomalous = noisy(400, 300, digits=9)
    normal, other = scores[~anomalous], scores[anomalous]
    above = (other[:, None] > normal).astype(float)
    deviation = np.sqrt(above.mean(1).var(ddof=1) / 300 + above.mean(0).var(ddof=1) / 400)
    found = outliers.detection(scores, anomalous).auroc
    assert found.high - found.low == pytest.approx(2 * 1.96 * deviation, rel=0.1)
    assert found.low < found.value < found.high
    assert outliers.detection(scores, anomalous).auroc == found


def test_perfect_and_constant_scores():
    anomalous = np.arange(30) >= 20
    perfect = outliers.detection(np.arange(30.0), anomalous)
    assert [*perfect.auroc, *perfect.ap] == pytest.approx([1.0] * 6)
    same = outliers.detection(np.ones(30), anomalous)
    assert same.auroc == (0.5, 0.5, 0.5)
    assert same.ap.value == pytest.approx(1 / 3)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_distances_to_the_nearest_training_points(monkeypatch, offset):
    for module in (reliance, outliers):
        monkeypatch.setattr(module, "EVALUATION_BATCH", 7)
    train, test = gaussian(50, seed=1, offset=offset), gaussian(23, seed=2, offset=offset)
    found = outliers.neighbour_distances(train, test)
    expected = cKDTree(train.numpy()).query(test.numpy(), k=5)[0].mean(1)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_mahalanobis_distances_are_those_of_ledoit_and_wolf():
    train, test = gaussian(30, seed=1) * torch.arange(1, 7), gaussian(11, seed=2)
    x, (n, p) = train.double().numpy() - train.double().numpy().mean(0), train.shape
    covariance = x.T @ x / n
    target = np.trace(covariance) / p * np.eye(p)
    spread = np.mean([np.square(np.outer(row, row) - covariance).sum() for row in x]) / n
    shrinkage = min(1.0, spread / np.square(covariance - target).sum())
    assert 0 < shrinkage < 1
    inverse = np.linalg.inv((1 - shrinkage) * covariance + shrinkage * target)
    z = test.double().numpy() - train.double().numpy().mean(0)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", z, inverse, z))
    np.testing.assert_allclose(outliers.mahalanobis_distances(train, test), expected)


def test_a_number_that_never_varies_leaves_distances_finite():
    train, test = gaussian(40, seed=1), gaussian(10, seed=2)
    train[:, 2] = test[:, 2] = 0.5
    found = outliers.mahalanobis_distances(train, test)
    assert np.isfinite(found).all()
    assert found.std() > 0


def test_a_planted_outlier_is_the_farthest():
    train, test = gaussian(200, seed=1), gaussian(50, seed=2)
    test[17] += 4.0
    for found in (outliers.neighbour_distances(train, test), outliers.mahalanobis_distances(train, test)):
        assert found.argmax() == 17
        assert found[17] > 1.5 * np.delete(found, 17).max()


def test_scores_of_a_network(monkeypatch):
    for module in (reliance, outliers):
        monkeypatch.setattr(module, "EVALUATION_BATCH", 4)
    images = torch.randint(0, 256, (21, 1, 6, 6), generator=torch.Generator().manual_seed(0)).byte()
    net = PCA((1, 6, 6), 5)
    net.initialise(images)
    x = images.numpy().reshape(21, 36) / 255
    mean = x.mean(0)
    axes = np.linalg.svd(x - mean, full_matrices=False)[2][:5]
    z = (x - mean) @ axes.T
    expected = np.square(np.clip(z @ axes + mean, 0, 1) - x).mean(1)
    np.testing.assert_allclose(outliers.errors(net, images), expected, rtol=1e-4)
    np.testing.assert_allclose(outliers.codes(net, images).abs(), np.abs(z), atol=1e-5)  # axes have no sign
    np.testing.assert_allclose(outliers.pixels(images), x, atol=1e-7)


def test_codes_that_differ_by_rounding_only_are_constant():
    one = gaussian(1, seed=4).expand(30, 6)
    assert outliers.constant(one + 1e-7 * gaussian(30))
    assert outliers.constant(torch.zeros(30, 6))
    assert outliers.constant(torch.zeros(30, 0))
    assert not outliers.constant(one + 1e-3 * gaussian(30))


def test_fewer_training_points_than_neighbours_are_named():
    line = "the training set has 4 images, fewer than the 5 neighbours that a score needs; train on 5 or more"
    with pytest.raises(UserError, match=line):
        outliers.neighbour_distances(gaussian(4), gaussian(9))
