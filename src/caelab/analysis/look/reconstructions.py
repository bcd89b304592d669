"""How well single images come back, and which of them to show."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caelab.analysis.look.codes import BATCH, Floats
from caelab.data.scale import unit
from caelab.metrics.quality import mse, psnr
from caelab.models.autoencoder import Autoencoder


def decibels(net: Autoencoder, images: Tensor) -> Floats:
    """Return the PSNR in dB of each image's reconstruction, (N,), for images (N, C, H, W) of a split."""
    found = []
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        found.append(psnr(mse(net.reconstruct(batch), unit(batch))))
    return torch.cat(found).numpy()


def extremes(figures: Floats, count: int) -> dict[str, NDArray[np.int64]]:
    """Choose images by their figure: the ``best``, those about the ``median``, and the ``worst`` first.

    Args:
        figures: (N,), the larger the better.
        count: images in each of the three.

    Returns:
        Three arrays of rows, (count,) each.
    """
    order = np.argsort(figures, kind="stable")
    middle = (len(order) - count) // 2
    return {
        "best": order[::-1][:count].copy(),
        "median": order[middle : middle + count],
        "worst": order[:count],
    }
