"""Do a trained model's decoder features tell what each pixel is of? ``python -m caelab.segment RUN...``."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from caelab import after, results, screen
from caelab.errors import UserError
from caelab.results import Record

if TYPE_CHECKING:  # they bring torch
    from torch import Tensor

    from caelab.analysis.segmentation import Maps, Pixels, Probe
    from caelab.data.datamodule import ImageDataModule
    from caelab.models.autoencoder import Autoencoder

_USAGE = """caelab-segment RUN [RUN ...]

Asks how well the class of each pixel, such as background or ellipse, can be told from what the last stages
of the decoder of each finished run in directory RUN put out, by a linear probe; beside its reconstruction,
the network as it was before training, principal components, and the pixels. Takes data whose masks are known:
shapes. Writes RUN/segment.json and RUN/segment.png.

  caelab-segment multirun/runs/shapes/improved-mse-adam-s0-0123456789
  caelab-segment multirun/runs/shapes/*
"""

NAME = "segment"

_SCORES = {"iou": "mean IoU", "foreground": "IoU of the shape", "accuracy": "right pixels"}


def segment(run: Path) -> dict[str, Any]:
    """Probe the decoder features of a finished run's best checkpoint for the class of each pixel.

    Args:
        run: the run's directory.

    Returns:
        ``figures``, by key as in ``docs/metrics.md``; ``features``, with scores, confusion matrix and
        numbers per pixel of each kind; ``classes``; ``images``; ``definitions``; ``seconds``. Also
        written to ``segment.json`` of the run's directory, beside ``segment.png``.

    Raises:
        UserError: no finished run, no checkpoint, data that cannot be had or have no masks, or features that
            do not vary.
    """
    record = results.finished(run)
    from caelab.analysis import segmentation
    from caelab.restore import datamodule, load

    began = time.perf_counter()
    net, data = load(run), datamodule(record)
    if not hasattr(data, "pixel_classes"):
        raise UserError(f"{run}: the masks of dataset={data.name} are not known; those of shapes are")
    data.prepare_data()
    data.setup("test")
    names = ("background", *data.class_names)
    pixels = {
        name: segmentation.Pixels(split, data.pixel_classes(name, split.index))
        for name, split in data.splits.items()
        if name != "val"
    }
    probes: dict[str, tuple[Probe, Maps]] = {}
    found = {}
    for kind, maps in _maps(run, net, record, pixels["train"]).items():
        with screen.waiting() as progress:
            progress.add_task(f"segmenting by {kind}", total=None)
            probes[kind] = _fitted(run, kind, maps, pixels["train"]), maps
            found[kind] = _scored(*probes[kind], pixels["test"], len(names))
    _draw(run, data, pixels["test"], probes)
    analysis = {
        "figures": {
            f"{NAME}/{kind}/{key}": one["scores"][key] for kind, one in found.items() for key in _SCORES
        },
        "features": found,
        "classes": list(names),
        "images": {name: len(one.images) for name, one in pixels.items()},
        "definitions": segmentation.DEFINITIONS,
        "seconds": time.perf_counter() - began,
    }
    results.write_analysis(run, NAME, record, analysis)
    return analysis


def _maps(run: Path, net: "Autoencoder", record: Record, train: "Pixels") -> "dict[str, Maps]":
    """Kind of features -> what brings them."""
    from caelab.analysis.segmentation import decoded, images_as_maps, reconstructed
    from caelab.models.pca import PCA
    from caelab.trained import as_started

    kinds = {"decoder": decoded(net), "reconstruction": reconstructed(net)}
    if any(parameter.requires_grad for parameter in net.parameters()):
        kinds["untrained"] = decoded(as_started(run, record))
    floor = PCA(net.shape, min(net.latent, train.images.images[0].numel()))
    floor.initialise(train.images)
    return kinds | {"pca": reconstructed(floor), "pixels": images_as_maps}


def _fitted(run: Path, kind: str, maps: "Maps", train: "Pixels") -> "Probe":
    from caelab.analysis.segmentation import fit

    try:
        return fit(maps, train)
    except ValueError as error:
        raise UserError(f"{run}: {kind}: {error}") from None


def _scored(probe: "Probe", maps: "Maps", test: "Pixels", classes: int) -> dict[str, Any]:
    from caelab.analysis.segmentation import confusion, scores

    counts = confusion(probe, maps, test, classes)
    return {"numbers": len(probe.mean), "scores": scores(counts), "confusion": counts.tolist()}


def _draw(
    run: Path, data: "ImageDataModule", test: "Pixels", probes: "Mapping[str, tuple[Probe, Maps]]"
) -> None:
    """Draw the first test image of each class, its mask, and what each probe takes for it."""
    from caelab import figures
    from caelab.analysis.segmentation import by_pixel

    chosen = figures.first_rows(data)
    images, masks = test.images[chosen], test.classes[chosen].long()
    rows = {"original": list(images.float() / 255), "mask": list(_coloured(masks))}
    for kind, (probe, maps) in probes.items():
        rows[kind] = list(_coloured(probe.predict(by_pixel(maps(images))).reshape(masks.shape)))
    figures.grid(run / f"{NAME}.png", {name: [(one, "") for one in row] for name, row in rows.items()})


def _coloured(classes: "Tensor") -> "Tensor":
    """Turn classes (N, H, W) from 0 into pictures (N, 3, H, W): the background is black."""
    import torch
    from matplotlib.colors import to_rgb

    from caelab.report.style import COLOURS

    palette = torch.tensor([(0.0, 0.0, 0.0), *map(to_rgb, COLOURS)])
    return palette[classes % len(palette)].movedim(-1, 1)


def table(found: dict[str, Any]) -> Table:
    """Return the scores of each kind of features as a table."""
    images = found["images"]
    shown = Table(
        title=f"{len(found['classes'])} classes of pixels (%), {images['train']:,} training and "
        f"{images['test']:,} test images",
        title_justify="left",
    )
    for column in ("features", "numbers", *_SCORES.values()):
        shown.add_column(column, justify="left" if column == "features" else "right")
    for kind, one in found["features"].items():
        cells = (f"{100 * one['scores'][key]:.1f}" for key in _SCORES)
        shown.add_row(kind, f"{one['numbers']:,}", *cells)
    return shown


def _show(run: Path, found: dict[str, Any]) -> None:
    screen.say(f"{screen.shown(run)}:")
    screen.console.print(table(found))


def main() -> None:
    """Entry point: exit status 0 when every run was measured."""
    after.command_line(NAME, _USAGE, segment, _show)


if __name__ == "__main__":
    main()
