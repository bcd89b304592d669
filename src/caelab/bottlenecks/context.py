"""A latent that is rounded and coded place after place, each number by what those before it let expect."""

import torch
from torch import Tensor

from caelab.bottlenecks.bottleneck import whole_number
from caelab.bottlenecks.density import Density
from caelab.bottlenecks.entropy import Entropy, spreads
from caelab.bottlenecks.entropy_coder import Coder
from caelab.bottlenecks.predictor import Predictor

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
        spread = spreads(steps)
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

        assert self.grid is not None
        return ContextCoder(self.predictor, self.density, self.grid)

    def _expected(self, whole: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and spread of each of M places' numbers, in steps, (M, numbers) each."""
        assert self.grid is not None
        maps = whole.reshape(-1, *self.grid, whole.shape[1]).permute(0, 3, 1, 2)
        with torch.autocast(whole.device.type, enabled=self.mixed):
            mean, octaves = self.predictor(maps)
        mean, octaves = (one.permute(0, 2, 3, 1).reshape(whole.shape) for one in (mean, octaves))
        return mean, octaves.exp2()
