"""Pictures of reconstructions: originals above, one row of reconstructions for each model."""

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from caelab.corruptions import TEST, Corruption, keys
from caelab.data.datamodule import ImageDataModule
from caelab.metrics import ImageQuality
from caelab.models.autoencoder import Autoencoder
from caelab.results import Record
from caelab.tables import labels


def first_rows(data: ImageDataModule) -> Tensor:
    """Places of the first test image of each class, (classes,) int64."""
    targets = data.splits["test"].targets
    return torch.tensor([int((targets == label).nonzero()[0]) for label in sorted(set(targets.tolist()))])


def first_of_each_class(
    data: ImageDataModule, net: Autoencoder, corruption: Corruption
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the first test image of each class, what the network is given, and what it makes of that.

    Each is (N, C, H, W) float32 in [0, 1], on the CPU.
    """
    rows = first_rows(data)
    x = data.splits["test"][rows].float() / 255
    corrupted = corruption(x, keys(rows, TEST))
    return x, corrupted, net.reconstruct(corrupted).cpu()


def keep(path: Path, **pictures: Tensor) -> None:
    """Save named pictures (N, C, H, W) in [0, 1] as uint8 arrays of those names."""
    arrays: dict[str, Any] = {name: (255 * x).round().byte().numpy() for name, x in pictures.items()}
    np.savez_compressed(path, **arrays)


def reconstructions(path: Path, originals: Tensor, rows: dict[str, Tensor]) -> Path:
    """Draw originals (N, C, H, W) over named reconstructions of the same shape, each with its PSNR in dB."""
    columns = len(originals)
    figure = Figure(figsize=(1.0 * columns + 1.6, 1.2 * (len(rows) + 1)), layout="constrained")
    axes = figure.subplots(len(rows) + 1, columns, squeeze=False)
    for row, (name, images) in enumerate({"original": originals, **rows}.items()):
        decibels = _psnr(images, originals) if row else [None] * columns
        for axis, image, decibel in zip(axes[row], images, decibels, strict=True):
            axis.imshow(image.permute(1, 2, 0).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1)
            axis.set_xticks([])
            axis.set_yticks([])
            if decibel is not None:
                axis.set_xlabel(f"{decibel:.1f} dB", fontsize=8, labelpad=1)
        axes[row][0].set_ylabel(name or "reconstruction", fontsize=9, rotation=0, ha="right", va="center")
    figure.savefig(path, dpi=150)
    return path


def _psnr(x_hat: Tensor, x: Tensor) -> list[float]:
    quality = ImageQuality()
    quality.update(x_hat, x)
    return [float(v) for v in quality.per_image()["psnr"]]


def compare_runs(records: dict[Path, Record], output: Path) -> Path:
    """Draw the reconstructions of finished runs on one dataset below each other; return the path."""
    from caelab.restore import corruption, datamodule, load

    rows: dict[str, Tensor] = {}
    for label, (run_dir, record) in zip(labels(list(records.values())), records.items(), strict=True):
        data = datamodule(record)
        data.setup("test")
        originals, _, found = first_of_each_class(data, load(run_dir), corruption(record))
        rows["\n".join(label.values())] = found
    folder = output / "comparisons"
    folder.mkdir(parents=True, exist_ok=True)
    return reconstructions(folder / f"{datetime.now():%Y-%m-%d_%H-%M-%S}.png", originals, rows)
