"""The gradient of a loss in each layer of a network."""

import torch
from torch import Tensor, nn

from caelab.models.autoencoder import Autoencoder
from caelab.models.taps import tapped


def norms(net: Autoencoder, loss: nn.Module, given: Tensor, x: Tensor) -> dict[str, float]:
    """Euclidean norm of the loss's gradient by the weights of each layer, in training mode.

    Args:
        net: the network; its gradients and running statistics change.
        loss: maps ``(x_hat, x)`` to one scalar.
        given: what the network is given, (N, C, H, W) in [0, 1].
        x: what its answer is compared with, alike.

    Returns:
        Name of each layer with a matrix or kernels -> norm, in the order in which an image goes through them;
        none for a network that has nothing to train.
    """
    weights = {
        name: weight for name, module in net.named_modules() if (weight := _weight(module)) is not None
    }
    if not weights:
        return {}
    net.train().zero_grad()
    with torch.random.fork_rng(devices=[]), tapped([net.get_submodule(name) for name in weights]) as outputs:
        torch.manual_seed(0)  # of skips that training drops
        loss(net(given.to(net.weight.dtype)).float(), x).backward()
    names = [list(weights)[place] for place in outputs]
    return {
        name: float(torch.linalg.vector_norm(gradient))
        for name in names
        if (gradient := weights[name].grad) is not None
    }


def _weight(module: nn.Module) -> nn.Parameter | None:
    """The matrix or the kernels that a layer learns; None for one that has none, such as a norm."""
    weight = getattr(module, "weight", None)
    return weight if isinstance(weight, nn.Parameter) and weight.ndim > 1 else None
