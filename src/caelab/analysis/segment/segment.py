"""A linear probe of the class of each pixel, on what the last stages of a decoder put out."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from matplotlib.colors import to_rgb
from rich.console import RenderableType
from rich.table import Table
from torch import Tensor

from caelab import terminal
from caelab.analysis.runner import Subject
from caelab.analysis.segment.pixels import (
    DEFINITIONS,
    Maps,
    Pixels,
    Probe,
    by_pixel,
    confusion,
    decoded,
    fit,
    images_as_maps,
    reconstructed,
    scores,
)
from caelab.data.scale import unit
from caelab.errors import UserError
from caelab.inference.trained import as_started
from caelab.models.pca import PCA
from caelab.plotting import figures
from caelab.plotting.style import COLOURS
from caelab.runs.analyses import Result

_SCORES = {"iou": "mean IoU", "foreground": "IoU of the shape", "accuracy": "right pixels"}


def measure(subject: Subject) -> Result:
    """Probe the decoder features of a network for the class of each pixel.

    Returns:
        ``figures``; ``features``, with scores, confusion matrix and numbers per pixel of each kind;
        ``classes``; ``images``; ``definitions``.

    Raises:
        UserError: data that have no masks, or features that do not vary.
    """
    pixels = _pixels(subject)
    names = ("background", *subject.data.class_names)
    probes: dict[str, tuple[Probe, Maps]] = {}
    features = {}
    for kind, maps in _maps(subject, pixels["train"]).items():
        with terminal.waiting() as progress:
            progress.add_task(f"segmenting by {kind}", total=None)
            probes[kind] = _fitted(subject.run, kind, maps, pixels["train"]), maps
            features[kind] = _scored(*probes[kind], pixels["test"], len(names))
    _draw(subject, pixels["test"], probes)
    return {
        "figures": {
            f"segment/{kind}/{key}": one["scores"][key] for kind, one in features.items() for key in _SCORES
        },
        "features": features,
        "classes": list(names),
        "images": {name: len(one.images) for name, one in pixels.items()},
        "definitions": DEFINITIONS,
    }


def _pixels(subject: Subject) -> dict[str, Pixels]:
    """Images of both splits, and the class of each of their pixels."""
    if (classes := getattr(subject.unread, "pixel_classes", None)) is None:
        name = subject.unread.name
        raise UserError(f"{subject.run}: dataset={name} has no known masks; dataset=shapes has")
    splits = {name: split for name, split in subject.data.splits.items() if name != "val"}
    return {name: Pixels(split, classes(name, split.index)) for name, split in splits.items()}


def _maps(subject: Subject, train: Pixels) -> dict[str, Maps]:
    """Kind of features -> what brings them."""
    net = subject.network
    kinds = {"decoder": decoded(net), "reconstruction": reconstructed(net)}
    if any(parameter.requires_grad for parameter in net.parameters()):
        kinds["untrained"] = decoded(as_started(subject.run, subject.record))
    floor = PCA(net.shape, min(net.latent, train.images.images[0].numel()))
    floor.initialise(train.images)
    return kinds | {"pca": reconstructed(floor), "pixels": images_as_maps}


def _fitted(run: Path, kind: str, maps: Maps, train: Pixels) -> Probe:
    try:
        return fit(maps, train)
    except ValueError as error:
        raise UserError(f"{run}: {kind}: {error}") from None


def _scored(probe: Probe, maps: Maps, test: Pixels, classes: int) -> dict[str, Any]:
    counts = confusion(probe, maps, test, classes)
    return {"numbers": len(probe.mean), "scores": scores(counts), "confusion": counts.tolist()}


def _draw(subject: Subject, test: Pixels, probes: Mapping[str, tuple[Probe, Maps]]) -> None:
    """Draw the first test image of each class, its mask, and what each probe takes for it."""
    chosen = figures.first_rows(subject.data)
    images, masks = test.images[chosen], test.classes[chosen].long()
    rows = {"original": list(unit(images)), "mask": list(_coloured(masks))}
    for kind, (probe, maps) in probes.items():
        rows[kind] = list(_coloured(probe.predict(by_pixel(maps(images))).reshape(masks.shape)))
    figures.grid(subject.picture, {name: [(one, "") for one in row] for name, row in rows.items()})


def _coloured(classes: Tensor) -> Tensor:
    """Turn classes (N, H, W) from 0 into pictures (N, 3, H, W): the background is black."""
    palette = torch.tensor([(0.0, 0.0, 0.0), *map(to_rgb, COLOURS)])
    return palette[classes % len(palette)].movedim(-1, 1)


def table(result: Result) -> Table:
    """Return the scores of each kind of features as a table."""
    images = result["images"]
    shown = terminal.table(
        f"{len(result['classes'])} classes of pixels (%), {images['train']:,} training and "
        f"{images['test']:,} test images",
        *("features", "numbers", *_SCORES.values()),
    )
    for kind, one in result["features"].items():
        cells = (f"{100 * one['scores'][key]:.1f}" for key in _SCORES)
        shown.add_row(kind, f"{one['numbers']:,}", *cells)
    return shown


def show(run: Path, result: Result) -> Iterator[RenderableType]:
    """Show the scores of each kind of features."""
    yield f"{terminal.shown(run)}:"
    yield table(result)
