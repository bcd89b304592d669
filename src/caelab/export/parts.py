"""A trained network as the parts that are exported: encoder, decoder, and both as one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from caelab.models.autoencoder import Autoencoder, Code

Tensors = tuple[Tensor, ...]
Runner = Callable[[Tensors], Tensors]
"""Maps the inputs of a part to its outputs, in the order of their names."""


class Encoder(nn.Module):
    """The encoder alone: its code as a plain tuple, which no reader needs this package for."""

    def __init__(self, net: Autoencoder) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensors:
        """Map images ``x`` (N, C, H, W) in [0, 1] to ``(z, skip_1, ...)``, each (N, ...)."""
        code = self.net.encode(x)
        return (code.z, *code.skips)


class Decoder(nn.Module):
    """The decoder alone."""

    def __init__(self, net: Autoencoder) -> None:
        super().__init__()
        self.net = net

    def forward(self, *code: Tensor) -> Tensor:
        """Map ``z, skip_1, ...`` to ``x_hat`` (N, C, H, W), float32 in [0, 1]."""
        z, *skips = code
        return self.net.decode(Code(z, tuple(skips)))


@dataclass(frozen=True)
class Part:
    """One of the networks that are exported.

    Attributes:
        name: ``encoder``, ``decoder`` or ``autoencoder``.
        module: takes the inputs one by one; in eval mode.
        inputs: name of each input; the first axis of each is the batch.
        outputs: name of each output, likewise.
        example: an input of two empty images each.
    """

    name: str
    module: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    example: Tensors

    @torch.no_grad()
    def __call__(self, given: Tensors) -> Tensors:
        """Map inputs to outputs, always as a tuple."""
        found = self.module(*given)
        return found if isinstance(found, tuple) else (found,)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name of each input and the shape of one image's, without the batch."""
        return {name: tuple(one.shape[1:]) for name, one in zip(self.inputs, self.example, strict=True)}


@torch.no_grad()
def parts(net: Autoencoder) -> Iterator[Part]:
    """Yield encoder, decoder and autoencoder of a network, which is in eval mode from then on.

    The code is ``z`` and, where tensors go around it, ``skip_1``, ``skip_2``, ... in the order of
    ``Code.skips``: the encoder's outputs, and the decoder's inputs.
    """
    net.eval()
    x = torch.zeros(2, *net.shape, dtype=net.weight.dtype, device=net.weight.device)
    code = Encoder(net)(x)
    names = ("z", *(f"skip_{n}" for n in range(1, len(code))))
    yield Part("encoder", Encoder(net).eval(), ("x",), names, (x,))
    yield Part("decoder", Decoder(net).eval(), names, ("x_hat",), code)
    yield Part("autoencoder", net, ("x",), ("x_hat",), (x,))
