"""Whether each known factor of the pictures has a number of the code to itself: DCI and MIG."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from caelab.data.datamodule import permutation

Floats = NDArray[np.floating]
Levels = NDArray[np.int64]

IMAGES = 4_000
"""Training images that the forests and the histograms see, at most."""

BINS = 20
"""Bins of equal width, from least to greatest, into which each number of the code is sorted for MIG."""

TREES = 10
SEED = 2_718_285  # of the images, where there are more, and of the forests; the same for every run
_CANDIDATES = 16  # numbers of a code of which every split of a tree may choose any; of more, a third

DEFINITIONS = {
    "importance": "impurity importance of a random forest for each factor",
    "trees": TREES,
    "factor images": IMAGES,
    "mig bins": BINS,
    "factor seed": SEED,
}
"""What the figures are, as it is written beside them."""


@dataclass(frozen=True)
class Structure:
    """How factors lie in a code, each in [0, 1].

    Attributes:
        disentanglement: 1 where each number tells of one factor only.
        completeness: 1 where each factor is told by one number only.
        informativeness: mean over factors of the test accuracy with which the code tells its level.
        mig: mutual information gap.
        levels: factor -> test accuracy.
        seconds: that it took.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    mig: float
    levels: Mapping[str, float]
    seconds: float


def structure(train: tuple[Floats, Levels], test: tuple[Floats, Levels], names: tuple[str, ...]) -> Structure:
    """Measure DCI and MIG.

    The importances of DCI are those of random forests, one for each factor. A factor that has one level only
    in the training images is left out.

    Args:
        train: codes (N, D) and levels of K factors (N, K); MIG is of these.
        test: the same of other images, for the accuracies.
        names: of the K factors.
    """
    began = time.perf_counter()
    rows = permutation(len(train[0]), SEED)[:IMAGES].numpy()
    z, factors = train[0][rows], train[1][rows]
    varied = [k for k in range(len(names)) if len(np.unique(factors[:, k])) > 1]
    importance, accuracies = np.zeros((z.shape[1], len(varied))), {}
    for column, k in enumerate(varied):
        importance[:, column], accuracies[names[k]] = _forest(z, factors[:, k], test[0], test[1][:, k])
    return Structure(
        disentanglement(importance),
        completeness(importance),
        float(np.mean(list(accuracies.values()))),
        mig(z, factors[:, varied]),
        accuracies,
        time.perf_counter() - began,
    )


def _forest(z: Floats, factor: Levels, z_test: Floats, factor_test: Levels) -> tuple[Floats, float]:
    """Importance of each number of the code (D,) for a factor, and the accuracy on test images."""
    candidates = max(min(_CANDIDATES, z.shape[1]), z.shape[1] // 3)
    forest = RandomForestClassifier(TREES, max_features=candidates, random_state=SEED, n_jobs=-1)
    forest.fit(z, factor)
    return forest.feature_importances_, float(forest.score(z_test, factor_test))


def disentanglement(importance: Floats) -> float:
    """Whether each number of the code tells of one factor.

    ``D = sum_i rho_i (1 - H_K(P_i))``, with ``P_ij = R_ij / sum_k R_ik``, the entropy H to the base K, and
    ``rho_i = sum_j R_ij / sum_ij R_ij``: Eastwood and Williams, "A Framework for the
    Quantitative Evaluation of Disentangled Representations", ICLR 2018.

    Args:
        importance: R, (D, K), not negative: of each number of the code for each factor.
    """
    weights = importance.sum(1) / importance.sum()
    return float(weights @ _certainty(importance))


def completeness(importance: Floats) -> float:
    """Whether each factor is told by one number of the code.

    ``C = mean_j (1 - H_D(P_j))``, with ``P_ij = R_ij / sum_k R_kj`` and the entropy H to the base D, as in
    ``disentanglement``.

    Args:
        importance: R, (D, K), not negative.
    """
    return float(_certainty(importance.T).mean())


def _certainty(rows: Floats) -> Floats:
    """1 minus the entropy of each row, to the base of its length; 1 where a row has one entry only."""
    n, entries = rows.shape
    if entries == 1:
        return np.ones(n)
    sums = rows.sum(1, keepdims=True)
    p = np.divide(rows, sums, out=np.full(rows.shape, 1 / entries), where=sums > 0)
    logarithms = np.log(p, out=np.zeros_like(p), where=p > 0)
    certainty: Floats = 1 + (p * logarithms).sum(1) / np.log(entries)
    return certainty


def mig(z: Floats, factors: Levels) -> float:
    """Mutual information gap.

    ``mean_k (I(z_a; v_k) - I(z_b; v_k)) / H(v_k)``, with a and b the two numbers of the code that tell most
    of factor k: Chen, Li, Grosse and Duvenaud, "Isolating Sources of Disentanglement in VAEs",
    NeurIPS 2018. Theirs has an encoder that answers with a distribution; here each number of the code is
    sorted into ``BINS``, and I and H are those of the counts. With one number, b tells nothing.

    Args:
        z: codes, (N, D).
        factors: levels, (N, K) from 0, at least two of each factor.
    """
    told = np.zeros((max(2, z.shape[1]), factors.shape[1]))
    for i, number in enumerate(z.T):
        edges = np.linspace(number.min(), number.max(), BINS + 1)[1:-1]
        bins = np.digitize(number, edges)
        for k, factor in enumerate(factors.T):
            told[i, k] = _mutual_information(bins, factor)
    second, first = np.sort(told, axis=0)[-2:]
    entropies = [_mutual_information(factor, factor) for factor in factors.T]
    return float(np.mean((first - second) / entropies))


def _mutual_information(a: Levels, b: Levels) -> float:
    """In nats, of two columns of whole numbers from 0."""
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1 / len(a))
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / independent[there])).sum())
