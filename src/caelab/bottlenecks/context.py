"""A latent that is rounded and coded place after place, each number by what those before it let expect."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from caelab.bottlenecks.bottleneck import whole_number
from caelab.bottlenecks.density import Density
from caelab.bottlenecks.entropy import NARROW, Entropy
from caelab.bottlenecks.entropy_coder import Coder

LOW, HIGH = -5, 8
"""Octaves: of the least and the largest spread that a number is coded by."""

HIDDEN = 16
"""Hidden numbers of the layers that look at the numbers before one of the same place."""

REACH = 2
"""Places to each side that the first layer sees; those behind it see one."""


_BROAD = 0.5  # steps: the least spread in which layers are shown numbers, lest rare ones drown all others


class Context(Entropy):
    """Rounds numbers as ``Entropy`` does, and codes each by a mean and a spread that follow from others.

    These others are all that are decoded before it: the numbers of the places above and to the left, as far
    as masked convolutions see, and those before it in its own place. Context models: van den Oord et al.,
    "Pixel Recurrent Neural Networks" (2016), and for learned compression Minnen et al., "Joint Autoregressive
    and Hierarchical Priors for Learned Image Compression" (2018), here without anything that is coded ahead.
    One learnt density ``f`` serves all numbers: one of mean ``m`` and spread ``2^s`` steps has
    ``f((whole - m) / 2^s)``.

    In training means and spreads follow from whole steps, as they will when pictures are decoded, even
    where the number itself has its noise. ``z`` is all that a file has to hold.

    Args:
        latent: numbers in ``z`` per image.
        price: of a bit: see ``Entropy``.
        step: of the rounding at the start: see ``Entropy``.
        channels: of the masked convolutions.
        blocks: of them behind the first one, 0 or more.
        noisy: epochs of training with noise: see ``Entropy``.

    Raises:
        ValueError: a value that cannot be; the message starts with the parameter's name.
    """

    needs_places = True

    def __init__(
        self,
        latent: int,
        price: float = 0.005,
        step: float | None = None,
        channels: int = 64,
        blocks: int = 3,
        noisy: int | None = 0,
    ) -> None:
        self.sizes = whole_number("channels", channels, 1), whole_number("blocks", blocks, 0)
        super().__init__(latent, price, step, noisy)

    def at_places(self, numbers: int) -> None:
        """Be told that ``z`` has ``numbers`` at every place of ``grid``."""
        super().at_places(numbers)
        self.density = Density(1)
        if self.grid is not None:
            self.predictor = Predictor(numbers, *self.sizes)

    def start_densities(self, steps: Tensor) -> None:
        """Start from the spreads of steps (M, numbers), and from no expectation."""
        spread = steps.std(0).clamp(min=NARROW)
        self.predictor.spread.copy_(spread.clamp(min=_BROAD))
        assert self.predictor.last.bias is not None
        self.predictor.last.bias[1::2] = (spread / self.predictor.spread).log2()

    def cost(self, y: Tensor, whole: Tensor, key: Tensor | None) -> Tensor:
        """Bits (M,) of steps: see ``Entropy``."""
        mean, scale = self._expected(whole)
        return self.density.bits_around(y, scale, mean).sum(1)

    def slopes(self, y: Tensor) -> Tensor:
        """Derivatives of the bits of steps (M, numbers), each by itself: what it tells others is as it is."""
        with torch.no_grad():
            mean, scale = self._expected(y.round())
        return self.density.slopes_around(y, scale, mean)

    def coder(self) -> Coder:
        """Return what codes whole steps (M, numbers), place after place.

        Raises:
            UserError: constriction is not installed.
        """
        from caelab.bottlenecks.context_coder import ContextCoder

        return ContextCoder(self)

    def _expected(self, whole: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and spread of each of M places' numbers, in steps, (M, numbers) each."""
        assert self.grid is not None
        maps = whole.reshape(-1, *self.grid, whole.shape[1]).permute(0, 3, 1, 2)
        with torch.autocast(whole.device.type, enabled=self.mixed):
            mean, octaves = self.predictor(maps)
        mean, octaves = (one.permute(0, 2, 3, 1).reshape(whole.shape) for one in (mean, octaves))
        return mean, octaves.exp2()


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
