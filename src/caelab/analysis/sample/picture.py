"""The picture of samples: each set of images as a square of them, side by side."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from caelab.inference.images import to_bytes
from caelab.plotting.bands import shown
from caelab.plotting.style import sheet, styled
from caelab.texts import visible

_SIDE = 2.6  # inches of a square
_GAP = 2  # white pixels around an image


@styled
def draw(run: str, sets: Mapping[str, tuple[Mapping[str, float], Tensor]]) -> Figure:
    """Draw sets of images, with their Fréchet distance and coverage.

    Args:
        run: what to call it.
        sets: name -> its figures, and images (N, C, H, W), uint8 in [0, 255] or floating point in [0, 1].
    """
    figure = sheet(f"{run}: what it draws, and what it is held against", _SIDE + 0.7, _SIDE * len(sets))
    for axes, (name, (found, images)) in zip(figure.subplots(1, len(sets)), sets.items(), strict=True):
        _square(axes, images)
        axes.set_title(visible(name), fontsize=9)
        axes.set_xlabel(f"Fréchet distance {found['frechet']:.2f}\ncoverage {found['coverage']:.3f}")
    return figure


def _square(axes: Axes, images: Tensor) -> None:
    """Lay images (N, C, H, W) row by row into a square, the rest of which stays white."""
    columns = math.ceil(math.sqrt(len(images)))
    whole = F.pad(to_bytes(shown(images)), (_GAP, _GAP, _GAP, _GAP), value=255).numpy()  # (N, C, h, w)
    missing = -len(whole) % columns
    whole = np.pad(whole, ((0, missing), (0, 0), (0, 0), (0, 0)), constant_values=255)
    _, channels, height, width = whole.shape
    grid = whole.reshape(-1, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    grid = grid.reshape(-1, columns * width, channels)  # (rows * h, columns * w, C)
    axes.imshow(grid[..., 0] if channels == 1 else grid, cmap="gray", vmin=0, vmax=255, interpolation="none")
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
