"""What is to be expected of each number of a code that keeps its place, by the numbers before it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LOW, HIGH = -5, 8
"""Octaves: of the least and the largest spread that a number is coded by."""

HIDDEN = 16
"""Hidden numbers of the layers that look at the numbers before one of the same place."""

REACH = 2
"""Places to each side that the first layer sees; those behind it see one."""


class Predictor(nn.Module):
    """What is to be expected of each number, by the places before its own and the numbers before it there.

    Args:
        numbers: of each place.
        channels: of the masked convolutions.
        blocks: see ``Block``; how many.

    Attributes:
        spread: of each number in steps, (numbers,), in which layers are shown it: about that before training.
    """

    spread: Tensor

    def __init__(self, numbers: int, channels: int, blocks: int) -> None:
        super().__init__()
        self.register_buffer("spread", torch.ones(numbers))
        shown = 2 * numbers + 1
        self.first = Masked(shown, channels, REACH, own=False)
        self.blocks = nn.ModuleList(Block(channels) for _ in range(blocks))
        self.told = nn.Conv2d(channels, numbers * HIDDEN, 1)
        self.before = nn.Conv2d(2 * numbers, numbers * HIDDEN, 1, bias=False)
        self.last = nn.Conv2d(numbers * HIDDEN, 2 * numbers, 1, groups=numbers)
        place = torch.arange(numbers)
        earlier = (place < place[:, None]).repeat_interleave(HIDDEN, 0).repeat(1, 2)
        self.earlier: Tensor
        self.register_buffer("earlier", earlier[:, :, None, None].float(), persistent=False)
        with torch.no_grad():
            self.last.weight.zero_()
            assert self.last.bias is not None
            self.last.bias.zero_()

    def forward(self, whole: Tensor) -> tuple[Tensor, Tensor]:
        """Means and octaves of the spreads, (N, numbers, h, w) each, of whole steps of that shape."""
        each = self.spread[:, None, None]
        features = torch.cat([whole / each, torch.log2(1 + whole.abs())], 1)
        h = self.first(torch.cat([features, torch.ones_like(whole[:, :1])], 1))
        for block in self.blocks:
            h = block(h)
        before = F.conv2d(features, self.before.weight * self.earlier)
        last = self.last(F.relu(before + self.told(F.relu(h))))
        mean, octaves = last.float().unflatten(1, (-1, 2)).unbind(2)
        octaves = octaves + each.log2()
        return mean * each, octaves + (octaves.clamp(LOW, HIGH) - octaves).detach()


class Block(nn.Module):
    """A masked convolution and one of its own place, added to what they are given.

    Args:
        channels: in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.masked, self.own = Masked(channels, channels, 1, own=True), nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, h, w) to the same shape."""
        return x + self.own(F.relu(self.masked(F.relu(x))))  # type: ignore[no-any-return]


class Masked(nn.Conv2d):
    """A convolution that sees the rows above, and of its own row what is to the left.

    Args:
        n_in: channels.
        n_out: channels.
        reach: places that it sees to each side.
        own: whether it also sees its own place.

    Attributes:
        seen: the places that it sees, as rows and columns from its own, in the order of the weights.
    """

    def __init__(self, n_in: int, n_out: int, reach: int, own: bool) -> None:
        super().__init__(n_in, n_out, 2 * reach + 1, padding=reach)
        count = (2 * reach + 1) * reach + reach + own
        mask = (torch.arange((2 * reach + 1) ** 2) < count).float().reshape(1, 1, *self.kernel_size)
        self.mask: Tensor
        self.register_buffer("mask", mask, persistent=False)
        side = range(-reach, reach + 1)
        self.seen = [(row, column) for row in side for column in side][:count]

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, n_in, h, w) to (N, n_out, h, w)."""
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.kernel_size[0] // 2)
