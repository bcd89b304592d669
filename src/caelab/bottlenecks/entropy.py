"""A latent that is rounded and coded, with densities that are learnt for the coder."""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from caelab.bottlenecks.bottleneck import Bottleneck, Crossing, above
from caelab.draws import uniform

_WIDTHS = (1, 3, 3, 3, 1)  # of the layers of a density, as in Ballé et al.
_NARROW = 0.05  # steps: the least spread that a density starts from
_WIDE = 4.0  # steps: the least spread of the number with the largest, at the start
_FLAT = 1e-6  # the least rise of a logit over one step


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

    Raises:
        ValueError: a value that cannot be; the message starts with the parameter's name.
    """

    random = True
    bit_price: float

    def __init__(self, latent: int, price: float = 0.005, step: float | None = None) -> None:
        super().__init__(latent)
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
            widest = float(h.std(0).max()) / self.step
            self.gain.fill_(math.log(max(1.0, _WIDE / max(widest, _FLAT))))
        steps = h / self._width
        self.median.copy_(steps.median(0).values)
        self.density.spread.copy_(steps.std(0).clamp(min=_NARROW))

    def _places(self, z: Tensor) -> Tensor:
        """Numbers (N, latent) as (M, numbers): M is N, times the places of an image."""
        return z.reshape(-1, len(self.gain))

    def forward(self, h: Tensor, key: Tensor | None = None) -> Crossing:
        """Let a latent (N, latent) cross, in float32."""
        with torch.autocast(h.device.type, enabled=False):
            steps = self._places(h.float()) / self._width - self.median
            if self.training and key is not None:
                whole = steps + self._places(uniform(key, self.latent) - 0.5)
            else:
                whole = steps.detach().round()
                if torch.is_grad_enabled():  # of the encoder, straight through: 0 is added
                    whole = whole + (steps - steps.detach())
            z = self.value(whole).reshape(h.shape)
            if torch.compiler.is_exporting():  # where nobody asks for the penalty
                return Crossing(z)
            return Crossing(z, self.bit_price * self.density.bits(whole).reshape(h.shape).sum(1))

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
        return self.density.bits(self.whole(z)).reshape(len(z), -1).sum(1)


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
        x = torch.cat([torch.zeros_like(y[:, :1]), y], 1) / self.spread[:, None]
        x = x[:, None]  # (numbers, 1, 1 + M)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = F.softplus(weight) @ x + bias
            if layer < len(self.bends):
                x = x + torch.tanh(self.bends[layer]) * torch.tanh(x)
        return x[:, 0, 1:] - x[:, 0, :1]

    def bits(self, whole: Tensor) -> Tensor:
        """Bits of each number of ``whole`` (M, numbers): ``-log2`` of the probability of a step around it.

        With ``u`` and ``l`` the logits at the step's ends, that is
        ``sigmoid(u) - sigmoid(l) = sigmoid(u) sigmoid(-l) (1 - exp(l - u))``, without cancellation.
        """
        y = whole.T
        low, high = self.logits(torch.cat([y - 0.5, y + 0.5], 1)).chunk(2, 1)
        rise = (high - low).clamp(min=_FLAT)
        nats = F.logsigmoid(high) + F.logsigmoid(-low) + torch.log(-torch.expm1(-rise))
        return -nats.T / math.log(2)
