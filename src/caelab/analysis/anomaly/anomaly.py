"""Scores by which images of classes that a model was not trained on differ from the others."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from rich.console import RenderableType
from rich.table import Table
from sklearn.metrics import roc_curve
from torch import Tensor

from caelab import terminal
from caelab.analysis.anomaly import outliers
from caelab.analysis.anomaly.outliers import Floats
from caelab.analysis.anomaly.picture import detections
from caelab.analysis.runner import LONGEST, Subject
from caelab.data.datamodule import Split
from caelab.data.prefetch import require_fit
from caelab.data.scale import unit
from caelab.errors import UserError
from caelab.inference.restore import datamodule
from caelab.metrics.reliance import Watch
from caelab.models.autoencoder import Autoencoder
from caelab.models.pca import PCA
from caelab.runs import results
from caelab.runs.analyses import Result
from caelab.runs.record import Complete

_LABELS = {
    "error": "reconstruction error (MSE)",
    "neighbours": "distance to 5 training codes",
    "mahalanobis": "Mahalanobis distance of the code",
    "pca_error": "PCA, reconstruction error (MSE)",
    "pca_neighbours": "PCA, distance to 5 training codes",
    "pca_mahalanobis": "PCA, Mahalanobis distance",
    "pixels_neighbours": "pixels, distance to 5 training images",
}
_FLOORS = ("pca_", "pixels_")  # how the names of scores begin that need no trained network
_SHOWN = 6  # images at each end of the picture


class Joined:
    """Images of one split, and behind them some of another's.

    Args:
        first: all of them are taken.
        second: of another split of the same shape.
        rows: of it that are taken, (n,) int64.
    """

    def __init__(self, first: Split, second: Split, rows: Tensor) -> None:
        self._first, self._second, self._rows = first, second, rows

    def __len__(self) -> int:
        return len(self._first) + len(self._rows)

    def __getitem__(self, rows: slice) -> Tensor:
        """Images (n, C, H, W), as their splits give them."""
        places, own = torch.arange(len(self))[rows], len(self._first)
        others = self._rows[places[places >= own] - own]
        return torch.cat([self._first[places[places < own]], self._second[others]])


@dataclass(frozen=True, eq=False)
class Parts:
    """The images of a run, and those of the classes that it was not trained on.

    Attributes:
        train: what it was trained on.
        test: N images, its own test images, and after them those of all other classes.
        labels: (N,) int64, the class of each.
        anomalous: (N,) bool, which are of other classes.
        class_names: name of each class of the dataset.
    """

    train: Split
    test: Joined
    labels: Tensor
    anomalous: Tensor
    class_names: tuple[str, ...]


def measure(subject: Subject) -> Result:
    """Measure how well a network tells images of classes that it was not trained on.

    Returns:
        ``figures``; ``intervals``, the 95 % interval of each; ``images``, how many of each kind; ``latent``.

    Raises:
        UserError: a run trained on all classes, or on fewer images than neighbours.
    """
    parts = _opened(subject)
    outliers.require_neighbours(len(parts.train))
    net = subject.network
    scores = _scores(net, parts, "network")
    if not subject.record.floor:  # which is its own floor
        scores |= {f"pca_{name}": values for name, values in _pca(parts, net.latent).items()}
    try:
        scores["pixels_neighbours"] = _in_pixels(parts)
    except UserError as error:
        terminal.note(f"{error}; left out")
    result = _measured(scores, parts) | {"latent": net.latent}
    _draw(subject.picture, parts, scores, result["figures"])
    return result


def _opened(subject: Subject) -> Parts:
    """Open the images of a run; one that can have no anomalies is refused before data are fetched for it."""
    own, record = subject.unread, subject.record
    names = own.class_names  # of a folder of images they are known once it was read
    parts = None if names and own.classes is None else _parts(_of_the_data(record))
    if parts is None or not parts.anomalous.any():
        raise UserError(f"{subject.run}: {_no_others(record, parts.class_names if parts else names)}")
    return parts


@dataclass(frozen=True)
class _Images:
    """What a record says of its data, the same for all models and seeds; the record is any of theirs."""

    key: str
    record: Complete = field(compare=False)


def _of_the_data(record: Complete) -> _Images:
    same = [record.config["dataset"], asdict(record.data), record.places]
    return _Images(json.dumps(same, sort_keys=True), record)


@lru_cache(maxsize=2)  # the runs of a study share them, and so their floors
def _parts(images: _Images) -> Parts:
    own, whole = datamodule(images.record), datamodule(images.record, classes=None)
    for data in (own, whole):
        data.prepare_data()
        data.setup("test")
    normal, every = own.splits["test"], whole.splits["test"]
    known = range(len(own.class_names)) if own.classes is None else own.classes
    others = (~torch.isin(every.targets, torch.tensor(list(known)))).nonzero().flatten()
    return Parts(
        own.splits["train"],
        Joined(normal, every, others),
        torch.cat([normal.targets, every.targets[others]]),
        torch.arange(len(normal) + len(others)) >= len(normal),
        tuple(whole.class_names),
    )


def _no_others(record: Complete, class_names: tuple[str, ...]) -> str:
    dataset = record.choices["dataset"]
    if len(class_names) == 1:
        return f"dataset={dataset} has only one class ({class_names[0]}); anomalies need another"
    half = ",".join(map(str, range(len(class_names) // 2)))
    return (
        "trained on all classes, so no image is an anomaly; train a run on some of them: "
        f"caelab train dataset={dataset} 'dataset.classes=[{half}]'"
    )


def _watch(what: str) -> Watch:
    return partial(terminal.tracked, description=what)


def _scores(net: Autoencoder, parts: Parts, who: str) -> dict[str, Floats]:
    """Each score of the test images, (N,), by what a network makes of them; larger is more anomalous."""
    scores = {"error": outliers.errors(net, parts.test, _watch(f"{who}: reconstructions"))}
    train = outliers.codes(net, parts.train, _watch(f"{who}: training codes"))
    if outliers.constant(train):
        terminal.note(
            f"{who}: all training images have the same code, so there are no distances between codes"
        )
        return scores
    test = outliers.codes(net, parts.test, _watch(f"{who}: test codes"))
    scores["neighbours"] = outliers.neighbour_distances(train, test, _watch(f"{who}: neighbours"))
    if net.latent > LONGEST:
        terminal.note(
            f"{who}: its latent has {net.latent:,} numbers; Mahalanobis distances, which take at most "
            f"{LONGEST:,}, are left out"
        )
        return scores
    scores["mahalanobis"] = outliers.mahalanobis_distances(train, test)
    return scores


@lru_cache(maxsize=4)
def _pca(parts: Parts, numbers: int) -> dict[str, Floats]:
    """Score the test images by PCA with as many numbers; by nothing where PCA cannot have so many."""
    shape = parts.train.images.shape[1:]
    most = min(len(parts.train), shape.numel())
    if numbers > most:
        terminal.note(
            f"no PCA: {len(parts.train):,} training images are too few for {numbers:,} principal components"
        )
        return {}
    net = PCA(shape, numbers)
    with terminal.waiting() as progress:
        progress.add_task(f"PCA of {numbers:,} numbers", total=None)
        net.initialise(parts.train)
    return _scores(net, parts, "PCA")


@lru_cache(maxsize=2)
def _in_pixels(parts: Parts) -> Floats:
    numbers = parts.train.images[0].numel()
    # both in float32, and twice as much of the training images at a time
    require_fit("pixels: distances between them", 4 * numbers * (3 * len(parts.train) + len(parts.test)))
    train, test = (outliers.pixels(images) for images in (parts.train, parts.test))
    return outliers.neighbour_distances(train, test, _watch("pixels: neighbours"))


def _measured(scores: Mapping[str, Floats], parts: Parts) -> dict[str, Any]:
    anomalous = parts.anomalous.numpy()
    figures, intervals = {}, {}
    for name, values in scores.items():
        for kind, area in outliers.detection(values, anomalous)._asdict().items():
            figures[f"anomaly/{kind}_{name}"] = area.value
            intervals[f"anomaly/{kind}_{name}"] = [area.low, area.high]
    other = int(anomalous.sum())
    images = {"train": len(parts.train), "normal": len(anomalous) - other, "anomalous": other}
    return {"figures": figures, "intervals": intervals, "images": images}


def _draw(picture: Path, parts: Parts, scores: Mapping[str, Floats], found: Mapping[str, float]) -> None:
    """Draw the ROC curve of each score, and the images at both ends of each kind."""
    anomalous = parts.anomalous.numpy()
    curves: dict[bool, dict[str, Any]] = {False: {}, True: {}}
    for name, values in scores.items():
        label = f"{_LABELS[name]} ({found[f'anomaly/auroc_{name}']:.3f})"
        curves[name.startswith(_FLOORS)][label] = roc_curve(anomalous, values)[:2]
    blocks = {}
    for name in ("error", "neighbours"):
        if name in scores:
            blocks[f"by {_LABELS[name]}"] = {
                f"{kind},\n{end}": _end(parts, scores[name], anomalous == flag, step)
                for kind, flag in (("trained classes", False), ("other classes", True))
                for end, step in (("most normal", 1), ("most anomalous", -1))
            }
    detections(picture, curves[False], curves[True], blocks)


def _end(parts: Parts, values: Floats, of_kind: Any, step: int) -> list[tuple[Tensor, str]]:
    """Images (C, H, W) in [0, 1] of a kind at one end of a score, the utmost first, with class and score."""
    rows = of_kind.nonzero()[0]
    rows = rows[values[rows].argsort(kind="stable")][::step][:_SHOWN]
    return [
        (unit(parts.test[n : n + 1][0]), f"{parts.class_names[parts.labels[n]]}\n{values[n]:.3g}")
        for n in rows.tolist()
    ]


def verdict(result: Mapping[str, Any]) -> str:
    """Say in a line which score finds the anomalies best, and whether the network is needed for it."""
    aurocs = {key.removeprefix("anomaly/auroc_"): value for key, value in result["figures"].items()}
    aurocs = {name: value for name, value in aurocs.items() if name in _LABELS}
    floors = {name: value for name, value in aurocs.items() if name.startswith(_FLOORS)}
    own = aurocs.keys() - floors.keys()
    best = max(sorted(own), key=aurocs.__getitem__)
    if not floors:  # of PCA itself, where pixels were too many
        return f"AUROC {aurocs[best]:.3f} by {_LABELS[best]}"
    floor = max(floors, key=floors.__getitem__)
    mark = ", no better" if aurocs[best] <= floors[floor] else ""
    return (
        f"AUROC {aurocs[best]:.3f} by {_LABELS[best]}{mark}; without the network "
        f"{floors[floor]:.3f} by {_LABELS[floor]}"
    )


def table(result: Mapping[str, Any]) -> Table:
    """Return how well each score finds the anomalies as a table: a line for each score."""
    images, figures, intervals = (result[key] for key in ("images", "figures", "intervals"))
    title = f"{images['normal']:,} test images of trained classes, {images['anomalous']:,} of other classes"
    shown = terminal.table(title, "score", "AUROC", "average precision")
    for name, label in _LABELS.items():
        keys = [f"anomaly/{kind}_{name}" for kind in ("auroc", "ap")]
        if keys[0] in figures:
            ends = [intervals[key] for key in keys]
            cells = [f"{figures[key]:.3f} [{a:.3f}, {b:.3f}]" for key, (a, b) in zip(keys, ends, strict=True)]
            shown.add_row(label.replace("PCA", f"PCA of {result['latent']:,} numbers"), *cells)
    share = images["anomalous"] / (images["normal"] + images["anomalous"])
    shown.add_row("guessing", "0.500", f"{share:.3f}")
    return shown


def show(run: Path, result: Result) -> Iterator[RenderableType]:
    """Say which score finds the anomalies best, and how well each does."""
    yield f"{terminal.shown(run)}: {verdict(result)}"
    yield table(result)
    reliance = results.figures(run, results.finished(run)).get("test/latent_reliance", 1.0)
    if round(reliance, 2) == 0:
        yield "  latent reliance 0.00: distances of codes measure a vector that the decoder does not use"
