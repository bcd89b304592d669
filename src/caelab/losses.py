"""The losses that torch.nn lacks.

L1, MSE and BCE (equations 3 to 5 of the report) are ``torch.nn.L1Loss``, ``MSELoss`` and ``BCELoss``: means
over all pixels, named by their YAML. Every loss takes ``(x_hat, x)``, both (N, C, H, W) float32 in [0, 1],
and returns a scalar; call it outside autocast, where torch refuses BCE on a GPU.
"""

import math

from torch import Tensor, nn


class WeightedSum(nn.Module):
    """``alpha * first(x_hat, x) + beta * second(x_hat, x)``: equation 6 of the report, for any two losses.

    With two losses that are at least 0, so is the sum. Either may be a ``WeightedSum`` itself, which makes
    a sum of any length.

    Args:
        first: loss that ``alpha`` weighs.
        second: loss that ``beta`` weighs.
        alpha: finite, at least 0.
        beta: finite, at least 0, and not 0 together with ``alpha``.

    Raises:
        ValueError: a weight that cannot be; the message starts with its name.
    """

    def __init__(self, first: nn.Module, second: nn.Module, alpha: float, beta: float) -> None:
        super().__init__()
        for name, weight in (("alpha", alpha), ("beta", beta)):
            if isinstance(weight, bool) or not isinstance(weight, int | float):
                raise ValueError(f"{name} must be a number, got {weight!r}")
            if not 0 <= weight < math.inf:
                raise ValueError(f"{name} must be finite and at least 0, got {weight}")
        if alpha == beta == 0:
            raise ValueError("alpha must be above 0 where beta is 0: nothing would be left to train on")
        self.first = first
        self.second = second
        self.alpha = alpha
        self.beta = beta

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """Compare ``x_hat`` with ``x``, both (N, C, H, W) float32 in [0, 1]; returns a scalar."""
        loss: Tensor = self.alpha * self.first(x_hat, x) + self.beta * self.second(x_hat, x)
        return loss
