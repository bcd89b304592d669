"""What pictures lose when a trained network's code is rounded, and how many bits the rounded code takes."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from caelab.analysis.rate.quantisation import (
    Alphabet,
    Counts,
    Quantiser,
    coder,
    entropy,
    fit,
    flat,
    require_finite,
    unflat,
)
from caelab.bottlenecks.range_coder import RangeCoder
from caelab.data.datamodule import EVALUATION_BATCH, Split
from caelab.data.scale import unit
from caelab.errors import UserError
from caelab.metrics.quality import mse, psnr
from caelab.metrics.reliance import Watch, starts
from caelab.models.autoencoder import Autoencoder, Code
from caelab.models.contract import encoded, evaluating, require_contract

STATISTICS = 2**26
"""Numbers, at most, of the training codes that statistics are taken of: a quarter of a gigabyte."""

_SEED = 1_618_033  # of the training images that are taken where all would be more; the same for every run


class Point(NamedTuple):
    """A quantiser of a network's code.

    Attributes:
        bits: b of its step, see ``quantisation.LOADING``.
        rate: measured bits per image.
        entropy: bits per image that no static model of single numbers can go below.
        psnr: in dB, mean over the test images, of what the decoder makes of the rounded codes.
    """

    bits: int
    rate: float
    entropy: float
    psnr: float


class Curve(NamedTuple):
    """Rate and distortion of a network on its test images.

    Attributes:
        psnr: in dB, mean over the test images, with the code as it is.
        points: from the coarsest quantiser to the finest.
        numbers: that reach the decoder, per image.
        clipped: share of the test images' numbers that lie outside of what training codes have room for.
        training: images that statistics were taken of.
    """

    psnr: float
    points: list[Point]
    numbers: int
    clipped: float
    training: int


def measure(net: Autoencoder, train: Split, test: Split, bits: Sequence[int], watch: Watch = iter) -> Curve:
    """Round, code, decode and look at the codes of all test images.

    Args:
        net: trained, on the CPU.
        train: images whose codes alone set axes, steps, ranges and the models of the coder.
        test: N images, 2 or more.
        bits: of each quantiser, from 1 to ``FINEST``.
        watch: of the passes over training and test images.

    Raises:
        UserError: a network that does not keep the ``Code`` contract, a code that is not finite or has no
            numbers, or no library to code it with.
        RuntimeError: the coder returned other symbols than it was given.
    """
    require_contract(net, test)
    with evaluating(net):
        shapes = [part.shape[1:] for part in _parts(encoded(net, test[:1]))]
        numbers = sum(shape.numel() for shape in shapes)
        if not numbers:
            raise UserError("its code has no numbers, so there is nothing to round; a rate needs 1 or more")
        known = sample(train, numbers)
        quantiser, coders = _learnt(net, known, shapes, bits, watch)
        total = _Totals(quantiser, coders, shapes)
        for start in watch(starts(test)):
            total.add(net, *test.pairs(slice(start, start + EVALUATION_BATCH)))
    return total.curve(len(known))


def _parts(code: Code) -> tuple[Tensor, ...]:
    return (code.z, *code.skips)


def sample(train: Split, numbers: int) -> Split:
    """The training images that statistics are taken of, where each has so many numbers: all, or some."""
    return train.some(max(1, STATISTICS // numbers), _SEED)


def _learnt(
    net: Autoencoder, train: Split, shapes: Sequence[torch.Size], bits: Sequence[int], watch: Watch
) -> tuple[Quantiser, dict[int, tuple[Alphabet, RangeCoder]]]:
    """The quantiser, and for each b its alphabet and its coder, by the training images."""
    numbers = [shape.numel() for shape in shapes]
    x = torch.empty(len(train), sum(numbers))
    for start in watch(starts(train)):
        rows = slice(start, start + EVALUATION_BATCH)
        x[rows] = flat(encoded(net, train.given[rows]))
    quantiser = fit(x, numbers)
    cells, _ = quantiser.cells(x)
    del x
    coders = {}
    for b in sorted(bits):
        alphabet = quantiser.alphabet(b)
        coders[b] = alphabet, coder(alphabet, alphabet.counts(cells))
    return quantiser, coders


class _Totals:
    """Sums over the test images, batch by batch: only one batch of codes is in memory."""

    def __init__(
        self,
        quantiser: Quantiser,
        coders: dict[int, tuple[Alphabet, RangeCoder]],
        shapes: Sequence[torch.Size],
    ) -> None:
        self._quantiser, self._coders, self._shapes = quantiser, coders, shapes
        self._counts: dict[int, Counts] = {}
        self._bits = dict.fromkeys(coders, 0)
        self._psnr: dict[int, list[Tensor]] = defaultdict(list)  # 0: of the codes as they are
        self._clipped = 0

    def add(self, net: Autoencoder, given: Tensor, clean: Tensor) -> None:
        """Count in images (N, C, H, W) of a split: given to the network, and what it is to make of them."""
        code, original = encoded(net, given), unit(clean)
        x = flat(code)
        require_finite(x)
        self._psnr[0].append(psnr(mse(net.decode(code), original)))
        cells, clipped = self._quantiser.cells(x)
        self._clipped += clipped
        for b, (alphabet, one) in self._coders.items():
            symbols = alphabet.symbols(cells)
            words = one.encode(symbols)
            decoded = one.decode(words, len(symbols))
            if not (decoded == symbols).all():
                raise RuntimeError(f"the decoded symbols are not those that were coded, at {b} bits")
            self._bits[b] += 8 * words.nbytes
            self._counts[b] = self._counts.get(b, 0) + alphabet.counts(cells)
            rounded = self._quantiser.decoded(decoded + alphabet.low, b).to(code.z.dtype)
            x_hat = net.decode(unflat(rounded, self._shapes))
            self._psnr[b].append(psnr(mse(x_hat, original)))

    def curve(self, training: int) -> Curve:
        psnrs = {b: torch.cat(found) for b, found in self._psnr.items()}
        n, numbers = len(psnrs[0]), sum(shape.numel() for shape in self._shapes)
        points = [
            Point(b, self._bits[b] / n, entropy(self._counts[b], n, numbers), psnrs[b].mean().item())
            for b in self._coders
        ]
        return Curve(psnrs[0].mean().item(), points, numbers, self._clipped / (n * numbers), training)
