"""Does a picture come through the latent, or around it? What is left when either is another image's."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from caelab.data.datamodule import EVALUATION_BATCH, Split
from caelab.errors import UserError
from caelab.models.autoencoder import Autoencoder, Code
from caelab.models.pca import PCA
from caelab.quality import mse, psnr

LEAST_IMAGES = 2
"""Test images without which no image has another."""

_GAIN = 0.01  # dB over the mean image; less may be rounding
_CODED = 10_000  # training images whose codes are averaged: improved_skip's PSNRs move by 0.002 dB at most

Watch = Callable[[Sequence[int]], Iterable[int]]
"""Goes through the batches of a pass, and may show how far it is."""

Mix = Callable[[Code, Code], dict[str, Code]]
"""Maps the codes of images, and those of as many other images, to named codes made of both."""


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

    found = _score(net, test, mixed, watch) | {"mean_image": _psnr_of(means.image, test)}
    replaced = [name for name in found if name.startswith("other_")]
    whole, least = found["everything"], found["mean_image"]
    return Paths(found, {name: reliance(whole, found[name], least) for name in replaced})


def latent_reliance(net: Autoencoder, train: Split, test: Split, psnr: float) -> float | None:
    """Measure the latent reliance alone, in [0, 1]; None where it has none, see ``reliance``.

    Where nothing goes around the latent it is 1, which takes no pass of the network.

    Args:
        net: trained.
        train: whose mean image is no reconstruction.
        test: N images, 2 or more.
        psnr: of the network's reconstructions as they are scored, in dB, mean over the test images.

    Raises:
        UserError: see ``audit``.
    """
    with evaluating(net):
        skips = encoded(net, train[:1]).skips
    if not skips:
        return reliance(psnr, -math.inf, _psnr_of(mean_image(train), test))

    def mixed(code: Code, other: Code) -> dict[str, Code]:
        return {"everything": code, "other_latent": code._replace(z=other.z)}

    found = _score(net, test, mixed, iter)
    return reliance(found["everything"], found["other_latent"], _psnr_of(mean_image(train), test))


def mean_image(train: Split) -> Tensor:
    """Average the images of a split, (C, H, W) float64 in [0, 1]."""
    sums = torch.stack([train[s : s + EVALUATION_BATCH].double().sum(0) for s in _starts(train)])
    return sums.sum(0) / (255 * len(train))


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


def averages(net: Autoencoder, train: Split, watch: Watch = iter) -> Means:
    """Average the training images, and the codes of at most 10,000 of them, evenly spaced.

    Raises:
        UserError: a network that does not keep the ``Code`` contract.
    """
    rows = torch.arange(0, len(train), math.ceil(len(train) / _CODED))
    sums: list[Tensor] = []
    with evaluating(net):
        for start in watch(_starts(rows)):
            code = encoded(net, train[rows[start : start + EVALUATION_BATCH]])
            batch = [part.double().sum(0) for part in (code.z, *code.skips)]
            sums = [a + b for a, b in zip(sums, batch, strict=True)] if sums else batch
    z, *skips = ((total / len(rows))[None].to(code.z.dtype) for total in sums)
    return Means(mean_image(train), Code(z, tuple(skips)))


def alone(net: Autoencoder, images: Tensor, means: Means) -> dict[str, Tensor]:
    """Reconstruct images from one path at a time; all the other paths carry the mean.

    Args:
        net: trained.
        images: (N, C, H, W) uint8.
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
    batches = [test[start : start + EVALUATION_BATCH] for start in _starts(test)]
    errors = [mse(pca.reconstruct(images), images.float() / 255) for images in batches]
    return psnr(torch.cat(errors)).mean().item()


def _repeated(code: Code, count: int) -> Code:
    """Repeat the code of one image ``count`` times."""
    z, *skips = (part.expand(count, *part.shape[1:]) for part in (code.z, *code.skips))
    return Code(z, tuple(skips))


def _each_skip(code: Code, other: Code) -> Iterator[tuple[int, Code]]:
    """Number of each skip, counted from 1, and ``code`` with only this skip from ``other``."""
    for n, skip in enumerate(other.skips):
        yield n + 1, code._replace(skips=(*code.skips[:n], skip, *code.skips[n + 1 :]))


def encoded(net: Autoencoder, images: Tensor) -> Code:
    """Encode uint8 images (N, C, H, W) on the network's device.

    Raises:
        UserError: what comes back is no ``Code`` of these images.
    """
    code = net.encode(_pixels(net, images))
    name = type(net).__name__
    if not isinstance(code, Code):
        raise UserError(f"{name}.encode must return a Code(z, skips), got {type(code).__name__}")
    if code.z.shape != (len(images), net.latent):
        want = f"({len(images)}, {net.latent})"
        raise UserError(f"{name}.encode: z must be (N, latent), here {want}, got {tuple(code.z.shape)}")
    for n, skip in enumerate(code.skips, start=1):
        if len(skip) != len(images):
            shape = tuple(skip.shape)
            raise UserError(f"{name}.encode: skip {n} must be ({len(images)}, ...), got {shape}")
    return code


def require_contract(net: Autoencoder, test: Split) -> None:
    """Make sure that the decoder gets nothing but the code: what no code shows, no audit can replace.

    Raises:
        UserError: ``encode`` returns no ``Code``, or ``decode`` depends on more than its code.
    """
    require_images(test)
    with evaluating(net):
        code = encoded(net, test[:1])
        expected = net(_pixels(net, test[:1]))
        encoded(net, test[1:2])  # what it leaves behind must not matter
        if not torch.allclose(net.decode(code), expected, atol=1e-5):
            raise UserError(
                f"{type(net).__name__}.decode depends on more than its code, so its paths cannot be told "
                "apart; whatever reaches the decoder must be in Code(z, skips)"
            )


def require_images(test: Split) -> None:
    """Refuse a split in which no image has another.

    Raises:
        UserError: it has fewer than 2 images.
    """
    if len(test) < LEAST_IMAGES:
        raise UserError(
            f"the test split has {len(test)} image; {LEAST_IMAGES} or more are needed, "
            "so that one can get the latent of another"
        )


@contextmanager
def evaluating(net: Autoencoder) -> Iterator[None]:
    """Turn gradients and training mode off."""
    training = net.training
    try:
        with torch.inference_mode():
            net.eval()
            yield
    finally:
        net.train(training)


def _psnr_of(image: Tensor, test: Split) -> float:
    """PSNR (dB), mean over the test images, of one image (C, H, W) in place of each."""
    batches = (test[start : start + EVALUATION_BATCH].float() / 255 for start in _starts(test))
    return torch.cat([psnr(mse(image.float().expand_as(x), x)) for x in batches]).mean().item()


def _score(net: Autoencoder, test: Split, mixed: Mix, watch: Watch) -> dict[str, float]:
    """PSNR (dB), mean over the test images, of each mixed code."""
    require_images(test)
    values = defaultdict(list)
    with evaluating(net):
        for start in watch(_starts(test)):
            rows = torch.arange(start, min(start + EVALUATION_BATCH, len(test)))
            images = test[rows]
            codes = encoded(net, images), encoded(net, test[(rows + len(test) // 2) % len(test)])
            x = images.float() / 255
            for name, code in mixed(*codes).items():
                values[name].append(psnr(mse(net.decode(code), x)))
    return {name: torch.cat(found).mean().item() for name, found in values.items()}


def _pixels(net: Autoencoder, images: Tensor) -> Tensor:
    return (images.to(net.weight.device).float() / 255).to(net.weight.dtype)


def _starts(images: Sized) -> range:
    return range(0, len(images), EVALUATION_BATCH)
