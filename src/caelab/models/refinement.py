"""Fit the latent of each image to the image: what the decoder could do, had it a better encoder."""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from caelab.bottlenecks.entropy import Entropy
from caelab.errors import UserError
from caelab.models.autoencoder import Autoencoder, Code


class Fitted(NamedTuple):
    """A code that was fitted to its images.

    Attributes:
        code: the best that was found.
        errors: (steps + 1, N) float32, the squared error summed over each image's pixels: of the encoder's
            code, then after each step. It never rises.
    """

    code: Code
    errors: Tensor


def fit(net: Autoencoder, x: Tensor, code: Code, steps: int) -> Fitted:
    """Move ``z`` of each image so that the decoder makes more of it; skips and weights stay as they are.

    Nonlinear conjugate gradients (Polak and Ribière, 1969) on ``|x - decode(z)|^2``. The length of a step is
    that which is exact for a linear decoder, so that there is no rate to choose; one that does not help an
    image is taken back, and the next is half as long. What comes of an image does not depend on the others.
    What is gained is the amortization gap of Cremer et al., "Inference Suboptimality in Variational
    Autoencoders" (2018), in an autoencoder without noise.

    Args:
        net: in eval mode; its bottleneck says which numbers move.
        x: images (N, C, H, W) in [0, 1].
        code: what ``net.encode`` says of them.
        steps: each is a forward-mode, a forward and a backward pass through the decoder.

    Raises:
        UserError: the code is discrete or rounded, or the decoder has no gradient with respect to ``z``.
    """
    if code.indices is not None:
        raise UserError("its latent is discrete: no small step leads from one entry to the next")
    if isinstance(net.bottleneck, Entropy):
        raise UserError(
            "its latent is rounded to steps that are coded, and a fitted one would lie between them"
        )
    with torch.inference_mode(False), torch.enable_grad():
        x, z, *skips = (part.detach().clone() for part in (x, code.z, *code.skips))
        movable = net.bottleneck.movable(z)

        def decode(z: Tensor) -> Tensor:
            return net.decode(Code(z, tuple(skips))).flatten(1)

        def measure(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            """What is missing (N, C*H*W), its square (N, 1), and the square's gradient (N, latent)."""
            moved = z.requires_grad_()
            missing = x.flatten(1) - decode(moved)
            error = missing.square().sum(1, keepdim=True)
            (gradient,) = torch.autograd.grad(error.sum(), moved)
            return missing.detach(), error.detach(), torch.where(movable, gradient, 0)

        try:
            missing, error, gradient = measure(z)
        except RuntimeError as problem:
            name, reason = type(net).__name__, str(problem).partition("\n")[0]
            raise UserError(f"model {name}: no latent can be fitted through its decoder ({reason})") from None
        direction, length, errors = -gradient, torch.ones_like(error), [error]
        for _ in range(steps):
            change = _change(decode, z, direction)
            step = length * _ratio(missing * change, change.square())
            tried = (z + step * direction).detach()
            found = measure(tried)
            better = found[1] < error
            slope = _ratio(found[2] * (found[2] - gradient), gradient.square()).clamp(min=0)
            z = torch.where(better, tried, z.detach())
            missing, error, gradient = (
                torch.where(better, new, old)
                for new, old in zip(found, (missing, error, gradient), strict=True)
            )
            direction = torch.where(better, slope * direction, 0) - gradient
            length = torch.where(better, 1, length / 2)
            errors.append(error)
        return Fitted(Code(z.detach(), tuple(skips)), torch.cat(errors, 1).T)


def _change(decode: Callable[[Tensor], Tensor], z: Tensor, direction: Tensor) -> Tensor:
    """How the picture changes with a small move along the direction: the product with the Jacobian."""
    with warnings.catch_warnings():  # torch's own deprecated torch.jit.script, at the first use
        warnings.simplefilter("ignore", FutureWarning)
        return torch.func.jvp(decode, (z.detach(),), (direction,))[1]  # type: ignore[no-any-return]


def _ratio(upper: Tensor, lower: Tensor) -> Tensor:
    """Quotient of sums over each row, (N, 1); 0 where the lower one is 0."""
    below = lower.sum(1, keepdim=True)
    return torch.where(below > 0, upper.sum(1, keepdim=True) / below, 0)
