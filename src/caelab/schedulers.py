"""Learning-rate schedules, by steps: each is called with an optimizer and the number of steps of the fit."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR


class Constant:
    """The learning rate stays what the optimizer says: no schedule."""

    def __call__(self, optimizer: Optimizer, steps: int) -> None:
        """Leave the optimizer as it is."""


class Cosine:
    """Linear warm-up, then half a cosine down to a fraction of the rate.

    Step ``i`` of ``n``, with ``w = round(warmup * n)`` steps of warm-up, has ``(i + 1) / w`` of the
    optimizer's rate while ``i < w``, then ``final + (1 - final) * (1 + cos(pi * (i - w) / (n - w))) / 2`` of
    it: equation 5 of Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017),
    without a restart.

    Args:
        warmup: fraction of the steps in which the rate rises, in [0, 1].
        final: fraction of the rate that is left at the end, in [0, 1].

    Raises:
        ValueError: a value that cannot be; the message starts with the parameter's name.
    """

    def __init__(self, warmup: float = 0.05, final: float = 0.0) -> None:
        self.warmup, self.final = _fraction("warmup", warmup), _fraction("final", final)

    def __call__(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        """Schedule ``steps`` steps; the optimizer's rate is the highest."""
        return LambdaLR(optimizer, lambda step: self.factor(step, steps))

    def factor(self, step: int, steps: int) -> float:
        """Fraction of the optimizer's rate at a step, counted from 0."""
        rising = round(self.warmup * steps)
        if step < rising:
            return (step + 1) / rising
        done = (step - rising) / max(1, steps - rising)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * done)) / 2


class OneCycle:
    """Up to the optimizer's rate and down again, both along a cosine, as torch's ``OneCycleLR`` does it.

    Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates"
    (2018). Momentum is not cycled, since not every optimizer has one.

    Args:
        rise: fraction of the steps in which the rate rises, in [0, 1).

    Raises:
        ValueError: ``rise`` is out of range; the message starts with its name.
    """

    def __init__(self, rise: float = 0.3) -> None:
        self.rise = _fraction("rise", rise)
        if rise == 1:
            raise ValueError(f"rise must be below 1, so that the rate falls again, got {rise}")

    def __call__(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        """Schedule ``steps`` steps; the optimizer's rate is the highest."""
        rates = [group["lr"] for group in optimizer.param_groups]
        # a rise of the first step alone starts at the top; torch would divide by its length of 0
        rise = self.rise * (1 - 1e-9) if self.rise * steps == 1 else self.rise
        return OneCycleLR(optimizer, rates, steps, pct_start=rise, cycle_momentum=False)


def _fraction(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be within 0..1, got {value!r}")
    return float(value)
