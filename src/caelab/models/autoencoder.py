"""What every network of the lab is: an encoder, a decoder, and the code between them."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Code(NamedTuple):
    """What the encoder hands the decoder, and nothing else may reach it.

    Attributes:
        z: the latent, (N, latent).
        skips: the tensors that go around the latent, each (N, ...); empty for an honest bottleneck.
    """

    z: Tensor
    skips: tuple[Tensor, ...] = ()

    @property
    def numbers(self) -> int:
        """Numbers per image that reach the decoder: the effective code size."""
        return sum(t[0].numel() for t in (self.z, *self.skips))


class Autoencoder(nn.Module, ABC):
    """Base of all networks.

    Args:
        shape: (C, H, W) of one image; given by the dataset, never by the user.
        latent: numbers in ``z`` per image, at least 1.

    Raises:
        ValueError: ``latent`` is below 1.
    """

    def __init__(self, shape: tuple[int, int, int], latent: int) -> None:
        super().__init__()
        if latent < 1:
            raise ValueError(f"latent must be at least 1, got {latent}")
        self.shape = tuple(shape)
        self.latent = latent

    @abstractmethod
    def encode(self, x: Tensor) -> Code:
        """Map images ``x`` (N, C, H, W) in [0, 1] to their code."""

    @abstractmethod
    def decode(self, code: Code) -> Tensor:
        """Map a code to ``x_hat`` (N, C, H, W), float32 in [0, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct ``x`` (N, C, H, W) in [0, 1] as ``x_hat`` of the same shape, float32 in [0, 1]."""
        return self.decode(self.encode(x))

    def initialise(self, images: Tensor) -> None:  # noqa: B027 - most networks start from random weights
        """Set weights from the training images (N, C, H, W) uint8, once, before the first gradient step."""

    @torch.inference_mode()
    def reconstruct(self, images: Tensor) -> Tensor:
        """Reconstruct images outside training: eval mode, no gradient.

        Args:
            images: (N, C, H, W), uint8 in [0, 255] or floating point in [0, 1].

        Returns:
            (N, C, H, W) float32 in [0, 1].
        """
        parameter = next(iter(self.state_dict().values()))
        x = images.to(parameter.device)
        x = x.float() / 255 if x.dtype == torch.uint8 else x.float()
        training = self.training
        try:
            return self.eval()(x)  # type: ignore[no-any-return]
        finally:
            self.train(training)
