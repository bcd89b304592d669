"""Transform coding by PCA: what the bits of the image itself reach along the training images' principal axes.

The classical floor of the axis of bits. It has no network and no size: every component of the image is
rounded by one and the same step, and those that vary less than that cost hardly a bit. For small steps no
linear transform with scalar quantisers does better on Gaussian images (Goyal, "Theoretical Foundations of
Transform Coding", IEEE Signal Processing Magazine 2001).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caelab.analysis.rate.distortion import sample
from caelab.analysis.rate.quantisation import Alphabet, chunks, coder, with_room
from caelab.bottlenecks.range_coder import Whole
from caelab.data.datamodule import EVALUATION_BATCH, Split
from caelab.data.scale import unit
from caelab.metrics.quality import mse, psnr
from caelab.metrics.reliance import Watch, mean_image, starts

STEPS = tuple(2 ** (-k / 2) for k in range(-1, 12))
"""Of the quantisers, in the unit of a pixel, whose range is 1: from 1.41 to 0.022."""

LARGEST = 4_096
"""Numbers of an image, at most: their principal axes are this many squared."""


class Point(NamedTuple):
    """All components of the images rounded by one step.

    Attributes:
        step: in the unit of a pixel.
        rate: measured bits per image.
        psnr: in dB, mean over the test images.
    """

    step: float
    rate: float
    psnr: float


def curve(train: Split, test: Split, steps: Sequence[float] = STEPS, watch: Watch = iter) -> list[Point]:
    """Round, code and decode the components of all test images.

    Args:
        train: images that alone set mean, axes, ranges, frequencies and what a step is decoded as: the mean
            of the training images' components in it.
        test: N images.
        steps: of each quantiser, coarsest first.
        watch: of the passes over training and test images.

    Returns:
        A point a step; none of images of more than ``LARGEST`` numbers.

    Raises:
        UserError: there is no library to code with.
        RuntimeError: the coder returned other symbols than it was given.
    """
    if train.images[0].numel() > LARGEST:
        return []
    axes = _Axes(train)
    known = sample(train, train.images[0].numel())
    y = np.concatenate([axes.enter(known[start : start + EVALUATION_BATCH]) for start in starts(known)])
    quantisers = [_Quantiser(steps[k], y) for k in watch(range(len(steps)))]
    del y
    for start in watch(starts(test)):
        images = test[start : start + EVALUATION_BATCH]
        y = axes.enter(images)
        for one in quantisers:
            one.add(axes, y, images)
    return [one.point(len(test)) for one in quantisers]


class _Axes:
    """Principal axes of images, by all training images."""

    def __init__(self, train: Split) -> None:
        self._mean = mean_image(train).flatten().float()  # (D,)
        covariance = torch.zeros(len(self._mean), len(self._mean), dtype=torch.float64)
        for start in starts(train):
            x = self._centred(train[start : start + EVALUATION_BATCH])
            covariance += x.T @ x
        self._axes = torch.linalg.eigh(covariance).eigenvectors.float()  # (D, D), in columns

    def _centred(self, images: Tensor) -> Tensor:
        return unit(images.flatten(1)) - self._mean

    def enter(self, images: Tensor) -> NDArray[np.float32]:
        """Components (n, D) of images (n, C, H, W) uint8."""
        components: NDArray[np.float32] = (self._centred(images) @ self._axes).numpy()
        return components

    def leave(self, y: NDArray[np.float32], which: NDArray[np.int64]) -> Tensor:
        """Images (n, D), not clamped, of the components ``which`` (K,), ``y`` (n, K); others are 0."""
        x: Tensor = torch.from_numpy(y) @ self._axes[:, torch.from_numpy(which)].T + self._mean
        return x


class _Quantiser:
    """Rounds components to whole steps, and sums up what comes of the test images.

    Args:
        step: in the unit of a pixel.
        y: components (M, D) of training images.
    """

    def __init__(self, step: float, y: NDArray[np.float32]) -> None:
        self._step = step
        low, high = with_room(*(_whole(end, step) for end in (y.min(0), y.max(0))))
        self._which = np.flatnonzero(high > low)  # the others are decoded as the mean
        self._alphabet = Alphabet(low[self._which], high[self._which])
        counts, self._means = self._learnt(y)
        self._coder = coder(self._alphabet, counts)
        self._bits, self._psnr = 0, 0.0

    def _learnt(self, y: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """How often each step occurs, and its components' mean; the middle of one that does not occur."""
        alphabet, step = self._alphabet, self._step
        levels = int(alphabet.levels.sum())
        counts, sums = np.zeros(levels, np.int64), np.zeros(levels)
        for rows in chunks(len(y)):
            own = y[rows][:, self._which]
            places = alphabet.places(alphabet.symbols(_whole(own, step))).ravel()
            counts += np.bincount(places, minlength=levels)
            sums += np.bincount(places, own.ravel(), levels)
        first = alphabet.low - alphabet.places(np.zeros_like(alphabet.low))
        middles = step * (np.arange(levels) + np.repeat(first, alphabet.levels))
        return counts, np.where(counts > 0, sums / np.maximum(counts, 1), middles).astype(np.float32)

    def add(self, axes: _Axes, y: NDArray[np.float32], images: Tensor) -> None:
        """Count in images (n, C, H, W) uint8 with components ``y`` (n, D)."""
        top = self._alphabet.levels - 1
        symbols = self._alphabet.symbols(_whole(y[:, self._which], self._step)).clip(0, top)
        words = self._coder.encode(symbols)
        if not (self._coder.decode(words, len(symbols)) == symbols).all():
            raise RuntimeError(
                f"the decoded symbols are not those that were coded, at a step of {self._step:g}"
            )
        self._bits += 8 * words.nbytes
        x_hat = axes.leave(self._means[self._alphabet.places(symbols)], self._which)
        self._psnr += psnr(mse(x_hat.reshape(images.shape), unit(images))).sum().item()

    def point(self, n: int) -> Point:
        """The mean over the ``n`` images that were counted in."""
        return Point(self._step, self._bits / n, self._psnr / n)


def _whole(y: NDArray[np.float32], step: float) -> Whole:
    whole: Whole = np.rint(y / step).astype(np.int32)
    return whole
