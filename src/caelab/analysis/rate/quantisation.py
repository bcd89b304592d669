"""Codes as bits: a uniform quantiser along principal axes, and static models of its steps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caelab.analysis.rate import FINEST
from caelab.bottlenecks.range_coder import RangeCoder, Whole
from caelab.errors import UserError
from caelab.models.autoencoder import Code

LOADING = 8.0
"""Standard deviations that 2^b steps of the b-bit quantiser span: four on each side of the mean."""

AXES = 1_024
"""Numbers, at most, of a part of a code that is turned onto its principal axes."""

_MARGIN = 4  # beyond the range of the training codes there is room for a quarter of it, on each side
_UNSEEN = (
    0.5  # added to each count, so that what training never showed has a probability (Krichevsky-Trofimov)
)
_SAME = 1e-6  # deviation, as a part of the largest number, up to which a part is constant but for rounding
_ROWS = 250  # images at a time, where all at once would need several times the memory
_PER_NUMBER = 4  # training images for each number, without which principal axes are those of the sample

Counts = NDArray[np.int64]


def flat(code: Code) -> Tensor:
    """All numbers that reach the decoder, (N, D) float32: the latent, then each skip."""
    return torch.cat([part.float().flatten(1) for part in (code.z, *code.skips)], 1)


def unflat(x: Tensor, shapes: Sequence[torch.Size]) -> Code:
    """Turn numbers (N, D) back into the code whose parts have these shapes, without N."""
    parts = torch.split(x, [shape.numel() for shape in shapes], 1)
    z, *skips = (part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True))
    return Code(z, tuple(skips))


@dataclass(frozen=True)
class Part:
    """How a part of a code, the latent or a skip of K numbers, is laid out before it is rounded.

    Attributes:
        mean: (K,), over the training images.
        axes: (K, K), its principal axes in columns; None leaves its own coordinates.
        deviation: root mean square of its coordinates' standard deviations, which no rotation changes.
    """

    mean: Tensor
    axes: Tensor | None
    deviation: float

    def enter(self, x: Tensor) -> Tensor:
        """Map its numbers (N, K) to coordinates of mean 0 and mean variance 1 over the training images."""
        centred = (x - self.mean) / self.deviation
        return centred if self.axes is None else centred @ self.axes

    def leave(self, y: Tensor) -> Tensor:
        """Map coordinates (N, K) back to its numbers."""
        turned = y if self.axes is None else y @ self.axes.T
        return turned * self.deviation + self.mean


def _part(x: Tensor) -> Part:
    mean = x.mean(0, dtype=torch.float64).float()
    variances = x.var(0, correction=0)
    deviation = float(variances.mean().sqrt())
    if deviation <= _SAME * float(x.abs().max()):
        return Part(mean, None, 1.0)
    axes = None
    if x.shape[1] <= AXES and len(x) >= _PER_NUMBER * x.shape[1]:
        centred = x - mean
        axes = torch.linalg.eigh((centred.T @ centred).double()).eigenvectors.float()
    return Part(mean, axes, deviation)


@dataclass(frozen=True)
class Quantiser:
    """Rounds codes to steps of the same size in all coordinates of all parts.

    Coordinates are cut into cells of half the finest step, from which every coarser quantiser follows by
    whole numbers: the grids are nested, and encoder and decoder cannot round differently.

    Attributes:
        sizes: numbers of each part.
        parts: how each is laid out.
        low: (D,) the least cell of each coordinate; smaller ones are clipped to it.
        high: (D,) the greatest.
    """

    sizes: Sequence[int]
    parts: Sequence[Part]
    low: Whole
    high: Whole

    def cells(self, x: Tensor) -> tuple[Whole, int]:
        """Map codes (N, D) to their cells (N, D), and say how many numbers were clipped."""
        cells, clipped = np.empty(x.shape, np.int32), 0
        for rows in chunks(len(x)):
            y = _cut(_laid_out(x[rows], self.sizes, self.parts))
            cells[rows] = inside = y.clip(self.low, self.high)
            clipped += int((inside != y).sum())
        return cells, clipped

    def alphabet(self, bits: int) -> "Alphabet":
        """The steps of ``LOADING / 2^bits`` deviations; ``bits`` from 1 to ``FINEST``."""
        return Alphabet(self.low, self.high, FINEST - bits + 1)

    def decoded(self, whole: Whole, bits: int) -> Tensor:
        """Codes (N, D) in the middle of these steps (N, D)."""
        y = torch.from_numpy(whole).float() * (LOADING / 2**bits)
        parts = zip(self.parts, torch.split(y, list(self.sizes), 1), strict=True)
        return torch.cat([part.leave(own) for part, own in parts], 1)


def _laid_out(x: Tensor, sizes: Sequence[int], parts: Sequence[Part]) -> Tensor:
    split = zip(parts, torch.split(x, list(sizes), 1), strict=True)
    return torch.cat([part.enter(own) for part, own in split], 1)


def _cut(y: Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = (y * (2 ** (FINEST + 1) / LOADING)).floor_().numpy()
    return found


def fit(x: Tensor, sizes: Sequence[int]) -> Quantiser:
    """Lay out codes by what the training images' have in common.

    Args:
        x: codes (N, D) of training images.
        sizes: numbers of each part, together D.

    Raises:
        UserError: a number is not finite.
    """
    require_finite(x)
    parts = [_part(own) for own in torch.split(x, list(sizes), 1)]
    low, high = np.full(x.shape[1], np.inf), np.full(x.shape[1], -np.inf)
    for rows in chunks(len(x)):
        cells = _cut(_laid_out(x[rows], sizes, parts))
        low, high = np.minimum(low, cells.min(0)), np.maximum(high, cells.max(0))
    return Quantiser(sizes, parts, *with_room(low, high))


def with_room(low: NDArray[Any], high: NDArray[Any]) -> tuple[Whole, Whole]:
    """Widen ranges of cells, (D,) each, by a quarter on each side: for what training images do not show."""
    room = np.ceil((high - low) / _MARGIN)
    return (low - room).astype(np.int32), (high + room).astype(np.int32)


def require_finite(x: Tensor) -> None:
    """Refuse codes that no bits can stand for.

    Raises:
        UserError: a number is NaN or infinite.
    """
    if not torch.isfinite(x).all():
        raise UserError("a code holds NaN or infinity, which no quantiser can round; train the run again")


def chunks(n: int) -> Iterator[slice]:
    """Rows of ``n``, some hundred at a time."""
    return (slice(start, start + _ROWS) for start in range(0, n, _ROWS))


class Alphabet:
    """The steps that each coordinate can take, counted from 0.

    Args:
        low: (D,) the least cell of each coordinate.
        high: (D,) the greatest.
        joined: 2 to the power of ``joined`` cells make a step; 0 leaves each cell a step of its own.

    Attributes:
        low: (D,) the step that is counted as 0.
        levels: (D,) how many there are; one that has a single level costs nothing.
    """

    def __init__(self, low: Whole, high: Whole, joined: int = 0) -> None:
        self._joined = joined
        self.low = self._rounded(low)
        self.levels = self._rounded(high) - self.low + 1
        self._starts = np.concatenate([[0], np.cumsum(self.levels, dtype=np.int64)])

    def _rounded(self, cells: Whole) -> Whole:
        """To the nearest step, half a step up."""
        return (cells + (1 << self._joined >> 1)) >> self._joined

    def symbols(self, cells: Whole) -> Whole:
        """Map cells (N, D) to symbols (N, D), each in [0, levels)."""
        return self._rounded(cells) - self.low

    def counts(self, cells: Whole) -> Counts:
        """How often each symbol of each coordinate occurs, (sum of levels,)."""
        found = np.zeros(self._starts[-1], np.int64)
        for rows in chunks(len(cells)):
            places = self.places(self.symbols(cells[rows]))
            found += np.bincount(places.ravel(), minlength=len(found))
        return found

    def places(self, symbols: Whole) -> Counts:
        """Where each of the symbols (N, D) stands in an array that is laid out as ``counts``, (N, D)."""
        places: Counts = symbols + self._starts[:-1]
        return places

    def of(self, counts: Counts, coordinate: int) -> Counts:
        """The counts of one coordinate, (levels,)."""
        return counts[self._starts[coordinate] : self._starts[coordinate + 1]]


def entropy(counts: Counts, n: int, numbers: int) -> float:
    """Bits per image below which no static model of single numbers can code them.

    Args:
        counts: of the symbols of ``numbers`` coordinates in ``n`` images.
        n: images.
        numbers: coordinates.
    """
    seen = counts[counts > 0].astype(np.float64)
    return max(0.0, float(numbers * np.log2(n) - (seen * np.log2(seen)).sum() / n))


def coder(alphabet: Alphabet, counts: Counts) -> RangeCoder:
    """Return a coder of the symbols of an alphabet by how often training codes take each of them.

    Args:
        alphabet: of the symbols.
        counts: of the training images.

    Raises:
        UserError: constriction is not installed.
    """
    return RangeCoder([alphabet.of(counts, k) + _UNSEEN for k in range(len(alphabet.levels))])
