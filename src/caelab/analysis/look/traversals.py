"""Walks through the space of codes: what a direction does to a picture, and what lies between two."""

import numpy as np
import torch
from torch import Tensor

from caelab.analysis.look.codes import BATCH, Directions, Floats
from caelab.models.autoencoder import Autoencoder, Code

IGNORED = 0.5 / 255
"""Effect below which the decoder ignores a direction: half a grey level, which 8 bits cannot show."""


@torch.inference_mode()
def traverse(net: Autoencoder, code: Code, directions: Directions, steps: Floats) -> Tensor:
    """Decode what lies along each direction from the code of one image; its skips stay as they are.

    Args:
        net: in eval mode.
        code: of one image.
        directions: K of them.
        steps: (S,), in standard deviations along the direction; 0 is the image's own code.

    Returns:
        (K, S, C, H, W) float32 in [0, 1].
    """
    moves = torch.from_numpy(directions.vectors * directions.deviations[:, None]).to(code.z.dtype)  # (K, L)
    z = code.z + torch.from_numpy(steps).to(code.z.dtype)[:, None] * moves[:, None]  # (K, S, L)
    flat = z.flatten(0, 1)  # (K*S, L)
    x = torch.cat([_decode(net, flat[i : i + BATCH], code) for i in range(0, len(flat), BATCH)])
    return x.reshape(*z.shape[:2], *x.shape[1:])  # (K, S, C, H, W)


def _decode(net: Autoencoder, z: Tensor, code: Code) -> Tensor:
    """Decode z (N, latent), each with the skips of the one image whose code is given."""
    return net.decode(Code(z, tuple(skip.expand(len(z), *skip.shape[1:]) for skip in code.skips))).float()


@torch.inference_mode()
def effects(net: Autoencoder, code: Code, directions: Directions) -> Floats:
    """Measure what one standard deviation along each direction does to the picture.

    Args:
        net: in eval mode.
        code: of the images from which the directions are walked.
        directions: K of them.

    Returns:
        (K,): root mean square, over images and pixels, of half the difference between the pictures one
        deviation ahead and one behind.
    """
    total = np.zeros(len(directions.vectors))
    for n in range(len(code.z)):
        one = Code(code.z[n : n + 1], tuple(skip[n : n + 1] for skip in code.skips))
        for start in range(0, len(total), BATCH // 2):
            rows = slice(start, start + BATCH // 2)
            part = Directions(directions.vectors[rows], directions.deviations[rows])
            behind, ahead = traverse(net, one, part, np.array([-1.0, 1.0])).unbind(1)  # (k, C, H, W) each
            total[rows] += ((ahead - behind) / 2).square().mean((1, 2, 3)).double().numpy()
    root: Floats = np.sqrt(total / len(code.z))
    return root


@torch.inference_mode()
def between_codes(net: Autoencoder, start: Code, end: Code, steps: Floats) -> Tensor:
    """Decode the codes on the straight lines from one image's to another's; skips move along with z.

    Args:
        net: in eval mode.
        start: of N images.
        end: of N images.
        steps: (S,) in [0, 1].

    Returns:
        (N, S, C, H, W) float32 in [0, 1].
    """
    rows = []
    for step in steps:
        z, *skips = (
            a.lerp(b, float(step)) for a, b in zip((start.z, *start.skips), (end.z, *end.skips), strict=True)
        )
        rows.append(net.decode(Code(z, tuple(skips))).float())
    return torch.stack(rows, 1)


def between_pixels(start: Tensor, end: Tensor, steps: Floats) -> Tensor:
    """Fade images (N, C, H, W) in [0, 1] into others: (N, S, C, H, W)."""
    return torch.stack([start.lerp(end, float(step)) for step in steps], 1)
