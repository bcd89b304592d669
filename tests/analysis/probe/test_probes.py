"""Probes against scikit-learn, closed forms and features whose classes are known."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import confusion_matrix
from sklearn.neighbors import KNeighborsClassifier

from caelab.analysis.probe import probes
from caelab.analysis.probe.probes import Labels

CLASSES = 4


def clouds(numbers: int = 12, train: int = 400, distance: float = 1.5, seed: int = 0):
    """One Gaussian cloud a class, far from the origin and with columns of very different width."""
    rng = np.random.default_rng(seed)
    centres = distance * rng.normal(size=(CLASSES, numbers))
    width = np.geomspace(1, 5, numbers)
    features, of = {}, {}
    for name, n in {"train": train, "val": 150, "test": 120}.items():
        y = rng.integers(0, CLASSES, n)
        features[name] = torch.from_numpy(7 + centres[y] + width * rng.normal(size=(n, numbers))).float()
        of[name] = torch.from_numpy(y)
    return features, Labels([f"class {label}" for label in range(CLASSES)], of)


def ridge(x, y, strength):
    return RidgeClassifier(alpha=strength * len(x), solver="svd").fit(x, y)


@pytest.mark.parametrize(("numbers", "train"), [(12, 400), (60, 40)])  # more images than numbers, and fewer
def test_the_linear_probe_is_scikit_learns_ridge_of_the_best_strength(numbers, train):
    features, labels = clouds(numbers, train)
    x = probes.scaled(features)
    plain = {name: rows.double().numpy() for name, rows in x.items()}
    models = {s: ridge(plain["train"], labels.of["train"].numpy(), s) for s in probes.STRENGTHS}
    right = {s: model.score(plain["val"], labels.of["val"].numpy()) for s, model in models.items()}
    best = max(s for s in right if right[s] == max(right.values()))
    predicted, strength = probes.linear(x, labels)
    assert strength == best
    assert np.array_equal(predicted.numpy(), models[best].predict(plain["test"]))
    rows = torch.arange(0, train, 2)
    predicted, strength = probes.linear(x, labels, rows)
    model = ridge(plain["train"][::2], labels.of["train"][::2].numpy(), strength)
    assert np.array_equal(predicted.numpy(), model.predict(plain["test"]))


def test_the_strength_is_chosen_on_validation_never_on_test():
    features, labels = clouds(60, 40)
    x = probes.scaled(features)
    before = probes.linear(x, labels)[1]
    generator = torch.Generator().manual_seed(0)
    shuffled = labels.of["test"][torch.randperm(120, generator=generator)]
    assert probes.linear(x, Labels(labels.names, labels.of | {"test": shuffled}))[1] == before
    noise = torch.randint(0, CLASSES, (150,), generator=generator)
    changed = {
        probes.linear(x, Labels(labels.names, labels.of | {"val": noise.roll(i)}))[1] for i in range(9)
    }
    assert len(changed) > 1


def test_neighbours_are_scikit_learns():
    features, labels = clouds(distance=0.8)
    x = probes.scaled(features)
    model = KNeighborsClassifier(probes.NEIGHBOURS, algorithm="brute")
    model.fit(x["train"].double().numpy(), labels.of["train"].numpy())
    assert np.array_equal(probes.nearest(x, labels).numpy(), model.predict(x["test"].double().numpy()))
    model.fit(x["train"][:50].double().numpy(), labels.of["train"][:50].numpy())
    found = probes.nearest(x, labels, torch.arange(50)).numpy()
    assert np.array_equal(found, model.predict(x["test"].double().numpy()))


def test_the_first_of_equally_common_classes_wins():
    x = torch.arange(20.0)[:, None]
    y = torch.tensor([3, 1] * 10)
    labels = Labels(["a", "b", "c", "d"], {"train": y})
    assert probes.nearest({"train": x, "test": torch.tensor([[9.4]])}, labels).tolist() == [1]


def test_scaling_keeps_the_proportions_of_distances():
    features, _ = clouds()
    x = probes.scaled(features)
    assert x["train"].double().mean(0).abs().max() < 1e-5
    assert float(x["train"].double().var(0, correction=0).mean()) == pytest.approx(1, rel=1e-5)
    before, after = (torch.cdist(one["test"].double(), one["train"].double()) for one in (features, x))
    ratio = before / after
    assert float(ratio.max() / ratio.min()) == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("factor", [1e-4, 1.0, 1e4])
def test_a_larger_unit_of_all_features_changes_nothing(factor):
    features, labels = clouds()
    found = probes.probe({name: factor * x for name, x in features.items()}, labels)
    assert found.scores == probes.probe(features, labels).scores


@pytest.mark.parametrize("value", [0.0, 3.1, math.nan, math.inf])
def test_features_that_do_not_vary_are_refused(value):
    features, labels = clouds()
    with pytest.raises(ValueError, match="the same for every training image, or not finite"):
        probes.probe({name: torch.full_like(x, value) for name, x in features.items()}, labels)


def test_a_code_without_numbers_is_refused():
    features, labels = clouds()
    with pytest.raises(ValueError, match="the same for every training image"):
        probes.probe({name: x[:, :0] for name, x in features.items()}, labels)


def test_clouds_far_apart_are_told_and_classes_of_chance_are_not():
    features, labels = clouds(train=4000, distance=40)
    found = probes.probe(features, labels)
    assert {score.accuracy for score in found.scores.values()} == {1.0}
    assert set(found.scores) == {
        f"{kind}{end}" for kind in ("linear", "knn") for end in ("", "_10pct", "_1pct")
    }
    assert [found.scores[f"knn{end}"].images for end in ("", "_10pct", "_1pct")] == [4000, 400, 40]
    assert found.numbers == 12
    counts = np.bincount(labels.of["test"].numpy())
    assert np.array_equal(found.confusion, np.diag(counts))
    chance, _ = clouds(train=4000, distance=0)
    for score in probes.probe(chance, labels).scores.values():
        assert score.accuracy == pytest.approx(0.25, abs=0.13)


def test_intervals_are_wilsons_and_students():
    features, labels = clouds(train=1000, distance=0.8)
    found = probes.probe(features, labels)
    for name in ("linear", "knn"):
        score, n, z = found.scores[name], 120, 1.959964
        middle = (score.accuracy + z**2 / (2 * n)) / (1 + z**2 / n)
        reach = z / (1 + z**2 / n) * math.sqrt(score.accuracy * (1 - score.accuracy) / n + z**2 / (4 * n * n))
        assert (score.low, score.high) == pytest.approx((middle - reach, middle + reach), rel=1e-5)
    x, truth = probes.scaled(features), labels.of["test"]
    rows = probes.subsets(labels.of["train"], 0.1, CLASSES)
    values = [float((probes.nearest(x, labels, one) == truth).float().mean()) for one in rows]
    reach = 2.776445 * np.std(values, ddof=1) / math.sqrt(5)  # t of 4 degrees of freedom
    score = found.scores["knn_10pct"]
    assert score.accuracy == pytest.approx(np.mean(values))
    assert (score.low, score.high) == pytest.approx((np.mean(values) - reach, np.mean(values) + reach))


def test_subsets_are_balanced_fixed_and_nested():
    y = torch.tensor([0] * 700 + [1] * 290 + [2] * 10)
    large, small = (probes.subsets(y, fraction, 3) for fraction in (0.1, 0.01))
    assert [torch.bincount(y[rows]).tolist() for rows in large] == [[33, 33, 10]] * probes.DRAWS
    assert [torch.bincount(y[rows]).tolist() for rows in probes.subsets(y, 0.02, 3)] == [
        [7, 7, 7]
    ] * probes.DRAWS
    assert not small  # 3 of each are fewer than 10
    assert len({tuple(rows.tolist()) for rows in large}) == probes.DRAWS
    for few, many in zip(probes.subsets(y, 0.02, 3), large, strict=True):
        assert len(few.unique()) == len(few)
        assert set(few.tolist()) <= set(many.tolist())
    assert all(map(torch.equal, large, probes.subsets(y, 0.1, 3)))


def test_a_subset_counts_the_images_that_rare_classes_have():
    y = torch.tensor([0] * 95 + [1] * 5)
    assert [len(rows) for rows in probes.subsets(y, 0.1, 2)] == [10] * probes.DRAWS
    assert probes.subsets(y[:-1], 0.1, 2) == []  # 5 and 4
    assert probes.subsets(y, 0.5, 3) == []  # none of the third


def test_too_few_images_for_few_labels_leave_those_figures_out():
    features, labels = clouds(train=120)
    assert set(probes.probe(features, labels).scores) == {"linear", "knn", "linear_10pct", "knn_10pct"}
    features, labels = clouds(train=9)
    with pytest.raises(ValueError, match="9 training images are fewer than the 10 neighbours"):
        probes.probe(features, labels)


def test_confusion_counts_true_classes_in_rows():
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 5, (2, 300))
    found = probes.confusion(torch.from_numpy(predicted), torch.from_numpy(truth), 5)
    assert np.array_equal(found, confusion_matrix(truth, predicted, labels=range(5)))
