"""DISTS: Ding et al., "Image Quality Assessment: Unifying Structure and Texture Similarity" (2020)."""

import math
from typing import TYPE_CHECKING

from caelab.metrics.measures import Measure

if TYPE_CHECKING:
    from torch import Tensor


def dists(x_hat: "Tensor", x: "Tensor") -> "Tensor":
    """See ``caelab.metrics.perceptual.dists``, which brings torchvision."""
    from caelab.metrics import perceptual

    return perceptual.dists(x_hat, x)


MEASURE = Measure(
    dists,
    "DISTS",
    "distance of structure and texture by VGG16, at least 0; less is better",
    ".4f",
    higher=False,
    bounds=(0.0, math.inf),
)
