"""Optimizers that torch does not have as they are needed here; all others are torch's own."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

_POLYNOMIAL = 3.4445, -4.7750, 2.0315
_ROUNDS = 5


class Muon(AdamW):
    """Muon for the weights of convolutions, AdamW for all else.

    The gradient of a convolution, as a matrix (C_out, C_in * k * k), is averaged with Nesterov's momentum
    and replaced by the nearest matrix whose singular values are all near 1. So each direction of a weight
    moves as far as any other, where Adam leaves the rare ones behind. torch's own ``Muon`` takes no weight
    of four dimensions and nothing else beside it. Jordan et al., "Muon: An optimizer for hidden layers in
    neural networks" (2024).

    Args:
        params: parameters to train.
        lr: length of a step of a convolution's weights, above 0; times ``sqrt(C_out / (C_in * k * k))`` where
            that is above 1.
        momentum: of these steps, in [0, 1).
        adamw_lr: learning rate of all else, above 0.
        weight_decay: of all else, decoupled, 0 or more.

    Raises:
        ValueError: a value that cannot be.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.02,
        momentum: float = 0.9,
        adamw_lr: float = 1e-3,
        weight_decay: float = 0.01,
    ) -> None:
        for name, rate in (("lr", lr), ("adamw_lr", adamw_lr)):  # AdamW looks at its default alone
            if not rate > 0:
                raise ValueError(f"{name} must be above 0, got {rate}")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, got {momentum}")
        given = list(params)
        convolutions = [one for one in given if one.ndim == 4]
        rest = [one for one in given if one.ndim != 4]
        groups = [
            {"params": convolutions, "lr": lr, "weight_decay": 0.0, "momentum": momentum},
            {"params": rest, "lr": adamw_lr},
        ]
        super().__init__(groups, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; return what the closure returns."""
        loss = None
        if closure is not None:  # here, since it asks for all of the groups
            with torch.enable_grad():
                loss = closure()
        convolutions, *rest = groups = self.param_groups
        self.param_groups = rest
        try:
            super().step()
        finally:
            self.param_groups = groups
        self._orthogonal(convolutions)
        return loss

    def _orthogonal(self, group: dict[str, Any]) -> None:
        for weight in group["params"]:
            if weight.grad is None:
                continue
            state = self.state[weight]
            if not state:  # AdamW wants a step in every state that it loads
                state.update(step=torch.zeros(()), momentum_buffer=torch.zeros_like(weight))
            momentum = state["momentum_buffer"].mul_(group["momentum"]).add_(weight.grad)
            ahead = weight.grad.add(momentum, alpha=group["momentum"])
            step = orthogonalised(ahead.flatten(1))
            height, width = step.shape
            weight.sub_(step.view_as(weight), alpha=group["lr"] * math.sqrt(max(1, height / width)))


def orthogonalised(matrix: Tensor) -> Tensor:
    """Move the singular values of a matrix (m, n) to about 1 by five rounds of a Newton-Schulz iteration.

    They end between 0.7 and 1.2, which is as good for a step as 1 would be. In float32, also what it returns:
    the step is then the same on any machine, up to rounding.
    """
    a, b, c = _POLYNOMIAL
    upright = matrix.shape[0] > matrix.shape[1]
    x: Tensor = matrix.float().T if upright else matrix.float()
    x = x / (x.norm() + 1e-7)
    for _ in range(_ROUNDS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if upright else x
