"""What an encoder looks at: the pixels behind a coordinate, and its first filters."""

import math

import torch
from torch import Tensor, nn

from caelab.models.autoencoder import Autoencoder
from caelab.models.contract import pixels


def looks_at(net: Autoencoder, images: Tensor, coordinates: list[int]) -> Tensor:
    """Measure how much each pixel moves each of some coordinates of the code.

    Args:
        net: in eval mode.
        images: (N, C, H, W) of a split, at which the derivatives are taken.
        coordinates: K of them.

    Returns:
        (K, H, W) float32: root mean square, over the images, of the length of the derivative of z_k by the
        channels of a pixel.
    """
    x = pixels(net, images).requires_grad_()
    z = net.encode(x).z
    maps = []
    for k in coordinates:
        (derivative,) = torch.autograd.grad(z[:, k].sum(), x, retain_graph=True)  # (N, C, H, W)
        maps.append(derivative.float().square().sum(1).mean(0).sqrt())
    return torch.stack(maps)


@torch.inference_mode()
def first_filters(net: Autoencoder) -> Tensor | None:
    """Return the weights of the layer that reads the image, (F, C, h, w); None where no layer does.

    It is the first convolution or linear layer that ``encode`` calls, if it reads the image's own channels;
    the filters of a linear one are as large as the image.
    """
    called: list[nn.Module] = []
    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [m.register_forward_pre_hook(lambda layer, _: called.append(layer)) for m in layers]
    try:
        net.encode(pixels(net, torch.zeros(1, *net.shape, dtype=torch.uint8)))
    finally:
        for hook in hooks:
            hook.remove()
    if not called:
        return None
    weight = called[0].weight
    assert isinstance(weight, Tensor)
    if weight[0].numel() != net.shape[0] * math.prod(_window(called[0], net)):
        return None  # it reads something else, such as pixels that were shuffled into channels
    return weight.detach().float().reshape(len(weight), net.shape[0], *_window(called[0], net))


def _window(layer: nn.Module, net: Autoencoder) -> tuple[int, ...]:
    return tuple(layer.weight.shape[2:]) if isinstance(layer, nn.Conv2d) else net.shape[1:]
