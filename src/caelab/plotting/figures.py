"""Pictures of images: originals above rows of reconstructions."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from caelab import durable
from caelab.corruptions import TEST, VAL, Corruption
from caelab.data.scale import unit
from caelab.draws import keys
from caelab.metrics.quality import mse, psnr
from caelab.models.autoencoder import Autoencoder
from caelab.plotting.bands import shown
from caelab.texts import visible

if TYPE_CHECKING:  # it brings Lightning
    from caelab.data.datamodule import ImageDataModule

COLUMNS = 40
"""Images side by side in a picture, at most: a folder may have a thousand classes."""

ALL = "all_bands"
"""Array in a file of pictures: all bands of the originals."""

_SEEDS = {"val": VAL, "test": TEST}  # of the corruption of each split
_LEGIBLE = 64  # pixels that an image is shown on, at least
_UNLABELLED = 10  # images that stand for those of each class
_WIDTH = 20.0  # inches that images share where they are many
_GAP = 0.06  # inches between images
_LINE = 0.13  # inches of a line of a note


as_it_is = matplotlib.rc_context({"text.parse_math": False})  # a name may have dollar signs


def first_rows(data: "ImageDataModule", split: str = "test") -> Tensor:
    """Places of the first image of each class in a split, (N,) int64; without classes, of the first ten."""
    images = data.splits[split]
    if len(data.class_names) < 2:
        return torch.arange(min(_UNLABELLED, len(images)))
    return torch.from_numpy(np.unique(images.targets.numpy(), return_index=True)[1])


def first_of_each_class(
    data: "ImageDataModule", net: Autoencoder, corruption: Corruption, split: str = "test"
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the first image of each class, what the network is given, and what it makes of that.

    Args:
        data: set up.
        net: the network.
        corruption: of what it is given; where the network is.
        split: ``test`` or ``val``.

    Returns:
        Each (N, C, H, W) float32 in [0, 1], on the CPU.
    """
    rows = first_rows(data, split)
    device = net.weight.device
    images = data.splits[split]
    x = unit(images[rows].to(device))
    given = x if images.clean is None else unit(images.given[rows].to(device))
    corrupted = corruption(given, keys(rows, _SEEDS[split]).to(device))
    return x.cpu(), corrupted.cpu(), net.reconstruct(corrupted).cpu()


def sheet(rows: Sequence[Tensor], border: int = 2) -> NDArray[np.uint8]:
    """Lay rows of equally many images (N, C, H, W) in [0, 1] below each other, white between them.

    Returns:
        Pixels (height, width, 3) in [0, 255]; small images are shown larger, each pixel as a square.
    """
    from torchvision.utils import make_grid  # which figures of studies do without

    scale = max(1, _LEGIBLE // rows[0].shape[-2])
    images = torch.cat([row.repeat_interleave(scale, 2).repeat_interleave(scale, 3) for row in rows])
    grid = make_grid(shown(images).clamp(0, 1), len(rows[0]), border, pad_value=1)
    pixels: NDArray[np.uint8] = (255 * grid).round().byte().permute(1, 2, 0).numpy()  # (H, W, 3)
    return pixels


def keep(path: Path, **pictures: Tensor) -> None:
    """Save the bands to show of named images (N, C, H, W) in [0, 1] as uint8 arrays of those names.

    Where these are not all, ``ALL`` has those of the originals.
    """
    kept = {name: shown(x).clamp(0, 1) for name, x in pictures.items()}  # a user's network may leave it
    if kept["originals"].shape != pictures["originals"].shape:
        kept[ALL] = pictures["originals"]
    arrays: dict[str, Any] = {name: (255 * x).round().byte().numpy() for name, x in kept.items()}
    with durable.file(path) as file:
        np.savez_compressed(file, **arrays)


def reconstructions(path: Path, originals: Tensor, rows: dict[str, Tensor]) -> Path:
    """Draw originals (N, C, H, W) over named reconstructions of the same shape, each with its PSNR in dB."""
    captioned = {"original": [(x, "") for x in originals]}
    for name, images in rows.items():
        decibels = psnr(mse(images, originals)).tolist()
        captioned[name] = [(x_hat, f"{one:.1f} dB") for x_hat, one in zip(images, decibels, strict=True)]
    return grid(path, captioned)


def grid(path: Path, rows: Mapping[str, Sequence[tuple[Tensor, str]]]) -> Path:
    """Draw named rows of equally many images (C, H, W) in [0, 1], of any sizes, each with a note below.

    The first ``COLUMNS`` images of each row are drawn; where there are more, the first row's name says so.
    """
    count = len(next(iter(rows.values())))
    columns = min(count, COLUMNS)
    side = min(1.0, _WIDTH / columns)
    figure = Figure(dpi=150)
    axes = figure.add_axes((0, 0, 1, 1), frameon=False)
    names = [_wrapped(name) for name in rows]
    if count > columns:
        names[0] += f"\n(first {columns} of {count:,})"
    texts = [axes.text(0, 0, name, fontsize=9, ha="right", va="center", parse_math=False) for name in names]
    left = max(text.get_window_extent().width for text in texts) / figure.dpi + 0.2
    top = _GAP
    for text, images in zip(texts, rows.values(), strict=True):
        shown = images[:columns]
        height = side * min(1.0, max(image.shape[1] / image.shape[2] for image, _ in shown))
        height = max(height, text.get_window_extent().height / figure.dpi)
        text.set_position((left - 0.1, top + height / 2))
        for column, (image, note) in enumerate(shown):
            _place(axes, image, note, (left + (column + 0.5) * side, top + height / 2), side - _GAP)
        top += height + _GAP + _LINE * max(note.count("\n") + bool(note) for _, note in shown)
    width = left + columns * side
    figure.set_size_inches(width, top)
    axes.set(xlim=(0, width), ylim=(top, 0), aspect="auto")  # in inches
    with durable.file(path) as file:
        figure.savefig(file, format="png")
    return path


def _wrapped(name: str) -> str:
    return "\n".join(textwrap.fill(line, 28) for line in visible(name).split("\n"))


def _place(axes: Axes, image: Tensor, note: str, centre: tuple[float, float], side: float) -> None:
    """Show an image (C, H, W) in [0, 1] within a square of that side, a note below."""
    x, y = centre
    half = torch.tensor(image.shape[1:]) / max(image.shape[1:]) * side / 2
    down, right = half.tolist()
    extent = (x - right, x + right, y + down, y - down)
    axes.imshow(_pixels(image), cmap="gray", vmin=0, vmax=1, extent=extent)
    axes.text(x, y + down + 0.02, visible(note), fontsize=7, ha="center", va="top", parse_math=False)


def tile(axis: Axes, image: Tensor, note: str) -> None:
    """Show an image (C, H, W) in [0, 1] with a note below."""
    axis.imshow(_pixels(image), cmap="gray", vmin=0, vmax=1)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_xlabel(visible(note), fontsize=8, labelpad=1)


def _pixels(image: Tensor) -> NDArray[np.float32]:
    pixels: NDArray[np.float32] = shown(image).permute(1, 2, 0).squeeze(-1).numpy()  # (H, W, C), or (H, W)
    return pixels
