"""LPIPS and DISTS: distances between what a network that knows photographs makes of two images.

The network is torchvision's VGG16; how its features are weighed was learnt from people's judgements, which
torchmetrics brings.
"""

from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import as_file, files
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import VGG16_Weights, vgg16

from caelab.metrics.pretrained import checkpoint

SHA256 = "397923af"
"""First digits of the checksum of VGG16's weights, which torchvision's name of the file has, too."""

_URL = VGG16_Weights.IMAGENET1K_V1.url
_STAGES = ((0, 4), (5, 9), (10, 16), (17, 23), (24, 30))  # of its layers; a pooling lies between two
_LEAST = 16  # pixels a side, which four poolings leave one of
_AT_ONCE = 1 << 20  # pixels
_LPIPS = ((-0.030, -0.088, -0.188), (0.458, 0.448, 0.450))  # mean and deviation of pixels in [-1, 1]
_DISTS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # and in [0, 1]
_C = 1e-6  # both constants of DISTS
_WIDTHS = [3, 64, 128, 256, 512, 512]  # channels of the image and of each stage


def lpips(x_hat: Tensor, x: Tensor) -> Tensor:
    """Learned perceptual image patch similarity of each image: Zhang et al. (2018), eq. 1, over VGG16.

    As in the authors' program the weights stand outside of the square.

    Args:
        x_hat: (N, C, H, W) in [0, 1], float32, grey or RGB.
        x: of the same shape.

    Returns:
        (N,) float32, at least 0, where both are the same.

    Raises:
        ValueError: the images are neither grey nor RGB, or have a side below 16.
        UserError: VGG16's weights are not there: see ``stages``.
    """
    return _of_parts(_lpips, x_hat, x)


def dists(x_hat: Tensor, x: Tensor) -> Tensor:
    """Deep image structure and texture similarity of each image: Ding et al. (2020), over VGG16.

    Its poolings are those of the paper, roots of blurred squares. Arguments, result and errors are those of
    ``lpips``.
    """
    return _of_parts(_dists, x_hat, x)


@cache
def stages(device: torch.device) -> list[nn.Module]:
    """The convolutions of VGG16 between its poolings, frozen; its weights lie where torchvision keeps them.

    Raises:
        UserError: they are not there, or are others.
    """
    file = checkpoint(_URL, SHA256, "lpips and dists need the weights of VGG16")
    with torch.inference_mode(False):  # a loss needs them with gradients
        with torch.device("meta"):  # draws no random weights
            layers = vgg16(init_weights=False).features
        state = torch.load(file, map_location="cpu", weights_only=True)
        own = {name: state[f"features.{name}"] for name in layers.state_dict()}
        layers.load_state_dict(own, assign=True)
        layers.requires_grad_(False).eval().to(device)
    return [layers[first:last] for first, last in _STAGES]


def _of_parts(distance: Callable[[Tensor, Tensor], Tensor], x_hat: Tensor, x: Tensor) -> Tensor:
    """Measure a few images at a time, so that large ones need little memory."""
    if x.shape[1] not in (1, 3):
        raise ValueError(f"it takes grey or RGB images, got {x.shape[1]} channels")
    if min(x.shape[-2:]) < _LEAST:
        raise ValueError(f"image_size must be at least {_LEAST} for VGG16, got {min(x.shape[-2:])}")
    pair = [images.expand(-1, 3, -1, -1) for images in (x_hat, x)]
    count = max(1, _AT_ONCE // x[0, 0].numel())
    parts = zip(*(torch.split(images, count) for images in pair), strict=True)
    return torch.cat([distance(*part) for part in parts])


def _features(x: Tensor, scale: Sequence[Sequence[float]], pool: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """What each stage makes of images (N, 3, H, W): (N, C, h, w) each."""
    mean, deviation = (x.new_tensor(one).view(3, 1, 1) for one in scale)
    h = (x - mean) / deviation
    found = []
    for number, stage in enumerate(stages(x.device)):
        h = stage(pool(h) if number else h)
        found.append(h)
    return found


def _lpips(x_hat: Tensor, x: Tensor) -> Tensor:
    features = [_features(2 * one - 1, _LPIPS, lambda h: F.max_pool2d(h, 2)) for one in (x_hat, x)]
    total = x.new_zeros(len(x))
    for number, pair in enumerate(zip(*features, strict=True)):
        a, b = (h / (h.square().sum(1, keepdim=True) + 1e-8).sqrt() for h in pair)
        weights = _learnt("lpips_models/vgg.pth")[f"lin{number}.model.1.weight"].to(x.device)  # (1, C, 1, 1)
        total = total + (weights * (a - b).square()).sum(1).mean((1, 2))
    return total


def _dists(x_hat: Tensor, x: Tensor) -> Tensor:
    features = [[one, *_features(one, _DISTS, _blurred)] for one in (x_hat, x)]
    learnt = _learnt("dists_models/weights.pt")
    whole = learnt["alpha"].sum() + learnt["beta"].sum()
    alphas, betas = (
        torch.split((learnt[name].detach() / whole).flatten().to(x.device), _WIDTHS)
        for name in ("alpha", "beta")
    )
    total = x.new_zeros(len(x))
    for a, b, alpha, beta in zip(*features, alphas, betas, strict=True):
        m, n = a.mean((2, 3)), b.mean((2, 3))  # (N, C)
        da, db = a - m[..., None, None], b - n[..., None, None]
        variances = da.square().mean((2, 3)) + db.square().mean((2, 3))
        texture = (2 * m * n + _C) / (m.square() + n.square() + _C)
        structure = (2 * (da * db).mean((2, 3)) + _C) / (variances + _C)
        total = total + (alpha * texture + beta * structure).sum(1)
    return (1 - total).clamp(min=0)


def _blurred(h: Tensor) -> Tensor:
    """Half the size: the root of squares blurred by 1/4, 1/2, 1/4, which two means of two are."""
    means = F.avg_pool2d(F.avg_pool2d(F.pad(h.square(), (1, 1, 1, 1)), 2, 1), 2)
    return (means + 1e-12).sqrt()


@cache
def _learnt(name: str) -> dict[str, Any]:
    """Weights that torchmetrics brings, on the CPU."""
    with as_file(files("torchmetrics.functional.image") / name) as file, torch.inference_mode(False):
        found: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        return found
