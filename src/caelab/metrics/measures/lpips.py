"""LPIPS: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (2018)."""

import math
from typing import TYPE_CHECKING

from caelab.metrics.measures import Measure

if TYPE_CHECKING:
    from torch import Tensor


def lpips(x_hat: "Tensor", x: "Tensor") -> "Tensor":
    """See ``caelab.metrics.perceptual.lpips``, which brings torchvision."""
    from caelab.metrics import perceptual

    return perceptual.lpips(x_hat, x)


MEASURE = Measure(
    lpips,
    "LPIPS",
    "perceptual distance by VGG16, at least 0; less is better",
    ".4f",
    higher=False,
    bounds=(0.0, math.inf),
)
