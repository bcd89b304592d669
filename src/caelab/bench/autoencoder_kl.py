"""The network of Stable Diffusion's autoencoder, as a bar for codes that keep their place."""

from collections.abc import Sequence
from copy import copy
from importlib.util import find_spec
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from caelab.errors import UserError
from caelab.models.autoencoder import Autoencoder, Code, at_least, each_at_least, image_shape

_GROUPS = 8  # of a normalisation; the original has 32 of 128 channels and more


class AutoencoderKL(Autoencoder):
    """Encoder and decoder of diffusers' ``AutoencoderKL``, from random weights, without its penalty.

    The original draws its code from a normal distribution that the encoder describes, and adds the
    Kullback-Leibler divergence from the standard normal, lightly weighted, a perceptual loss and a
    discriminator: Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models" (2022). Here
    the code is the mean of that distribution, nothing is drawn, and the loss is the run's own; so the figures
    of the two networks differ by their layers only. Pixels are shown to it in [-1, 1], as there. Sides that
    the factor does not divide are continued by their last pixels, and cut again.

    Args:
        shape: (C, H, W) of one image.
        latent_channels: numbers of a place of the code.
        channels: of each level, multiples of 8; each level after the first halves the sides.
        layers: residual blocks of a level in the encoder; the decoder has one more.

    Raises:
        UserError: diffusers is not installed.
        ValueError: a value that cannot be; the message starts with the parameter's name.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent_channels: int = 12,
        channels: Sequence[int] = (16, 32, 64, 128),
        layers: int = 1,
    ) -> None:
        levels = each_at_least(_GROUPS, "channels", channels)
        if not levels or any(width % _GROUPS for width in levels):
            raise ValueError(f"channels must be multiples of {_GROUPS}, got {channels}")
        self.factor = 2 ** (len(levels) - 1)
        self.latent_channels = at_least(1, "latent_channels", latent_channels)
        super().__init__(shape, self._numbers(shape))
        common: dict[str, Any] = {
            "block_out_channels": levels,
            "layers_per_block": at_least(1, "layers", layers),
            "norm_num_groups": _GROUPS,
        }
        encoder, decoder = _parts()
        down, up = (tuple([kind] * len(levels)) for kind in ("DownEncoderBlock2D", "UpDecoderBlock2D"))
        self.encoder = encoder(shape[0], latent_channels, down, double_z=False, **common)
        self.decoder = decoder(latent_channels, shape[0], up, **common)

    def at(self, shape: Sequence[int]) -> "AutoencoderKL":
        """Return this network, with these very weights, for images of another size.

        Args:
            shape: (C, H, W); C as it is.
        """
        other = copy(self)
        other._modules = dict(self._modules)
        other.shape, other.latent = image_shape(shape), self._numbers(shape)
        other.bottleneck = copy(self.bottleneck)
        other.bottleneck.latent = other.latent
        return other

    def encode(self, x: Tensor, key: Tensor | None = None) -> Code:
        """Map images ``x`` (N, C, H, W) in [0, 1] to ``Code(z)``, z (N, latent), one place behind another."""
        height, width = x.shape[2:]
        if height % self.factor or width % self.factor:
            x = F.pad(x, (0, -width % self.factor, 0, -height % self.factor), mode="replicate")
        z: Tensor = self.encoder(2 * x - 1)  # (N, latent_channels, h, w)
        return Code(z.permute(0, 2, 3, 1).flatten(1))

    def decode(self, code: Code) -> Tensor:
        """Map a code to ``x_hat`` (N, C, H, W), float32 in [0, 1]."""
        height, width = self.shape[1:]
        z = code.z.reshape(-1, *self._places(self.shape), self.latent_channels).permute(0, 3, 1, 2)
        x: Tensor = 0.5 + 0.5 * self.decoder(z.contiguous()).float()
        return x[:, :, :height, :width].clamp(0, 1)

    def _places(self, shape: Sequence[int]) -> tuple[int, int]:
        return -(-shape[1] // self.factor), -(-shape[2] // self.factor)

    def _numbers(self, shape: Sequence[int]) -> int:
        rows, columns = self._places(image_shape(shape))
        return self.latent_channels * rows * columns


def _parts() -> tuple[Any, Any]:
    """Encoder and decoder of diffusers.

    Raises:
        UserError: it is not installed.
    """
    if not find_spec("diffusers"):
        raise UserError("model=autoencoder_kl: diffusers is not installed; pip install 'caelab[bench]'")
    from diffusers.models.autoencoders.vae import Decoder, Encoder

    return Encoder, Decoder
