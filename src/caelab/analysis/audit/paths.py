"""What comes through each path from encoder to decoder, and what is left when it carries another image's."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from caelab.data.datamodule import EVALUATION_BATCH, Split
from caelab.data.scale import unit
from caelab.metrics.quality import mse, psnr
from caelab.metrics.reliance import Watch, mean_image, psnr_of, reliance, score, starts
from caelab.models.autoencoder import Autoencoder, Code
from caelab.models.contract import encoded, evaluating
from caelab.models.pca import PCA

_CODED = 10_000  # training images whose codes are averaged: improved_skip's PSNRs move by 0.002 dB at most


class Means(NamedTuple):
    """Averages over the training images: what can be said of a test image without having seen it.

    Attributes:
        image: (C, H, W) float64 in [0, 1].
        code: ``z`` (1, latent), and each skip (1, ...).
    """

    image: Tensor
    code: Code


class Paths(NamedTuple):
    """What comes through each path from the encoder to the decoder.

    Attributes:
        psnr: PSNR in dB, mean over the test images, by what the decoder gets: see ``audit``.
        reliance: by what is another image's in ``psnr``, how much depends on it, in [0, 1]; None where the
            reconstructions are no better than the mean image. For ``other_latent`` the latent reliance.
    """

    psnr: dict[str, float]
    reliance: dict[str, float | None]


def audit(net: Autoencoder, test: Split, means: Means, watch: Watch = iter) -> Paths:
    """Measure what the decoder makes of codes in which parts are another test image's, or a mean.

    The other image of test image i is number i + N//2, counted round: the same at every call, never itself,
    and of another class in splits that are sorted by class.

    Args:
        net: trained.
        test: N images, 2 or more.
        means: of the training images: see ``averages``.
        watch: of the one pass over the images.

    Returns:
        ``psnr`` of ``everything``, ``other_latent`` (the right skips), ``mean_latent``, and where there are
        skips ``other_skips`` (the right latent), ``mean_skips`` and ``other_skip_<n>``, only the n-th skip
        replaced, counted from 1; and of the ``mean_image`` in place of any reconstruction.

    Raises:
        UserError: fewer than 2 images, or a network that does not keep the ``Code`` contract.
    """

    def mixed(code: Code, other: Code) -> dict[str, Code]:
        mean = _repeated(means.code, len(code.z))
        found = {
            "everything": code,
            "other_latent": code._replace(z=other.z),
            "mean_latent": code._replace(z=mean.z),
        }
        if code.skips:
            found["other_skips"] = code._replace(skips=other.skips)
            found["mean_skips"] = code._replace(skips=mean.skips)
        return found | {f"other_skip_{n}": one for n, one in _each_skip(code, other)}

    found = score(net, test, mixed, watch) | {"mean_image": psnr_of(means.image, test)}
    replaced = [name for name in found if name.startswith("other_")]
    whole, least = found["everything"], found["mean_image"]
    return Paths(found, {name: reliance(whole, found[name], least) for name in replaced})


def averages(net: Autoencoder, train: Split, watch: Watch = iter) -> Means:
    """Average the training images, and the codes of at most 10,000 of them, evenly spaced.

    Raises:
        UserError: a network that does not keep the ``Code`` contract.
    """
    rows = torch.arange(0, len(train), math.ceil(len(train) / _CODED))
    sums: list[Tensor] = []
    with evaluating(net):
        for start in watch(starts(rows)):
            code = encoded(net, train.given[rows[start : start + EVALUATION_BATCH]])
            batch = [part.double().sum(0) for part in (code.z, *code.skips)]
            sums = [a + b for a, b in zip(sums, batch, strict=True)] if sums else batch
    z, *skips = ((total / len(rows))[None].to(code.z.dtype) for total in sums)
    return Means(mean_image(train), Code(z, tuple(skips)))


def alone(net: Autoencoder, images: Tensor, means: Means) -> dict[str, Tensor]:
    """Reconstruct images from one path at a time; all the other paths carry the mean.

    Args:
        net: trained.
        images: (N, C, H, W) that it is given.
        means: of the training images.

    Returns:
        ``everything``, ``latent``, and where there are skips ``skips`` and ``skip <n>`` (counted from 1)
        -> (N, C, H, W) float32 in [0, 1] on the CPU.
    """
    with evaluating(net):
        code = encoded(net, images)
        mean = _repeated(means.code, len(images))
        codes = {"everything": code, "latent": mean._replace(z=code.z)}
        if code.skips:
            codes["skips"] = mean._replace(skips=code.skips)
        if len(code.skips) > 1:
            codes |= {f"skip {n}": one for n, one in _each_skip(mean, code)}
        return {name: net.decode(one).cpu() for name, one in codes.items()}


def linear_floor(train: Split, test: Split, numbers: int) -> float:
    """PSNR (dB), mean over the test images, of PCA with that many numbers, fitted to the training images.

    Raises:
        ValueError: more numbers than an image has.
    """
    pca = PCA(test[:1].shape[1:], numbers)
    pca.initialise(train)
    batches = [test[start : start + EVALUATION_BATCH] for start in starts(test)]
    errors = [mse(pca.reconstruct(images), unit(images)) for images in batches]
    return psnr(torch.cat(errors)).mean().item()


def _repeated(code: Code, count: int) -> Code:
    """Repeat the code of one image ``count`` times."""
    z, *skips = (part.expand(count, *part.shape[1:]) for part in (code.z, *code.skips))
    return Code(z, tuple(skips))


def _each_skip(code: Code, other: Code) -> Iterator[tuple[int, Code]]:
    """Number of each skip, counted from 1, and ``code`` with only this skip from ``other``."""
    for n, skip in enumerate(other.skips):
        yield n + 1, code._replace(skips=(*code.skips[:n], skip, *code.skips[n + 1 :]))
