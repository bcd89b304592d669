"""A latent that is rounded and coded by spreads, which are told by numbers that are coded ahead of it."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from caelab.bottlenecks.bottleneck import whole_number
from caelab.bottlenecks.density import Density
from caelab.bottlenecks.entropy import Entropy, spreads
from caelab.bottlenecks.entropy_coder import Coder, Grids, Tables
from caelab.bottlenecks.range_coder import Columns, Reader, Whole
from caelab.draws import keys, uniform

_TELLING, _SILENT = 2.0, 0.25  # steps: spreads of what is coded ahead, at the start
_LEAST = 1e-3  # octaves: a spread that is taken for none
_ZERO = 0.3  # steps: what is added to the size of a number before its logarithm
_LOW, _HIGH = -4, 10  # octaves: of the least and the largest spread that has a table
_FINE = 8  # tables an octave
_POINT = 1 << 16  # weights of the coder are whole numbers of its parts
_HEAVIEST, _FARTHEST = 64 * _POINT, 1 << 15  # such a weight, and what is coded ahead, at most
_ROWS = 1024  # places at once


class Hyperprior(Entropy):
    """Rounds numbers as ``Entropy`` does, and codes those of a place by spreads that are told ahead of them.

    Ballé et al., "Variational image compression with a scale hyperprior" (2018), with one linear layer on
    each side. A place is a patch of ``Spatial``; of any other network it is the whole code. The sizes of its
    numbers, as whole steps, become ``ahead`` numbers, which are rounded and coded first, by a density each.
    From them follows how far each number of the place spreads, in octaves::

        whole --> log2(|whole| + 0.3) --> linear --> noise or rounding --> coded ahead
                                                                               |
        coded by f(whole / 2^octaves)  <-- octaves <-- linear <----------------+

    One learnt density ``f`` serves all numbers; in the paper it is a normal distribution. What comes ahead
    follows from the whole steps alone, so ``z`` is all that a file has to hold.

    Args:
        latent: numbers in ``z`` per image.
        price: of a bit: see ``Entropy``.
        step: of the rounding at the start: see ``Entropy``.
        ahead: numbers that are coded ahead of each place; one that is not worth its bits costs almost none.
        noisy: epochs of training with noise: see ``Entropy``.

    Raises:
        ValueError: a value that cannot be; the message starts with the parameter's name.
    """

    def __init__(
        self,
        latent: int,
        price: float = 0.005,
        step: float | None = None,
        ahead: int = 8,
        noisy: int | None = None,
    ) -> None:
        self.ahead = whole_number("ahead", ahead, 1)
        super().__init__(latent, price, step, noisy)

    def at_places(self, numbers: int) -> None:
        """Be told that ``z`` has ``numbers`` at every place."""
        super().at_places(numbers)
        self.density, self.form = Density(self.ahead), Density(1)
        self.tell, self.hear = nn.Linear(numbers, self.ahead), nn.Linear(self.ahead, numbers)

    def start_densities(self, steps: Tensor) -> None:
        """Start from the principal components of the sizes of steps (M, numbers).

        The first one tells the spreads. The others are small, so that they cost little until they help.
        """
        sizes = _sizes(steps.round())
        components, values, _ = torch.linalg.svd((sizes - sizes.mean(0)).T, full_matrices=False)
        count = min(self.ahead, len(values))
        spread = (values[:count] / math.sqrt(len(sizes))).clamp(min=_LEAST)
        told = torch.full_like(spread, _SILENT).index_fill_(0, torch.zeros(1, dtype=torch.int64), _TELLING)
        self.tell.weight.zero_()[:count] = components.T[:count] * (told / spread)[:, None]
        self.tell.bias.copy_(-self.tell.weight @ sizes.mean(0))
        self.hear.weight.zero_()[:, 0] = components[:, 0] * spread[0] / told[0]
        self.hear.bias.zero_()
        octaves = self.hear(self.tell(sizes).round())
        self.hear.bias.copy_(spreads(steps / octaves.exp2()).log2())
        self.density.spread.fill_(_SILENT)[0] = _TELLING

    def cost(self, y: Tensor, whole: Tensor, key: Tensor | None) -> Tensor:
        """Bits (M,) of steps, with what comes ahead of them: see ``Entropy``."""
        told = self.tell(_sizes(whole))
        if key is None:
            told = told + (told.round() - told).detach()
        else:
            told = told + (uniform(keys(key, 1), told.numel() // len(key)) - 0.5).reshape(told.shape)
        octaves = self.hear(told)
        octaves = octaves + (octaves.clamp(_LOW, _HIGH) - octaves).detach()
        return self.density.bits(told).sum(1) + self.form.bits_around(y, octaves.exp2()).sum(1)

    def slopes(self, y: Tensor) -> Tensor:
        """Derivatives of the bits of steps (M, numbers); what comes ahead of them is taken as it is."""
        scale = self.hear(self.tell(_sizes(y.round())).round()).clamp(_LOW, _HIGH).exp2()
        return self.form.slopes_around(y, scale)

    def coder(self) -> Coder:
        """Return what codes whole steps (M, numbers), and what comes ahead of them.

        Raises:
            UserError: constriction is not installed.
        """
        return HyperpriorCoder(self)

    @torch.no_grad()
    def first(self, whole: Whole) -> Whole:
        """What comes ahead of steps (M, numbers): (M, ahead)."""
        parts = torch.split(torch.from_numpy(whole), _ROWS)
        told = [self.tell(_sizes(part.to(self.gain))).round().clamp(-_FARTHEST, _FARTHEST) for part in parts]
        return torch.cat(told).int().cpu().numpy()

    @torch.no_grad()
    def tables(self, first: Whole) -> NDArray[np.uint8]:
        """Index of the table by which each number of M places is coded, (M, numbers).

        Encoder and decoder must find the very same, on any machine. So weights are rounded to whole parts of
        ``1 / _POINT``: all sums are then of whole numbers below 2^53, which float64 holds exactly.

        Args:
            first: what comes ahead, (M, ahead).
        """
        weight, bias = (
            (_POINT * one.cpu().double()).round().clamp(-_HEAVIEST, _HEAVIEST)
            for one in (self.hear.weight, self.hear.bias)
        )
        found = []
        for part in torch.split(torch.from_numpy(first).double().clamp(-_FARTHEST, _FARTHEST), _ROWS):
            octaves = F.linear(part, weight, bias) / _POINT
            found.append((_FINE * (octaves.clamp(_LOW, _HIGH) - _LOW)).round().byte())
        return torch.cat(found).numpy()


def _sizes(whole: Tensor) -> Tensor:
    """Logarithm, to base 2, of how large steps are; 0 has one, too."""
    return (whole.abs() + _ZERO).log2()


class HyperpriorCoder(Coder):
    """Codes numbers by the spreads that others tell, which are coded ahead of all.

    Args:
        bottleneck: that has learnt them.
    """

    def __init__(self, bottleneck: Hyperprior) -> None:
        octaves = torch.arange(_FINE * (_HIGH - _LOW) + 1) / _FINE + _LOW
        form = bottleneck.form.some(torch.zeros(len(octaves), dtype=torch.int64))
        form.spread = octaves.exp2().to(form.spread)
        self._first, self._later = Tables(bottleneck.density), Tables(form)
        self._bottleneck, self._ahead = bottleneck, np.arange(bottleneck.ahead)
        super().__init__(self._first, self._later)

    def symbols(self, whole: Whole, grids: Grids) -> tuple[Columns, Whole]:
        """Split numbers (M, numbers), and what comes ahead of them, into the symbols of each table."""
        first = self._bottleneck.first(whole)
        tables = self._bottleneck.tables(first)
        ahead, far = self._first.symbols(first, self._ahead)
        symbols, farther = self._later.symbols(whole, tables)
        order, counts = self._sorted(tables)
        columns = np.split(symbols.ravel()[order], np.cumsum(counts)[:-1])
        return enumerate([*np.ascontiguousarray(ahead.T), *columns]), np.concatenate([far, farther])

    def whole(self, read: Reader, far: Whole, count: int, grids: Grids) -> tuple[Whole, Whole]:
        """Read what comes ahead, and then the numbers themselves."""
        ahead = np.stack([read(number, count) for number in self._ahead.tolist()], 1)
        first, far = self._first.whole(ahead, self._ahead, far)
        tables = self._bottleneck.tables(first)
        order, counts = self._sorted(tables)
        symbols = np.empty(tables.size, np.int32)
        columns = [read(len(self._ahead) + table, number) for table, number in enumerate(counts.tolist())]
        symbols[order] = np.concatenate(columns)
        return self._later.whole(symbols.reshape(tables.shape), tables, far)

    def _sorted(self, tables: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Order in which numbers are coded, table after table, and how many each table has."""
        order = np.argsort(tables, axis=None, kind="stable")
        return order, np.bincount(tables.ravel(), minlength=len(self._later.weights))
