"""The report's best autoencoder, whose skips go around the latent."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from caelab.models.autoencoder import Code, each_at_least
from caelab.models.base import to_image
from caelab.models.improved import Improved


class ImprovedSkip(Improved):
    """``Improved`` with skips: what an encoder stage puts out is added to the decoder's input of that size.

    Figure 3 of the report (Erkol, Guvenli, Koulaeizadeh, "Exploring Enhanced Architectures for
    Convolutional Autoencoders") with the skips "across the bottleneck layer" of its section VII; those
    inside the encoder, of its section VI.D, are not here. With its defaults, on an image of 3x32x32::

        x      3x32x32                                  x_hat  3x32x32
               | stage 1                                       ^ stage 4, sigmoid
               v                                               |
              16x16x16 --------------- level 1 -------------> (+) 16x16x16
               | stage 2                                       ^ stage 3
               v                                               |
              32x8x8 ----------------- level 2 -------------> (+) 32x8x8
               | stage 3                                       ^ stage 2
               v                                               |
              64x4x4 ----------------- level 3 -------------> (+) 64x4x4
               | stage 4                                       ^ stage 1
               v                                               |
             128x4x4 ----------------- level 4 -------------> (+) 128x4x4
               | flatten, linear                               ^ linear, unflatten
               v                                               |
               z 256 ------------- Code(z, skips) -------------+

    The skips are part of the code: 256 + 9,216 numbers an image, where the image itself has 3,072. They
    add no parameter. Level 4 leaves its stage before the flatten, the others after norm and activation.

    Args:
        shape: see ``Base``.
        latent: see ``Base``.
        skip_levels: encoder stages, counted from 1, whose output crosses the bottleneck; ``Code.skips``
            holds them in rising order. Empty is ``Improved``.
        options: the others of ``Improved``.

    Raises:
        ValueError: a value that cannot be; the message starts with the parameter's name.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 256,
        *,
        skip_levels: Sequence[int] = (1, 2, 3, 4),
        **options: Any,
    ) -> None:
        super().__init__(shape, latent, **options)
        self.skip_levels = levels_within(len(self.encoder), skip_levels)

    def encode(self, x: Tensor, key: Tensor | None = None) -> Code:
        """Map images ``x`` (N, C, H, W) in [0, 1] to ``Code(z, skips)``, one skip (N, c, h, w) a level."""
        skips = []
        for level, stage in enumerate(self.encoder, start=1):
            x = stage(x)
            if level in self.skip_levels:
                skips.append(x)
        return self.cross(x, tuple(skips), key)

    def decode(self, code: Code) -> Tensor:
        """Map a code to ``x_hat`` (N, C, H, W), float32 in [0, 1]."""
        skips = dict(zip(self.skip_levels, code.skips, strict=True))
        x = self.from_latent(code.z).unflatten(1, self.deepest)  # (N, channels[-1], h, w)
        for level, stage in zip(range(len(self.decoder), 0, -1), self.decoder, strict=True):
            x = stage(x + skips[level] if level in skips else x)
        return to_image(x)


def levels_within(stages: int, skip_levels: Sequence[int]) -> tuple[int, ...]:
    """Return levels in rising order, if each is that of one of so many encoder stages, and named once.

    Raises:
        ValueError: they are not.
    """
    levels = each_at_least(1, "skip_levels", skip_levels)
    for level in levels:
        if level > stages:
            raise ValueError(f"skip_levels must be within 1..{stages}, got {level}")
    if len(set(levels)) < len(levels):
        raise ValueError(f"skip_levels must name each level once, got {list(levels)}")
    return tuple(sorted(levels))
