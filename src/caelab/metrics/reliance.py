"""How much of a picture comes through the latent."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence, Sized

import torch
from torch import Tensor

from caelab.data.datamodule import EVALUATION_BATCH, Split
from caelab.data.scale import unit, white
from caelab.metrics.quality import mse, psnr
from caelab.models.autoencoder import Autoencoder, Code
from caelab.models.contract import encoded, evaluating, require_images

_GAIN = 0.01  # dB over the mean image; less may be rounding

Watch = Callable[[Sequence[int]], Iterable[int]]
"""Goes through the batches of a pass, and may show how far it is."""

Mix = Callable[[Code, Code], dict[str, Code]]
"""Maps the codes of images, and those of as many other images, to named codes made of both."""


def latent_reliance(net: Autoencoder, train: Split, test: Split, psnr: float) -> float | None:
    """Measure the latent reliance alone, in [0, 1]; None where it has none, see ``reliance``.

    Where nothing goes around the latent it is 1, which takes no pass of the network.

    Args:
        net: trained.
        train: whose mean image is no reconstruction.
        test: N images, 2 or more.
        psnr: of the network's reconstructions as they are scored, in dB, mean over the test images.

    Raises:
        UserError: fewer than 2 images, or a network that does not keep the ``Code`` contract.
    """
    with evaluating(net):
        skips = encoded(net, train[:1]).skips
    if not skips:
        return reliance(psnr, -math.inf, psnr_of(mean_image(train), test))

    def mixed(code: Code, other: Code) -> dict[str, Code]:
        return {"everything": code, "other_latent": code._replace(z=other.z)}

    found = score(net, test, mixed, iter)
    return reliance(found["everything"], found["other_latent"], psnr_of(mean_image(train), test))


def mean_image(train: Split) -> Tensor:
    """Average the images of a split, (C, H, W) float64 in [0, 1]."""
    sums = torch.stack([train[s : s + EVALUATION_BATCH].double().sum(0) for s in starts(train)])
    return sums.sum(0) / (white(train[:1]) * len(train))


def reliance(everything: float, replaced: float, mean_image: float) -> float | None:
    """How much of what a model knows of an image is lost with a part of its code, in [0, 1].

    ``(everything - replaced) / (everything - mean_image)``, clipped; all three are PSNR in dB.

    Returns:
        None where ``everything`` is no better than ``mean_image`` by a hundredth of a decibel: there is
        nothing to lose.
    """
    if everything - mean_image < _GAIN:
        return None
    return min(1.0, max(0.0, (everything - replaced) / (everything - mean_image)))


def psnr_of(image: Tensor, test: Split) -> float:
    """PSNR (dB), mean over the test images, of one image (C, H, W) in place of each."""
    batches = (unit(test[start : start + EVALUATION_BATCH]) for start in starts(test))
    return torch.cat([psnr(mse(image.float().expand_as(x), x)) for x in batches]).mean().item()


def score(net: Autoencoder, test: Split, mixed: Mix, watch: Watch) -> dict[str, float]:
    """PSNR (dB), mean over the test images, of each mixed code."""
    require_images(test)
    values = defaultdict(list)
    with evaluating(net):
        for start in watch(starts(test)):
            rows = torch.arange(start, min(start + EVALUATION_BATCH, len(test)))
            others = (rows + len(test) // 2) % len(test)
            given, clean = test.pairs(rows)
            codes = encoded(net, given), encoded(net, test.given[others])
            x = unit(clean)
            for name, code in mixed(*codes).items():
                values[name].append(psnr(mse(net.decode(code), x)))
    return {name: torch.cat(found).mean().item() for name, found in values.items()}


def starts(images: Sized) -> range:
    """Where each batch of a pass over images starts."""
    return range(0, len(images), EVALUATION_BATCH)
