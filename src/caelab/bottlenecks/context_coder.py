"""Codes the latents of ``context``: what is expected of a number is computed in whole numbers.

Encoder and decoder must expect the very same, on any machine. So weights and what the layers hand on are
rounded to whole parts of ``1 / _WEIGHT`` and ``1 / _POINT``: all sums are then of whole numbers below 2^53,
which float64 holds exactly in any order. Ballé et al., "Integer Networks for Data Compression with
Latent-Variable Models" (2019).
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from caelab.bottlenecks.density import Density
from caelab.bottlenecks.entropy_coder import Coder, Grids, Tables
from caelab.bottlenecks.predictor import HIDDEN, HIGH, LOW, REACH, Block, Masked, Predictor
from caelab.bottlenecks.range_coder import Columns, Reader, Whole

_POINT, _MOST = 1 << 10, 1 << 18  # parts of what a layer hands on; such parts, at most
_WEIGHT, _HEAVIEST = 1 << 14, 1 << 18  # the same of weights
_SHARE = 1 << 12  # parts of ``_POINT`` in which the inverse of a spread is kept
_FARTHEST = 1 << 15  # steps that a layer is shown, at most
_FINE = 8  # levels an octave of spread, and a step of mean
_ROUGH = 2  # octaves of spread from which on whole means do
_PLACES = 1 << 16  # at once

Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]
Meet = Callable[[Indices, Indices, int, Indices, Indices], Whole]


class ContextCoder(Coder):
    """Codes the numbers of each place by what those before them let expect.

    Args:
        predictor: trained, of what is expected.
        density: that serves all numbers.
        grid: rows and columns of an image's places.
    """

    def __init__(self, predictor: Predictor, density: Density, grid: tuple[int, int]) -> None:
        self._expected, self._grid = Expected(predictor), grid
        octaves, means = _kinds()
        form = density.some(torch.zeros(len(octaves), dtype=torch.int64))
        form.spread = octaves.exp2().to(form.spread)
        self._tables = Tables(form, means)
        super().__init__(self._tables, content=self._expected.content)

    def symbols(self, whole: Whole, grids: Grids) -> tuple[Columns, Whole]:
        """Find numbers (M, numbers) in the tables by which they are coded, in that order."""
        pairs: list[tuple[int, Whole]] = []
        beyond: list[Whole] = [np.empty(0, np.int32)]
        for maps in self._parts(whole, grids):

            def meet(rows: Indices, columns: Indices, number: int, tables: Indices, shift: Indices) -> Whole:
                known = maps[:, rows, columns, number].ravel()  # noqa: B023 - it is done before the next
                symbols, far = self._tables.symbols((known - shift).astype(np.int32), tables)
                beyond.append(far)
                for table, which in _apart(tables):
                    pairs.append((table, symbols[which]))
                return known

            self._expected.walk(len(maps), maps.shape[1:3], meet)
        return pairs, np.concatenate(beyond)

    def whole(self, read: Reader, far: Whole, count: int, grids: Grids) -> tuple[Whole, Whole]:
        """Read numbers (count, numbers), each by what those that are read already let expect."""
        whole = np.empty((count, self._expected.numbers), np.int32)
        for maps in self._parts(whole, grids):

            def meet(rows: Indices, columns: Indices, number: int, tables: Indices, shift: Indices) -> Whole:
                nonlocal far
                symbols = np.empty(len(tables), np.int32)
                for table, which in _apart(tables):
                    symbols[which] = read(table, len(which))
                found, far = self._tables.whole(symbols, tables, far)
                found = (found + shift).astype(np.int32)
                maps[:, rows, columns, number] = found.reshape(len(maps), -1)  # noqa: B023 - as above
                return found

            self._expected.walk(len(maps), maps.shape[1:3], meet)
        return whole, far

    def _parts(self, whole: Whole, grids: Grids) -> Iterator[NDArray[np.int32]]:
        """Numbers (M, numbers) as maps (n, rows, columns, numbers) of images of one size, views of them."""
        if grids is None:
            grids = [self._grid] * (len(whole) // (self._grid[0] * self._grid[1]))
        start = 0
        for grid, same in groupby(grids):
            assert grid is not None
            (rows, columns), left = grid, len(list(same))
            while left:
                count = min(left, max(1, _PLACES // (rows * columns)))
                stop = start + count * rows * columns
                yield whole[start:stop].reshape(count, rows, columns, -1)
                start, left = stop, left - count


class Expected:
    """What a ``Predictor`` expects, in whole numbers.

    Args:
        predictor: trained.

    Attributes:
        numbers: of each place.
        content: all weights, in bytes.
    """

    def __init__(self, predictor: Predictor) -> None:
        spread = predictor.spread.detach().cpu().double()
        self.numbers = len(spread)
        self._spread = (spread * _POINT).round().numpy()
        self._shares = (_SHARE * _POINT / spread).round().numpy()
        self._octaves = (spread.log2() * _POINT).round().numpy()
        self._sizes = (
            (torch.arange(_FARTHEST + 1, dtype=torch.float64) + 1).log2().mul(_POINT).round().numpy()
        )
        self._first = _windowed(predictor.first)
        blocks = [block for block in predictor.blocks if isinstance(block, Block)]
        self._blocks = [(_windowed(block.masked), _layer(block.own)) for block in blocks]
        self._told = _layer(predictor.told)
        before = _parts_of(predictor.before.weight * predictor.earlier)[:, :, 0, 0]
        self._before = before.reshape(self.numbers, HIDDEN, -1).transpose(1, 2).contiguous().numpy()
        last = _parts_of(predictor.last.weight)[:, :, 0, 0].reshape(self.numbers, 2, HIDDEN)
        assert predictor.last.bias is not None
        self._last = last.transpose(1, 2).numpy()
        self._start = (_parts_of(predictor.last.bias) * _POINT).reshape(self.numbers, 2).numpy()
        self._seen = predictor.first.seen, [block.masked.seen for block in blocks]
        layers = [self._first, self._told, *(layer for block in self._blocks for layer in block)]
        arrays = [one for layer in layers for one in layer] + [self._before, self._last, self._start]
        arrays += [self._spread, self._shares, self._octaves, self._sizes]
        self.content = b"".join(one.tobytes() for one in arrays)

    def walk(self, count: int, grid: Sequence[int], meet: Meet) -> None:
        """Go through the numbers of ``count`` images with a grid of places, in the order of the code.

        Places are met in waves that run down to the left: all that those of one see lies in waves before.

        Args:
            count: images.
            grid: rows and columns of each.
            meet: is called for each number of each wave, with rows and columns of its places, (p,), the
                number, the table of each, (count * p,), and what to take from a number before it is looked up
                there. It returns the numbers, (count * p,).
        """
        rows, columns = grid
        shown = np.zeros((count, rows + REACH, columns + 2 * REACH, 2 * self.numbers + 1))
        width = self._first[1].size
        maps = [np.zeros((count, rows + 1, columns + 2, width)) for _ in self._blocks]
        every = np.arange(rows)
        for wave in range(columns + (REACH + 1) * (rows - 1)):
            row = every[(across := wave - (REACH + 1) * every) >= 0]
            row = row[across[row] < columns]
            column = across[row]
            if not len(row):  # of less than three columns
                continue
            h = _through(_window(shown, REACH, row, column, self._seen[0]), *self._first)
            for inner, block, seen in zip(maps, self._blocks, self._seen[1], strict=True):
                inner[:, row + 1, column + 1] = h.clip(0).reshape(count, len(row), -1)
                hidden = _through(_window(inner, 1, row, column, seen), *block[0])
                h = (h + _through(hidden.clip(0), *block[1])).clip(-_MOST, _MOST)
            told = (h.clip(0) @ self._told[0] + self._told[1]).reshape(len(h), self.numbers, -1)
            features = np.zeros((len(h), 2 * self.numbers + 1))
            features[:, -1] = _POINT
            for number in range(self.numbers):
                hidden = told[:, number] + features[:, :-1] @ self._before[number]
                hidden = _rounded(hidden / _WEIGHT).clip(0)
                found = _rounded((hidden @ self._last[number] + self._start[number]) / _WEIGHT)
                tables, shift = self._kind(number, *found.T)
                whole = meet(row, column, number, tables, shift)
                features[:, number], features[:, self.numbers + number] = self._features(number, whole)
            shown[:, row + REACH, column + REACH] = features.reshape(count, len(row), -1)

    def _kind(self, number: int, mean: Numbers, octaves: Numbers) -> tuple[Indices, Indices]:
        """Table by which numbers are coded, and what is taken from them before."""
        fine = np.rint(mean * self._spread[number] * _FINE / _POINT**2).astype(np.int64)
        level = ((octaves + self._octaves[number]) / _POINT).clip(LOW, HIGH) - LOW
        level = np.rint(_FINE * level).astype(np.int64)
        shift = (fine + _FINE // 2) // _FINE
        few = _FINE * (_ROUGH - LOW)
        return np.where(
            level < few, level * _FINE + fine - (shift * _FINE - _FINE // 2), few * (_FINE - 1) + level
        ), shift

    def _features(self, number: int, whole: Whole) -> tuple[Numbers, Numbers]:
        """What layers are shown of numbers: in spreads, and the logarithm of their size."""
        near = whole.astype(np.float64).clip(-_FARTHEST, _FARTHEST)
        return _rounded(near * self._shares[number] / _SHARE), self._sizes[np.abs(near).astype(np.int64)]


def _kinds() -> tuple[Tensor, Tensor]:
    """Octaves and means of all tables: levels of spread, the small ones with each part of a step of mean."""
    levels = torch.arange(_FINE * (HIGH - LOW) + 1)
    few = _FINE * (_ROUGH - LOW)
    means = (torch.arange(_FINE) - _FINE // 2) / _FINE
    octaves = torch.cat([levels[:few].repeat_interleave(_FINE), levels[few:]]) / _FINE + LOW
    return octaves, torch.cat([means.repeat(few), torch.zeros(len(levels) - few)])


def _parts_of(weight: Tensor) -> Tensor:
    """Weights in whole parts of ``1 / _WEIGHT``."""
    return (weight.detach().cpu().double() * _WEIGHT).round().clamp(-_HEAVIEST, _HEAVIEST)


def _layer(conv: nn.Conv2d) -> tuple[Numbers, Numbers]:
    """Weights (n_in, n_out) and biases of a convolution of one place."""
    assert conv.bias is not None
    return _parts_of(conv.weight)[:, :, 0, 0].T.numpy(), (_parts_of(conv.bias) * _POINT).numpy()


def _windowed(conv: Masked) -> tuple[Numbers, Numbers]:
    """Weights (places that it sees * n_in, n_out) and biases of a masked convolution."""
    assert conv.bias is not None
    weight = _parts_of(conv.weight).flatten(2)[:, :, : len(conv.seen)].permute(2, 1, 0)
    return weight.flatten(0, 1).contiguous().numpy(), (_parts_of(conv.bias) * _POINT).numpy()


def _through(x: Numbers, weight: Numbers, bias: Numbers) -> Numbers:
    return _rounded((x @ weight + bias) / _WEIGHT)


def _rounded(x: Numbers) -> Numbers:
    return np.rint(x).clip(-_MOST, _MOST)


def _window(
    maps: Numbers, reach: int, row: Indices, column: Indices, seen: Sequence[tuple[int, int]]
) -> Numbers:
    """What places see of maps (n, rows + reach, columns + 2 * reach, channels): (n * p, seen * channels)."""
    found = [maps[:, row + reach + down, column + reach + right] for down, right in seen]
    return np.stack(found, 2).reshape(len(maps) * len(row), -1)


def _apart(tables: Indices) -> Iterator[tuple[int, Indices]]:
    """Yield each table that occurs, and where."""
    order = np.argsort(tables, kind="stable")
    counts = np.bincount(tables)
    present = np.flatnonzero(counts)
    yield from zip(present.tolist(), np.split(order, np.cumsum(counts[present])[:-1]), strict=True)
