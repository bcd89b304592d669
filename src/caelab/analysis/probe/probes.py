"""How well a class can be read from features: linear and nearest-neighbour probes, at many and few labels."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from caelab.analysis.probe.features import Features
from caelab.data.datamodule import permutation
from caelab.metrics.statistics import interval

NEIGHBOURS = 10
STRENGTHS = tuple(10.0**power for power in range(-4, 2))
"""Of the ridge, per training image, for features of mean variance 1."""

FRACTIONS = {"_10pct": 0.1, "_1pct": 0.01}
"""Ending of a figure's name -> part of the training images whose labels are used."""

DRAWS = 5
"""Subsets that a figure at few labels is averaged over."""

SEED = 2_718_284  # of the subsets; the same for every run and every kind of feature
_ROWS = 500  # whose distances to all training images, or centred copies, are in memory at a time
_ROUNDING = 1e-5  # of float32: features that vary by no more, relative to their size, are constant

DEFINITIONS = {
    "scaling": "centred by the training mean, divided by one number for all columns; not whitened",
    "linear": "ridge on targets of -1 and 1; strength chosen on all validation labels, also at few labels",
    "strengths": STRENGTHS,
    "knn": "commonest class of the nearest training images, Euclidean",
    "neighbours": NEIGHBOURS,
    "few labels": "balanced subsets of the training images; mean over draws",
    "draws": DRAWS,
    "seed": SEED,
    "intervals": "95 %: Wilson over test images; at few labels Student's t over draws",
}
"""What the figures are, as it is written beside them."""


@dataclass(frozen=True)
class Labels:
    """Classes of the images of each split, counted 0 .. K-1.

    Attributes:
        names: of the K classes.
        of: split -> (N,) int64.
    """

    names: Sequence[str]
    of: Mapping[str, Tensor]


@dataclass(frozen=True)
class Score:
    """Test accuracy of a probe.

    Attributes:
        accuracy: in [0, 1]; a mean over ``DRAWS`` subsets where few labels are used.
        low: lower end of its 95 % interval: Wilson's over the test images, or Student's over the subsets.
        high: upper end.
        images: training images with labels.
        strength: of the linear probe at all labels; else None.
    """

    accuracy: float
    low: float
    high: float
    images: int
    strength: float | None = None


@dataclass(frozen=True)
class Findings:
    """What probes find in one kind of feature.

    Attributes:
        numbers: features per image.
        scores: ``linear``, ``knn`` and, with an ending of ``FRACTIONS``, those at few labels.
        confusion: of the linear probe at all labels: test images of each class (rows) taken for each.
        seconds: that it took.
    """

    numbers: int
    scores: Mapping[str, Score]
    confusion: list[list[int]]
    seconds: float


def scaled(features: Features) -> Features:
    """Features centred and divided by one number, both from the training images.

    The number makes the mean variance 1. It is the same for all columns, so distances keep their proportions:
    nothing is whitened.

    Raises:
        ValueError: all training images have the same features, or some are not finite.
    """
    mean = features["train"].mean(0, dtype=torch.float32)
    found = {name: x - mean for name, x in features.items()}
    spread = math.sqrt(_squares(found["train"]).double().mean() / max(1, len(mean)))
    if not _ROUNDING * float(mean.norm()) / math.sqrt(max(1, len(mean))) < spread < math.inf:
        raise ValueError("the same for every training image, or not finite, so there is nothing to read")
    return {name: x.div_(spread) for name, x in found.items()}


def _squares(x: Tensor) -> Tensor:
    """Squared length of each row, (N,), without another array of the size of ``x``."""
    lengths: Tensor = torch.linalg.vector_norm(x, dim=1)
    return lengths.square()


def linear(features: Features, labels: Labels, rows: Tensor | None = None) -> tuple[Tensor, float]:
    """Ridge regression on targets of -1 and 1, one for each class; the largest answer is the prediction.

    ``W = argmin |Y - XW|^2 + n a |W|^2``, with X (n, D) and Y (n, K) centred, in closed form; of the
    ``STRENGTHS`` a the one with the best validation accuracy, the larger of two equals.

    Args:
        features: scaled.
        labels: see there.
        rows: of the training images that are used; None is all.

    Returns:
        Predicted classes of the test images, (N,) int64, and the strength.
    """
    x, y = features["train"], labels.of["train"]
    x, y = (x, y) if rows is None else (x[rows], y[rows])
    targets = 2 * F.one_hot(y, len(labels.names)).double() - 1
    mean, middle = x.mean(0), targets.mean(0)
    weights = _ridges(x, mean, targets - middle)
    offsets = (middle - torch.tensordot(mean.double(), weights, 1)).float()
    weights = weights.float()
    predicted = (torch.tensordot(features["val"], weights, 1) + offsets).argmax(2)  # (N, strengths)
    best = max((_accuracy(of_one, labels.of["val"]), place) for place, of_one in enumerate(predicted.T))[1]
    return (features["test"] @ weights[:, best] + offsets[best]).argmax(1), STRENGTHS[best]


def _ridges(x: Tensor, mean: Tensor, y: Tensor) -> Tensor:
    """The weights (D, strengths, K) float64, from the smaller Gram matrix of ``x - mean``."""
    n, numbers = x.shape
    wide = numbers > n
    if wide:
        x = (x - mean).double()
        gram, answer = x @ x.T, y
    else:
        gram, answer = (torch.zeros(numbers, size, dtype=torch.float64) for size in (numbers, y.shape[1]))
        for part, targets in zip(torch.split(x, _ROWS), torch.split(y.float(), _ROWS), strict=True):
            part = part - mean
            gram += part.T @ part  # float32 within a part, which takes half the time; float64 over all
            answer += part.T @ targets
    one = torch.eye(len(gram), dtype=torch.float64)
    factors = (torch.linalg.cholesky(gram + strength * n * one) for strength in STRENGTHS)
    solved = torch.cat([torch.cholesky_solve(answer, factor) for factor in factors], 1)
    weights: Tensor = x.T @ solved if wide else solved
    return weights.reshape(numbers, len(STRENGTHS), -1)


def nearest(features: Features, labels: Labels, rows: Tensor | None = None) -> Tensor:
    """The commonest class of the ``NEIGHBOURS`` nearest training images, in Euclidean distance.

    Of classes that are as common the first wins, as in scikit-learn.

    Args:
        features: scaled.
        labels: see there.
        rows: of the training images that are used; None is all.

    Returns:
        Predicted classes of the test images, (N,) int64.
    """
    x, y = features["train"], labels.of["train"]
    x, y = (x, y) if rows is None else (x[rows], y[rows])
    squares = _squares(x)
    predicted = []
    for part in torch.split(features["test"], _ROWS):
        # |a - b|^2 without |a|^2, which is the same for all b: (rows, N)
        distances = torch.addmm(squares, part, x.T, alpha=-2)
        near = distances.topk(NEIGHBOURS, largest=False, sorted=False).indices
        predicted.append(F.one_hot(y[near], len(labels.names)).sum(1).argmax(1))
    return torch.cat(predicted)


def subsets(y: Tensor, fraction: float, classes: int) -> list[Tensor]:
    """``DRAWS`` balanced subsets of that part of the training images, as rows.

    Each has the same number of images of every class (all of a class that has fewer), the first in a fixed
    order, so that a small subset is part of a larger one.

    Args:
        y: classes of the training images, (N,) int64.
        fraction: of the images, in (0, 1).
        classes: how many there are.

    Returns:
        None at all where a subset would have fewer images than there are neighbours, or none of a class.
    """
    each = int(fraction * len(y) / classes + 0.5)
    sizes = y.bincount(minlength=classes).clamp(max=each)
    if not sizes.all() or int(sizes.sum()) < NEIGHBOURS:
        return []
    orders = [permutation(len(y), SEED, draw) for draw in range(DRAWS)]
    return [
        torch.cat([order[y[order] == label][:each] for label in range(classes)]).sort().values
        for order in orders
    ]


def probe(features: Features, labels: Labels) -> Findings:
    """Put every probe to one kind of feature.

    Args:
        features: split -> (N, D) float32 or uint8, not scaled yet.
        labels: of two classes or more.

    Raises:
        ValueError: features that do not vary; fewer training images than ``NEIGHBOURS``.
    """
    began = time.perf_counter()
    if len(labels.of["train"]) < NEIGHBOURS:
        raise ValueError(
            f"{len(labels.of['train'])} training images are fewer than the {NEIGHBOURS} neighbours"
        )
    x, truth = scaled(features), labels.of["test"]
    n = len(x["train"])
    predicted, strength = linear(x, labels)
    scores = {
        "linear": _over_images(predicted, truth, n, strength),
        "knn": _over_images(nearest(x, labels), truth, n),
    }
    for ending, fraction in FRACTIONS.items():
        if chosen := subsets(labels.of["train"], fraction, len(labels.names)):
            of_linear = [_accuracy(linear(x, labels, rows)[0], truth) for rows in chosen]
            of_nearest = [_accuracy(nearest(x, labels, rows), truth) for rows in chosen]
            scores[f"linear{ending}"] = _over_subsets(of_linear, len(chosen[0]))
            scores[f"knn{ending}"] = _over_subsets(of_nearest, len(chosen[0]))
    seconds = time.perf_counter() - began
    return Findings(x["train"].shape[1], scores, confusion(predicted, truth, len(labels.names)), seconds)


def confusion(predicted: Tensor, truth: Tensor, classes: int) -> list[list[int]]:
    """Count images of each class (rows) that are taken for each class (columns)."""
    counts = torch.bincount(truth * classes + predicted, minlength=classes**2)
    return counts.reshape(classes, classes).tolist()


def _accuracy(predicted: Tensor, truth: Tensor) -> float:
    return float((predicted == truth).double().mean())


def _over_images(predicted: Tensor, truth: Tensor, images: int, strength: float | None = None) -> Score:
    right = int((predicted == truth).sum())
    found = stats.binomtest(right, len(truth)).proportion_ci(method="wilson")
    return Score(right / len(truth), float(found.low), float(found.high), images, strength)


def _over_subsets(accuracies: Sequence[float], images: int) -> Score:
    found = interval(accuracies, bounds=(0.0, 1.0))
    assert found.low is not None
    assert found.high is not None
    return Score(found.mean, found.low, found.high, images)
