"""The deeper autoencoder of the report, still with an honest bottleneck."""

from collections.abc import Sequence
from typing import Any

from caelab.models.base import Base


class Improved(Base):
    """``Base`` with a fourth stage of stride 1, LeakyReLU, and one linear layer to the latent.

    Figure 3 of the report (Erkol, Guvenli, Koulaeizadeh, "Exploring Enhanced Architectures for
    Convolutional Autoencoders") without its skips. With its defaults, on an image of 3x32x32::

        x      3x32x32                                  x_hat  3x32x32
               | stage 1                                       ^ stage 4, sigmoid
               v                                               |
              16x16x16                                        16x16x16
               | stage 2                                       ^ stage 3
               v                                               |
              32x8x8                                          32x8x8
               | stage 3                                       ^ stage 2
               v                                               |
              64x4x4                                          64x4x4
               | stage 4: conv 3x3, stride 1                   ^ stage 1: conv^T 3x3, stride 1, norm, act
               v                                               |
             128x4x4                                         128x4x4
               | flatten, linear                               ^ linear, unflatten
               v                                               |
               z 256 ----------------- Code(z) ----------------+

    Args: see ``Base``; only the defaults differ.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 256,
        channels: Sequence[int] = (16, 32, 64, 128),
        hidden: Sequence[int] = (),
        kernel_size: int = 3,
        activation: str = "LeakyReLU",
        negative_slope: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(shape, latent, channels, hidden, kernel_size, activation, negative_slope, **options)
