"""A network from outside the lab: all that the lab asks beyond ``encode`` and ``decode`` is derived here."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from caelab.errors import UserError
from caelab.models.autoencoder import Autoencoder, Code, Images


def network(net: Any, shape: Sequence[int]) -> Autoencoder:
    """Return a network as the lab takes it: itself, if it derives from ``Autoencoder``.

    Args:
        net: a module with ``encode`` and ``decode`` over ``Code``.
        shape: (C, H, W) of its images.

    Raises:
        UserError: it is no module, or a code or an image of another kind or shape comes out of it.
    """
    if isinstance(net, Autoencoder):
        return net
    name = type(net).__name__
    if not isinstance(net, nn.Module):
        raise UserError(f"model: {name} is not a torch.nn.Module")
    training, x = net.training, torch.zeros(1, *shape)
    theirs: Any = net.eval()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        code = theirs.encode(x)
        if not isinstance(code, Code):
            raise UserError(f"model: {name}.encode must return a Code(z, skips), got {type(code).__name__}")
        if code.z.ndim != 2 or len(code.z) != 1:
            raise UserError(f"model: {name}.encode: z must be (N, latent), got {tuple(code.z.shape)}")
        x_hat = theirs.decode(code)
    if x_hat.shape != x.shape:
        raise UserError(f"model: {name}.decode returns {tuple(x_hat.shape)} for an image of {tuple(x.shape)}")
    return Outside(net.train(training), shape, code.z.shape[1])


class Outside(Autoencoder):
    """A network that derives from nothing of the lab's.

    Args:
        net: with ``encode`` and ``decode``; where it has ``initialise``, ``initialise_from`` or ``floor``,
            they act.
        shape: (C, H, W) of its images.
        latent: numbers in ``z`` per image.
    """

    def __init__(self, net: Any, shape: Sequence[int], latent: int) -> None:
        super().__init__(shape, latent)
        self.net = net
        self.floor = getattr(net, "floor", "")

    def encode(self, x: Tensor, key: Tensor | None = None) -> Code:
        """Map images ``x`` (N, C, H, W) in [0, 1] to their code."""
        return self.net.encode(x)  # type: ignore[no-any-return]

    def decode(self, code: Code) -> Tensor:
        """Map a code to ``x_hat`` (N, C, H, W), in [0, 1] but for training, where a loss may ask for more."""
        x_hat: Tensor = self.net.decode(code)
        return x_hat if self.training else x_hat.clamp(0, 1)

    def initialise(self, images: Images) -> None:
        """Let the network set weights from the training images, if it does."""
        if hasattr(self.net, "initialise"):
            self.net.initialise(images)

    def initialise_from(self, images: Images, corrupted: Images) -> None:
        """As ``initialise``, with what the network will be given."""
        if hasattr(self.net, "initialise_from"):
            self.net.initialise_from(images, corrupted)
        else:
            self.initialise(images)
