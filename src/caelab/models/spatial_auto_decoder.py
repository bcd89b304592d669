"""The auto-decoder for pictures of any size: its codes keep their place."""

from collections.abc import Callable, Sequence

from caelab.bottlenecks.bottleneck import Bottleneck
from caelab.models.auto_decoder import Stepped
from caelab.models.spatial import Spatial


class SpatialAutoDecoder(Stepped, Spatial):
    """The decoder of ``Spatial``; its encoder is steps towards the code of an image: see ``Stepped``.

    In training it keeps ``2 * latent`` numbers, of 4 bytes each, of every training image.

    Args:
        shape: (C, H, W) of one image.
        latent_channels: numbers of a patch, at most C * factor^2.
        factor: a patch's side in pixels, 1 or more.
        channels: of the decoder's blocks.
        blocks: of the decoder.
        steps: of the encoder; this and the rest as of ``Stepped.fit_by``.
        rate: see there.
        momentum: see there.
        stored_rate: see there.
        bottleneck: see ``AutoDecoder``.

    Raises:
        ValueError: a value that cannot be; the message starts with the parameter's name.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent_channels: int = 12,
        factor: int = 8,
        channels: int = 48,
        blocks: int = 3,
        steps: int = 8,
        rate: float = 0.7,
        momentum: float = 0.5,
        stored_rate: float = 1.0,
        bottleneck: Callable[[int], Bottleneck] | None = None,
    ) -> None:
        super().__init__(
            shape, latent_channels, factor, channels, blocks, encoder_blocks=0, steps=0, bottleneck=bottleneck
        )
        self.fit_by(steps, rate, momentum, stored_rate)
