"""Learnt distributions of numbers that are rounded to whole steps."""

import math
from copy import deepcopy
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WIDTHS = (1, 3, 3, 3, 1)  # of the layers of a density, as in Ballé et al.
_FLAT = 1e-6  # the least rise of a logit over one step


class Density(nn.Module):
    """Learnt cumulative distributions of several numbers, each with median 0.

    That of a number is ``sigmoid(f(y) - f(0))``, with ``f`` a rising network of four layers: ``H y + b`` with
    ``H > 0``, then ``y + tanh(a) tanh(y)``. It starts as a logistic distribution of standard deviation
    ``spread``.

    Args:
        numbers: how many there are.
    """

    def __init__(self, numbers: int) -> None:
        super().__init__()
        slope = (math.pi / math.sqrt(3)) ** (1 / (len(_WIDTHS) - 1))
        self.weights, self.biases, self.bends = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        for n_in, n_out in pairwise(_WIDTHS):
            weight = math.log(math.expm1(slope / n_out))
            self.weights.append(torch.full((numbers, n_out, n_in), weight))
            self.biases.append(torch.rand(numbers, n_out, 1) - 0.5)
            if n_out > 1:
                self.bends.append(torch.zeros(numbers, n_out, 1))
        self.spread: Tensor
        self.register_buffer("spread", torch.ones(numbers))

    def logits(self, y: Tensor) -> Tensor:
        """Logits of the cumulative distributions at ``y`` (numbers, M), of the parameters' type."""
        return self._passed(self._at(y), None)[0]

    def rising(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """``logits`` at ``y`` (numbers, M), and their derivatives by ``y``, (numbers, M) each."""
        x = self._at(y)
        logits, rises = self._passed(x, (1 / self.spread)[:, None, None].expand_as(x))
        assert rises is not None
        return logits, rises[:, 0, 1:]

    def _at(self, y: Tensor) -> Tensor:
        """Numbers (numbers, M) behind a 0 of each, in spreads: (numbers, 1, 1 + M)."""
        return (torch.cat([torch.zeros_like(y[:, :1]), y], 1) / self.spread[:, None])[:, None]

    def _passed(self, x: Tensor, rise: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Logits (numbers, M) of ``x`` (numbers, 1, 1 + M), and how fast they rise where ``x`` does so."""
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            slope = F.softplus(weight)
            x = slope @ x + bias
            rise = rise if rise is None else slope @ rise
            if layer < len(self.bends):
                bend, bent = torch.tanh(self.bends[layer]), torch.tanh(x)
                x = x + bend * bent
                rise = rise if rise is None else rise * (1 + bend * (1 - bent.square()))
        return x[:, 0, 1:] - x[:, 0, :1], rise

    def bits(self, whole: Tensor) -> Tensor:
        """Bits of each number of ``whole`` (M, numbers): ``-log2`` of the probability of a step around it."""
        y = whole.T
        low, high = self.logits(torch.cat([y - 0.5, y + 0.5], 1)).chunk(2, 1)
        return bits_between(low, high).T

    def slopes(self, y: Tensor) -> Tensor:
        """Derivatives of ``bits`` by ``y``, (M, numbers)."""
        ends = torch.cat([y.T - 0.5, y.T + 0.5], 1)
        logits, rises = self.rising(ends)
        return slopes_between(*logits.chunk(2, 1), *rises.chunk(2, 1)).T

    def bits_around(self, y: Tensor, scale: Tensor, mean: Tensor | float = 0.0) -> Tensor:
        """Bits of numbers ``y`` (M, numbers) by a single density, moved to a mean and widened for each."""
        ends = (torch.stack([y - 0.5, y + 0.5]) - mean) / scale  # (2, M, numbers)
        low, high = self.logits(ends.reshape(1, -1)).reshape(ends.shape)
        return bits_between(low, high)

    def slopes_around(self, y: Tensor, scale: Tensor, mean: Tensor | float = 0.0) -> Tensor:
        """Derivatives of ``bits_around`` by ``y``, (M, numbers)."""
        ends = ((torch.stack([y - 0.5, y + 0.5]) - mean) / scale).reshape(1, -1)
        (low, high), (rise_low, rise_high) = (one.reshape(2, *y.shape) for one in self.rising(ends))
        return slopes_between(low, high, rise_low, rise_high) / scale

    def some(self, which: Tensor) -> "Density":
        """Copy those of some numbers, (n,) int64, in that order."""
        some = deepcopy(self)
        for one in (*some.weights, *some.biases, *some.bends, some.spread):
            one.data = one.data[which]
        return some


def bits_between(low: Tensor, high: Tensor) -> Tensor:
    """Bits of a step: ``-log2`` of its probability, by the logits at its ends.

    With ``l`` and ``u`` these logits, the probability is
    ``sigmoid(u) - sigmoid(l) = sigmoid(u) sigmoid(-l) (1 - exp(l - u))``, without cancellation.
    """
    rise = (high - low).clamp(min=_FLAT)
    nats = F.logsigmoid(high) + F.logsigmoid(-low) + torch.log(-torch.expm1(-rise))
    return -nats / math.log(2)


def slopes_between(low: Tensor, high: Tensor, rise_low: Tensor, rise_high: Tensor) -> Tensor:
    """Derivative of ``bits_between`` where both ends move, by how fast the logits at them rise.

    That of the probability is ``sigmoid(u) sigmoid(-u) u' - sigmoid(l) sigmoid(-l) l'``.
    """
    nats = math.log(2) * bits_between(low, high)
    up, down = (
        rise * torch.exp(F.logsigmoid(end) + F.logsigmoid(-end) + nats)
        for end, rise in ((high, rise_high), (low, rise_low))
    )
    return (down - up) / math.log(2)
