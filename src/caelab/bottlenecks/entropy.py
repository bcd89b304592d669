"""A latent that is rounded and coded, with densities that are learnt for the coder."""

import math

import torch
from torch import Tensor, nn

from caelab.bottlenecks.bottleneck import Bottleneck, Crossing, above, whole_number
from caelab.bottlenecks.density import Density
from caelab.bottlenecks.entropy_coder import Coder, EntropyCoder
from caelab.draws import uniform

NARROW = 0.05
"""Steps: the least spread that a density starts from."""

_LEAST = 1e-6  # steps: a spread that is taken for none
_WIDE = 4.0  # steps: the least spread of the number with the largest, at the start


def spreads(steps: Tensor) -> Tensor:
    """Standard deviation of each column of (M, numbers), at least ``NARROW``, as it is of a single row."""
    return _deviations(steps).clamp(min=NARROW)


def _deviations(x: Tensor) -> Tensor:
    return x.std(0) if len(x) > 1 else torch.zeros_like(x[0])


class Entropy(Bottleneck):
    """Rounds each number to steps, and prices the bits that coding it takes: rate + distortion.

    Ballé et al., "Variational image compression with a scale hyperprior" (2018), with the factorized density
    of their appendix 6.1. Training adds uniform noise of one step in place of rounding, and the bits of an
    image are ``-log2`` of the density of its code with that noise. They enter the loss as ``price * bits``,
    beside squared errors summed over the image: ``D + price * R``. So training spends a bit where that saves
    more than ``price`` of squared error. Each number has a density, a
    step and a median of its own; those of ``Spatial`` are shared by all places.

    Outside training a number is rounded to whole steps from its median, and that is what a file holds: see
    ``caelab.bottlenecks.entropy_coder``.

    Args:
        latent: numbers in ``z`` per image.
        price: of a bit, above 0: squared error, summed over an image with pixels in [0, 1].
        step: of the rounding at the start of training, in the unit of the latent; None is
            ``sqrt(6 * price / ln 2)``. Rounding adds ``step^2 / 12`` to the squared error where the decoder
            keeps lengths, as those that start as PCA do, and with that step a bit more would save ``price``.
            Where the latent is too small for such steps, they start smaller.
        noisy: epochs of training with noise, 0 or more; in those after them codes are rounded as outside of
            it, and the encoder has its gradient straight through. Noise prices numbers that are nearly
            always 0 too high. Guo et al., "Soft then Hard: Rethinking the Quantization in Neural Image
            Compression" (2021), who freeze the encoder then. None is noise in all of them.

    Attributes:
        rounds: whether training rounds now: see ``noisy``.
        mixed: whether layers that bear it compute in a lower precision now, under automatic mixed precision.

    Raises:
        ValueError: a value that cannot be; the message starts with the parameter's name.
    """

    random = True
    bit_price: float

    def __init__(
        self, latent: int, price: float = 0.005, step: float | None = None, noisy: int | None = None
    ) -> None:
        super().__init__(latent)
        self.noisy = noisy if noisy is None else whole_number("noisy", noisy, 0)
        self.rounds, self.mixed = noisy == 0, False
        self.bit_price = above("price", price, 0, equal=False)
        best = math.sqrt(6 * self.bit_price / math.log(2))
        self.step = best if step is None else above("step", step, 0, equal=False)
        self.chosen = step is None
        self.at_places(latent)

    def at_places(self, numbers: int) -> None:
        """Learn one density for each of ``numbers``, which ``z`` has again at every place."""
        self.gain = nn.Parameter(torch.zeros(numbers))  # logarithm of what divides the step
        self.median = nn.Parameter(torch.zeros(numbers))  # in steps
        self.density = Density(numbers)

    @torch.no_grad()
    def start_from(self, h: Tensor) -> None:
        """Start medians and the densities' spreads as those of latents (M, latent) of training images.

        Where no step is given, and no number goes over some steps, all get smaller ones: else a network that
        starts from random weights would start with nothing that crosses.
        """
        h = self._places(h.float())
        if self.chosen:
            widest = float(_deviations(h).max()) / self.step
            self.gain.fill_(math.log(max(1.0, _WIDE / max(widest, _LEAST))))
        steps = h / self._width
        self.median.copy_(steps.median(0).values)
        self.start_densities(steps - self.median)

    def start_densities(self, steps: Tensor) -> None:
        """Start the densities as those of steps (M, numbers) from the median."""
        self.density.spread.copy_(spreads(steps))

    def start_epoch(self, epoch: int) -> None:
        """Be told which epoch of training begins, counted from 0."""
        self.rounds = self.noisy is not None and epoch >= self.noisy

    def _places(self, z: Tensor) -> Tensor:
        """Numbers (N, latent) as (M, numbers): M is N, times the places of an image."""
        return z.reshape(-1, len(self.gain))

    def forward(self, h: Tensor, key: Tensor | None = None) -> Crossing:
        """Let a latent (N, latent) cross, in float32."""
        self.mixed = torch.is_autocast_enabled(h.device.type)
        with torch.autocast(h.device.type, enabled=False):
            steps = self._places(h.float()) / self._width - self.median
            whole = steps.detach().round()
            if torch.is_grad_enabled():  # of the encoder, straight through: 0 is added
                whole = whole + (steps - steps.detach())
            drawn = key if self.training and not self.rounds else None
            y = whole if drawn is None else steps + self._places(uniform(drawn, self.latent) - 0.5)
            z = self.value(y).reshape(h.shape)
            if torch.compiler.is_exporting():  # where nobody asks for the penalty
                return Crossing(z)
            return Crossing(z, self.bit_price * self.cost(y, whole, drawn).reshape(len(h), -1).sum(1))

    def cost(self, y: Tensor, whole: Tensor, key: Tensor | None) -> Tensor:
        """Bits (M,) of steps from the median, by the densities.

        Args:
            y: the steps (M, numbers), with noise in training.
            whole: the same, rounded.
            key: of each image, (N,) int64, in training; None outside.
        """
        return self.density.bits(y).sum(1)

    def pull(self, h: Tensor) -> Tensor:
        """Minus half the gradient of the price of a latent (N, latent), not rounded: see ``Bottleneck``."""
        self.mixed = torch.is_autocast_enabled(h.device.type)
        with torch.autocast(h.device.type, enabled=False):
            slopes = self.slopes(self._places(h.float()) / self._width - self.median)
            return (-self.bit_price / 2 * slopes / self._width).reshape(h.shape)

    def slopes(self, y: Tensor) -> Tensor:
        """Derivatives of the bits of steps from the median (M, numbers), by each of them."""
        return self.density.slopes(y)

    def coder(self) -> Coder:
        """Return what codes whole steps (M, numbers) by the densities.

        Raises:
            UserError: constriction is not installed.
        """
        return EntropyCoder(self.density)

    @property
    def _width(self) -> Tensor:
        """Step of each number, (numbers,), in the unit of the latent."""
        return self.step * torch.exp(-self.gain)

    def value(self, whole: Tensor) -> Tensor:
        """Latents (M, numbers) of steps from the median (M, numbers)."""
        return (whole + self.median) * self._width

    def whole(self, z: Tensor) -> Tensor:
        """Whole steps from the median (M, numbers), float32, of a ``z`` (N, latent) that has crossed."""
        return (self._places(z) / self._width - self.median).round()

    def bits_of(self, z: Tensor) -> Tensor:
        """Bits (N,) of a ``z`` (N, latent) that has crossed, by the densities, without any coder."""
        whole, self.mixed = self.whole(z), False
        return self.cost(whole, whole, None).reshape(len(z), -1).sum(1)
