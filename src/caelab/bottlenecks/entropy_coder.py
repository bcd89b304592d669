"""Rounded latents as bytes: whole frequencies that follow from learnt densities, and a range coder.

Encoder and decoder must have the very same frequencies. They are computed anew on each side, in float64 on
the CPU, and rounded to whole numbers, so that another processor's last bits seldom matter; where they do, the
``digest`` says so. A number beyond its table takes the table's last symbol, and 32 bits beside the stream.
"""

import hashlib
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from caelab.bottlenecks.density import Density
from caelab.bottlenecks.range_coder import Columns, RangeCoder, Reader, Whole, Words

_WHOLE = 1 << 20  # what the frequencies of a number add up to, about
_FARTHEST = 1 << 14  # steps from the median, at most, that a table reaches
_TAIL = 14.0  # logit: beyond it a table need not reach
_OTHERS = "its numbers are not those that were coded"

Which = NDArray[np.integer[Any]]
Grids = Sequence[tuple[int, int] | None] | None


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


class Tables:
    """Whole frequencies of steps from the median, a table for each density.

    Args:
        density: as many as there are to be tables.
        mean: of each, in steps, (tables,); None is 0 of all.

    Attributes:
        weights: frequencies of each table, (levels,); the last is that of all steps beyond it.
        content: all of it, in bytes.
    """

    def __init__(self, density: Density, mean: torch.Tensor | None = None) -> None:
        tables = _tables(density, torch.zeros_like(density.spread) if mean is None else mean)
        self.weights = [weights for _, weights in tables]
        self._low = np.array([low for low, _ in tables], np.int32)
        self._escapes = np.array([len(weights) - 1 for weights in self.weights], np.int32)
        self.content = b"".join(part.tobytes() for part in (self._low, self._escapes, *self.weights))

    def symbols(self, whole: Whole, table: Which) -> tuple[Whole, Whole]:
        """Find numbers in their tables.

        Args:
            whole: (M, numbers).
            table: index of the table of each, (M, numbers) or (numbers,).

        Returns:
            The place of each in its table, and those that lie beyond, (m,).
        """
        symbols, escapes = whole.astype(np.int64) - self._low[table], self._escapes[table]
        outside = (symbols < 0) | (symbols >= escapes)
        return np.where(outside, escapes, symbols).astype(np.int32), whole[outside]

    def whole(self, symbols: Whole, table: Which, far: Whole) -> tuple[Whole, Whole]:
        """Return the numbers of ``symbols``, and what they leave of ``far``.

        Raises:
            ValueError: more numbers lie beyond their tables than ``far`` has.
        """
        outside = symbols == self._escapes[table]
        whole, count = symbols + self._low[table], np.count_nonzero(outside)
        if count > len(far):
            raise ValueError(_OTHERS)
        whole[outside] = far[:count]
        return whole, far[count:]


class Coder(ABC):
    """Codes whole numbers by tables.

    Args:
        tables: of the symbols.
        content: all else that encoder and decoder must have alike, in bytes.

    Attributes:
        digest: SHA-256 of the tables and of that content, hexadecimal.

    Raises:
        UserError: constriction is not installed.
    """

    def __init__(self, *tables: Tables, content: bytes = b"") -> None:
        self._coder = RangeCoder([weights for one in tables for weights in one.weights])
        self.digest = hashlib.sha256(b"".join(one.content for one in tables) + content).hexdigest()

    @abstractmethod
    def symbols(self, whole: Whole, grids: Grids) -> tuple[Columns, Whole]:
        """Split numbers (M, numbers) into symbols and those beyond the tables, (m,).

        Args:
            whole: the numbers.
            grids: see ``encode``.

        Returns:
            Tables and the symbols that each of them codes, in the order of the stream.
        """

    @abstractmethod
    def whole(self, read: Reader, far: Whole, count: int, grids: Grids) -> tuple[Whole, Whole]:
        """Return numbers (count, numbers) from a stream, and what they leave of ``far``."""

    def encode(self, whole: Whole, grids: Grids = None) -> Stream:
        """Code numbers (M, numbers) as one stream.

        Args:
            whole: the numbers.
            grids: rows and columns of the places of each image, for codes that keep their place; None is the
                grid of the bottleneck for all of them.
        """
        symbols, far = self.symbols(whole, grids)
        return Stream(self._coder.encode_each(symbols), far, _check(whole))

    def decode(self, stream: Stream, count: int, grids: Grids = None) -> Whole:
        """Read numbers (count, numbers) again; ``grids`` as they were encoded with.

        Raises:
            ValueError: they are not those that were coded.
        """
        try:
            whole, left = self.whole(self._coder.reader(stream.words), stream.far, count, grids)
        except (AssertionError, RuntimeError) as error:
            raise ValueError(str(error)) from None
        if len(left) or _check(whole) != stream.check:
            raise ValueError(_OTHERS)
        return whole


class EntropyCoder(Coder):
    """Codes numbers each by a density of its own.

    Args:
        density: of each number.
    """

    def __init__(self, density: Density) -> None:
        self._tables = Tables(density)
        self._numbers = np.arange(len(self._tables.weights))
        super().__init__(self._tables)

    def symbols(self, whole: Whole, grids: Grids) -> tuple[Columns, Whole]:
        """Split numbers (M, numbers) into columns."""
        symbols, far = self._tables.symbols(whole, self._numbers)
        return enumerate(symbols.T), far

    def whole(self, read: Reader, far: Whole, count: int, grids: Grids) -> tuple[Whole, Whole]:
        """Read the columns."""
        symbols = np.stack([read(number, count) for number in self._numbers.tolist()], 1)
        return self._tables.whole(symbols, self._numbers, far)


def _check(whole: Whole) -> int:
    return zlib.crc32(np.ascontiguousarray(whole, "<i4").tobytes())


@torch.no_grad()
def _tables(density: Density, mean: torch.Tensor) -> list[tuple[int, NDArray[np.int32]]]:
    """Of each number the least step in its table, and the frequencies of the steps from there on.

    The last frequency is that of all other steps together.
    """
    density, mean = deepcopy(density).cpu().double(), mean.cpu().double()[:, None]
    numbers = len(density.spread)
    reach = _reach(density, mean)
    tables: list[tuple[int, NDArray[np.int32]]] = [(0, np.ones(1, np.int32))] * numbers
    for steps in torch.unique(reach).tolist():
        which = torch.nonzero(reach == steps).flatten()
        ends = torch.arange(-steps, steps + 2, dtype=torch.float64) - 0.5
        shares = torch.sigmoid(density.some(which).logits(ends - mean[which])).diff(dim=1)
        for number, own in zip(which.tolist(), (shares * _WHOLE).round().int().numpy(), strict=True):
            first, *_, last = np.flatnonzero(own).tolist() * 2 or (steps, steps)
            kept = own[first : last + 1].clip(min=1)
            rest = max(1, _WHOLE - int(kept.sum()))
            tables[number] = (first - steps, np.append(kept, rest).astype(np.int32))
    return tables


def _reach(density: Density, mean: torch.Tensor) -> torch.Tensor:
    """Steps from the median (numbers,) within which almost all of each density lies: powers of two."""
    reach = torch.full_like(density.spread, _FARTHEST, dtype=torch.long)
    steps = _FARTHEST
    while steps > 1:
        steps //= 2
        ends = torch.tensor([-steps - 0.5, steps + 0.5], dtype=torch.float64)
        low, high = density.logits(ends - mean).T
        reach[(low < -_TAIL) & (high > _TAIL)] = steps
    return reach
