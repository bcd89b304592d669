"""Which images are unlike the training images? Scores of each image, and how well they find such images."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from caelab.data.datamodule import EVALUATION_BATCH
from caelab.data.scale import unit
from caelab.errors import UserError
from caelab.metrics.quality import mse
from caelab.metrics.reliance import Watch, starts
from caelab.models.autoencoder import Autoencoder, Images
from caelab.models.contract import encoded, evaluating

NEIGHBOURS = 5
"""Training images that count as near to an image."""

RESAMPLES = 1_000
"""Of the images, for an interval."""

_SEED = 20_240  # of the resamples: the same images for every score, so that intervals do not differ by chance
_AT_ONCE = 50  # resamples that are in memory together
_SAME = 1e-5  # part of the largest number of all codes; batches of other sizes round otherwise by far less

Floats = NDArray[np.float64]


class Area(NamedTuple):
    """An area under a curve, in [0, 1], with its 95 % interval over the images."""

    value: float
    low: float
    high: float


class Detection(NamedTuple):
    """How well a score finds the anomalous images.

    Attributes:
        auroc: chance that an anomalous image scores above a normal one, ties counting half; 0.5 is guessing.
        ap: average precision; guessing has the share of the anomalous images.
    """

    auroc: Area
    ap: Area


def codes(net: Autoencoder, images: Images, watch: Watch = iter) -> Tensor:
    """Encode images (N, C, H, W) of a split; return their latents (N, latent), float32 on the CPU.

    Raises:
        UserError: a network that does not keep the ``Code`` contract.
    """
    with evaluating(net):
        return torch.cat([encoded(net, batch).z.float().cpu() for batch in _batches(images, watch)])


def errors(net: Autoencoder, images: Images, watch: Watch = iter) -> Floats:
    """Mean squared error of each reconstruction of images (N, C, H, W) of a split: (N,), pixels in [0, 1]."""
    found = [mse(net.reconstruct(batch), unit(batch)) for batch in _batches(images, watch)]
    return torch.cat(found).numpy()


def pixels(images: Images) -> Tensor:
    """Images (N, C, H, W) of a split as points (N, C*H*W), float32 in [0, 1]."""
    return torch.cat([unit(batch.flatten(1)) for batch in _batches(images, iter)])


def constant(train: Tensor) -> bool:
    """Whether all codes (N, D) are the same but for rounding, so that distances between them say nothing."""
    if not train.numel():
        return True
    return bool((train - train.mean(0)).abs().max() <= _SAME * train.abs().max())


def neighbour_distances(train: Tensor, test: Tensor, watch: Watch = iter) -> Floats:
    """Mean Euclidean distance of each point to its ``NEIGHBOURS`` nearest training points.

    Args:
        train: (M, D) float32.
        test: (N, D) float32.
        watch: of the one pass over the points.

    Returns:
        (N,), 0 or more.

    Raises:
        UserError: fewer training points than neighbours.
    """
    require_neighbours(len(train))
    centre = train.mean(0)  # without it the differences of large squares would lose digits
    train = train - centre
    squares = train.square().sum(1)  # (M,)
    found = []
    for start in watch(starts(test)):
        batch = test[start : start + EVALUATION_BATCH] - centre
        beyond = torch.addmm(squares, batch, train.T, alpha=-2)  # (n, M): distance^2 - |batch|^2
        nearest = beyond.topk(NEIGHBOURS, largest=False).values + batch.square().sum(1, keepdim=True)
        found.append(nearest.clamp(min=0).sqrt().double().mean(1))
    return torch.cat(found).numpy()


def require_neighbours(train: int) -> None:
    """Refuse fewer training images than neighbours.

    Raises:
        UserError: there are fewer.
    """
    if train < NEIGHBOURS:
        raise UserError(
            f"the training set has {train} images, fewer than the {NEIGHBOURS} neighbours that a score "
            f"needs; train on {NEIGHBOURS} or more"
        )


def mahalanobis_distances(train: Tensor, test: Tensor) -> Floats:
    """Mahalanobis distance of each point (N, D) to the training points (M, D): (N,), 0 or more.

    Their covariance is Ledoit and Wolf's ("A well-conditioned estimator for large-dimensional covariance
    matrices", 2004), shrunk towards a multiple of the identity: a number that never varies in training does
    not divide by zero.
    """
    fitted = LedoitWolf().fit(train.double().numpy())
    squared: Floats = fitted.mahalanobis(test.double().numpy())
    distances: Floats = np.sqrt(squared.clip(min=0))
    return distances


def detection(scores: Floats, anomalous: NDArray[np.bool_]) -> Detection:
    """Measure how well scores find the anomalous images.

    Args:
        scores: (N,), larger is more anomalous.
        anomalous: (N,), which images are; some of each kind.

    Returns:
        Areas by scikit-learn; their intervals are the percentiles of a bootstrap that draws the normal and
        the anomalous images separately, as many as there are, the same ones at every call.
    """
    drawn = np.concatenate([_areas(scores, anomalous, *counts) for counts in _resamples(anomalous)], axis=1)
    (auroc_low, ap_low), (auroc_high, ap_high) = np.percentile(drawn, [2.5, 97.5], axis=1)
    auroc, ap = roc_auc_score(anomalous, scores), average_precision_score(anomalous, scores)
    return Detection(
        Area(float(auroc), float(auroc_low), float(auroc_high)),
        Area(float(ap), float(ap_low), float(ap_high)),
    )


def _batches(images: Images, watch: Watch) -> Iterator[Tensor]:
    for start in watch(starts(images)):
        yield images[start : start + EVALUATION_BATCH]


def _resamples(anomalous: NDArray[np.bool_]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """How often each normal image (B, normal) and each anomalous one (B, anomalous) was drawn, in parts."""
    generator = np.random.default_rng(_SEED)
    kinds = [int((~anomalous).sum()), int(anomalous.sum())]
    for _ in range(0, RESAMPLES, _AT_ONCE):
        normal, other = (_drawn(generator, count) for count in kinds)
        yield normal, other


def _drawn(generator: np.random.Generator, count: int) -> NDArray[Any]:
    draws = generator.integers(count, size=(_AT_ONCE, count)) + count * np.arange(_AT_ONCE)[:, None]
    return np.bincount(draws.ravel(), minlength=_AT_ONCE * count).reshape(_AT_ONCE, count)


def _areas(scores: Floats, anomalous: NDArray[np.bool_], normal: NDArray[Any], other: NDArray[Any]) -> Floats:
    """AUROC and average precision (2, B) of B weightings of the images: all at once, where a loop is slow.

    Args:
        scores: (N,).
        anomalous: (N,).
        normal: (B, normal images), the weight of each.
        other: (B, anomalous images).
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=np.nan))  # equal scores share a threshold
    weights = np.zeros((2, len(normal), len(scores)))
    weights[0][:, ~anomalous], weights[1][:, anomalous] = normal, other
    false, true = weights[:, :, order].cumsum(2)[:, :, ends]  # (B, thresholds) each
    gained, risen = (np.diff(passed, axis=1, prepend=0) for passed in (true, false))
    auroc = (risen * (true - gained / 2)).sum(1) / (false[:, -1] * true[:, -1])
    precision = true / np.maximum(true + false, 1)  # nothing is gained where both are 0
    return np.stack([auroc, (gained * precision).sum(1) / true[:, -1]])
