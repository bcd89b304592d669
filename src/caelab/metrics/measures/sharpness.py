"""How sharp a reconstruction is beside its image."""

import math
from typing import TYPE_CHECKING

from caelab.metrics.measures import Measure

if TYPE_CHECKING:
    from torch import Tensor

_NOISE = (1 / 255) ** 2  # one grey level a pixel: what keeps the ratio finite where an image is flat


def sharpness(x_hat: "Tensor", x: "Tensor") -> "Tensor":
    """Gradient energy of each reconstruction over that of its image, ``(E(x_hat) + c) / (E(x) + c)``.

    ``E`` is the mean square of the differences of neighbours in a row, plus that of neighbours in a column,
    over all channels; ``c`` is ``(1 / 255)^2``.

    Args:
        x_hat: (N, C, H, W) in [0, 1], float32.
        x: of the same shape.

    Returns:
        (N,) float32, above 0: 1 is as sharp as the image, less is blurred, more is noise or edges of its own.
    """
    return (_energy(x_hat) + _NOISE) / (_energy(x) + _NOISE)


def _energy(x: "Tensor") -> "Tensor":
    rows, columns = (x.diff(dim=dim).square().mean((1, 2, 3)) for dim in (-1, -2))
    return rows + columns


MEASURE = Measure(
    sharpness,
    "sharpness",
    "gradient energy over that of the image: 1 is as sharp, less is blurred",
    ".3f",
    higher=None,
    bounds=(0.0, math.inf),
)
