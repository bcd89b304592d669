"""Codes that keep their place, of pictures of any size: patch PCA, and convolutions around it."""

from collections.abc import Callable, Sequence
from copy import copy

import torch
from torch import Tensor

from caelab.bottlenecks.bottleneck import Bottleneck, Discrete
from caelab.errors import UserError
from caelab.models.autoencoder import Images
from caelab.models.patch_pca import grid_of, joined, latent_of, patches, principal
from caelab.models.residual import Corrected


class Spatial(Corrected):
    """``residual`` for pictures of any size: its linear layers read one patch at a time, the same for all.

    An image is cut into squares of ``factor`` pixels a side, each of which becomes ``latent_channels``
    numbers: ``z.reshape(N, h, w, latent_channels)`` has their places. The linear layers start as
    ``PatchPCA``; the convolutions that correct them see across the patches' borders. No layer knows the size
    of the image, so ``at`` gives the same network for any other. Sides that ``factor`` does not divide are
    continued by their last pixels, and cut again. All that reaches the decoder is ``z``.

    Args:
        shape: (C, H, W) of one image.
        latent_channels: numbers of a patch, at most C * factor^2.
        factor: a patch's side in pixels, 1 or more.
        channels: of the decoder's blocks.
        blocks: of the decoder; 0 leaves it linear.
        encoder_channels: of the encoder's blocks.
        encoder_blocks: of the encoder; 0 leaves it linear.
        steps: of the encoder, each of which costs two passes of the decoder.
        pca: whether the linear layers start as PCA of patches, rather than at random.
        bottleneck: see ``Residual``. Where the ``dim`` of a discrete one divides ``latent_channels``, no
            token reaches over a patch's border, and ``at`` takes any size.

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
        encoder_channels: int = 48,
        encoder_blocks: int = 3,
        steps: int = 1,
        pca: bool = True,
        bottleneck: Callable[[int], Bottleneck] | None = None,
    ) -> None:
        super().__init__(
            shape,
            latent_of(shape, latent_channels, factor),
            pixels=shape[0] * factor**2,
            numbers=latent_channels,
            channels=channels,
            blocks=blocks,
            encoder_channels=encoder_channels,
            encoder_blocks=encoder_blocks,
            steps=steps,
            pca=pca,
            bottleneck=bottleneck,
            grid=grid_of(shape, factor),
        )
        self.factor, self.latent_channels = factor, latent_channels

    def at(self, shape: Sequence[int]) -> "Spatial":
        """Return this network, with these very weights, for images of another size.

        Args:
            shape: (C, H, W); C as it is.

        Raises:
            UserError: the bottleneck cuts the latent into tokens, which do not divide that of this size.
        """
        other = copy(self)
        other._modules = dict(self._modules)
        other.latent = latent_of(shape, self.latent_channels, self.factor)
        if isinstance(self.bottleneck, Discrete) and other.latent % self.bottleneck.dim:
            raise UserError(
                f"{shape[1]}x{shape[2]} pixels become {other.latent:,} numbers, which tokens of "
                f"{self.bottleneck.dim} do not divide; a run whose tokens divide "
                f"model.latent_channels={self.latent_channels} takes any size"
            )
        other.shape = (self.shape[0], shape[1], shape[2])
        other.bottleneck = copy(self.bottleneck)
        other.bottleneck.latent, other.bottleneck.grid = other.latent, grid_of(shape, self.factor)
        return other

    @torch.no_grad()
    def start(self, images: Images) -> None:
        """Start the linear layers as principal components of patches of images (N, C, H, W) of a split.

        Raises:
            ValueError: there are fewer patches than ``latent_channels``.
        """
        mean, components = principal(images, self.factor, self.latent_channels)
        self.take(components, mean)

    def apart(self, x: Tensor) -> Tensor:
        """Cut images (N, C, H, W) into patches: (N, h*w, C*factor^2)."""
        return patches(x, self.factor)

    def places(self, z: Tensor) -> Tensor:
        """Cut ``z`` (N, latent) into the numbers of each patch: (N, h*w, latent_channels)."""
        return z.reshape(-1, self.latent // self.latent_channels, self.latent_channels)

    def together(self, parts: Tensor) -> Tensor:
        """Put patches (N, h*w, C*factor^2) together to images (N, C, H, W)."""
        return joined(parts, self.shape, self.factor)
