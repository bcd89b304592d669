"""Rounded latents as bytes: whole frequencies that follow from learnt densities, and a range coder.

Encoder and decoder must have the very same frequencies. They are computed anew on each side, in float64 on
the CPU, and rounded to whole numbers, so that another processor's last bits seldom matter; where they do, the
``digest`` says so. A number beyond its table takes the table's last symbol, and 32 bits beside the stream.
"""

import hashlib
import zlib
from copy import deepcopy
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from caelab.bottlenecks.entropy import Density
from caelab.bottlenecks.range_coder import RangeCoder, Whole, Words

_WHOLE = 1 << 20  # what the frequencies of a number add up to, about
_FARTHEST = 1 << 14  # steps from the median, at most, that a table reaches
_TAIL = 14.0  # logit: beyond it a table need not reach


class Stream(NamedTuple):
    """Coded numbers.

    Attributes:
        words: of the range coder, (n,) uint32.
        far: numbers beyond their tables, in order, (m,) int32.
        check: CRC-32 of all numbers, which a decoder must find again.
    """

    words: Words
    far: NDArray[np.int32]
    check: int

    @property
    def nbytes(self) -> int:
        """Bytes of words and far numbers."""
        return self.words.nbytes + self.far.nbytes


class EntropyCoder:
    """Codes whole numbers by the tables of their densities.

    Args:
        density: of each number.

    Attributes:
        digest: SHA-256 of the tables, hexadecimal.

    Raises:
        UserError: constriction is not installed.
    """

    def __init__(self, density: Density) -> None:
        tables = _tables(density)
        self._low = np.array([low for low, _ in tables], np.int32)
        self._escapes = np.array([len(weights) - 1 for _, weights in tables], np.int32)
        self._coder = RangeCoder([weights for _, weights in tables])
        parts = [self._low, self._escapes, *(weights for _, weights in tables)]
        self.digest = hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()

    def encode(self, whole: Whole) -> Stream:
        """Code numbers (M, numbers) as one stream."""
        symbols = whole.astype(np.int64) - self._low
        outside = (symbols < 0) | (symbols >= self._escapes)
        symbols = np.where(outside, self._escapes, symbols).astype(np.int32)
        return Stream(self._coder.encode(symbols), whole[outside], _check(whole))

    def decode(self, stream: Stream, count: int) -> Whole:
        """Read numbers (count, numbers) again.

        Raises:
            ValueError: they are not those that were coded.
        """
        try:
            symbols = self._coder.decode(stream.words, count)
        except (AssertionError, RuntimeError) as error:
            raise ValueError(str(error)) from None
        outside = symbols == self._escapes
        whole = symbols + self._low
        if np.count_nonzero(outside) == len(stream.far):
            whole[outside] = stream.far
            if _check(whole) == stream.check:
                return whole
        raise ValueError("its numbers are not those that were coded")


def _check(whole: Whole) -> int:
    return zlib.crc32(np.ascontiguousarray(whole, "<i4").tobytes())


@torch.no_grad()
def _tables(density: Density) -> list[tuple[int, NDArray[np.int32]]]:
    """Of each number the least step in its table, and the frequencies of the steps from there on.

    The last frequency is that of all other steps together.
    """
    density = deepcopy(density).cpu().double()
    numbers = len(density.spread)
    reach = _reach(density)
    tables: list[tuple[int, NDArray[np.int32]]] = [(0, np.ones(1, np.int32))] * numbers
    for steps in torch.unique(reach).tolist():
        which = torch.nonzero(reach == steps).flatten()
        ends = torch.arange(-steps, steps + 2, dtype=torch.float64) - 0.5
        shares = torch.sigmoid(_some(density, which).logits(ends.expand(len(which), -1))).diff(dim=1)
        for number, own in zip(which.tolist(), (shares * _WHOLE).round().int().numpy(), strict=True):
            first, *_, last = np.flatnonzero(own).tolist() * 2 or (steps, steps)
            kept = own[first : last + 1].clip(min=1)
            rest = max(1, _WHOLE - int(kept.sum()))
            tables[number] = (first - steps, np.append(kept, rest).astype(np.int32))
    return tables


def _reach(density: Density) -> torch.Tensor:
    """Steps from the median (numbers,) within which almost all of each density lies: powers of two."""
    reach = torch.full_like(density.spread, _FARTHEST, dtype=torch.long)
    steps = _FARTHEST
    while steps > 1:
        steps //= 2
        ends = torch.tensor([-steps - 0.5, steps + 0.5], dtype=torch.float64).expand(len(reach), -1)
        low, high = density.logits(ends).T
        reach[(low < -_TAIL) & (high > _TAIL)] = steps
    return reach


def _some(density: Density, which: torch.Tensor) -> Density:
    """The densities of some numbers."""
    some = deepcopy(density)
    for one in (*some.weights, *some.biases, *some.bends, some.spread):
        one.data = one.data[which]
    return some
