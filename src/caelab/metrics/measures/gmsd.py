"""GMSD: Xue et al., "Gradient Magnitude Similarity Deviation" (2014)."""

import math
from typing import TYPE_CHECKING

from caelab.metrics.measures import Measure

if TYPE_CHECKING:
    from torch import Tensor

_T = 170 / 255**2  # the paper's constant, for pixels in [0, 1]


def gmsd(x_hat: "Tensor", x: "Tensor") -> "Tensor":
    """Deviation of the similarity of gradients within each image: eq. 4 to 6 of the paper.

    Gradients are Prewitt's, of the luminance at half the size; zeros lie around the image, as in the
    authors' program.

    Args:
        x_hat: (N, C, H, W) in [0, 1], float32, grey or RGB.
        x: of the same shape.

    Returns:
        (N,) float32, at least 0, where the gradients are everywhere equally similar.

    Raises:
        ValueError: the images are neither grey nor RGB.
    """
    from caelab.metrics.quality import halved, yiq

    a, b = (_gradient(halved(yiq(images)[:, :1])) for images in (x_hat, x))
    similarity = (2 * a * b + _T) / (a.square() + b.square() + _T)
    return similarity.var((1, 2, 3), correction=0).sqrt()


def _gradient(y: "Tensor") -> "Tensor":
    """Magnitude of Prewitt's gradient of images (N, 1, H, W), of the same shape."""
    from torch.nn.functional import pad

    y = pad(y, (1, 1, 1, 1))
    rows = (y[..., :-2, :] + y[..., 1:-1, :] + y[..., 2:, :]) / 3
    columns = (y[..., :-2] + y[..., 1:-1] + y[..., 2:]) / 3
    across, down = rows[..., 2:] - rows[..., :-2], columns[..., 2:, :] - columns[..., :-2, :]
    return (across.square() + down.square()).sqrt()


MEASURE = Measure(
    gmsd,
    "GMSD",
    "deviation of the similarity of gradients, at least 0; less is better",
    ".4f",
    higher=False,
    bounds=(0.0, math.inf),
)
