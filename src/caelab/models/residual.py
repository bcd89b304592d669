"""The strongest honest bottleneck of the lab: linear layers that start as PCA, convolutions around them."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from caelab.models.autoencoder import Autoencoder, Code, Images, at_least
from caelab.models.pca import PCA

_START = 0.01  # of the usual scale: what the convolutions add to the linear path before the first step
_ENCODER_PIXELS, _DECODER_PIXELS = 4, 2  # a side of the squares of pixels that become channels


class Residual(Autoencoder):
    """Linear layers that start as principal components; residual convolutions correct what they lose.

    All that reaches the decoder is ``z``. On an image of 3x32x32, with its defaults::

        x    3x32x32                                            x_hat  3x32x32
             |                                                         ^
             +--------------------------+                              | clamp
             | unshuffle 4              |                    +------->(+)
             v                          |                    |         ^
           48x8x8                       |                    |         | shuffle 2
             | conv, blocks, conv 1x1   | - mean             |       12x16x16
             v                          v                    |         ^
           16x8x8                    linear                  |         | conv, blocks, conv
             | flatten, linear          |                    |         |
             v                          v                    |       12x16x16
            256 ---------------------->(+)                   |         ^
                                        |                    |         | unshuffle 2
                                        v                    |         |
                                      z 256 -- Code(z) -- linear ------+

    A block is ``x + conv(relu(conv(x)))``, 3x3, without a norm unless ``groups`` asks for one, as in Lim et
    al., "Enhanced Deep Residual Networks for Single Image Super-Resolution" (2017). Shuffling pixels into
    channels and back instead of strides, beside a path without an activation, follows Chen et al., "Deep
    Compression Autoencoder for Efficient High-Resolution Diffusion Models" (2024).

    The weights of the linear path are kept divided by ``1 / sqrt(C * H * W)``, so that a step of Adam at the
    rate that suits the convolutions moves them by a small part of their size.

    With ``patch`` the code is spatial: each square patch of the image has its own share of the latent, and
    all patches have the same linear layers, which start as the principal components of patches. The
    convolutions see across the borders. ``z`` holds the patches row by row.

    Args:
        shape: (C, H, W) of one image, of any size: sides are padded to multiples of 4 and cut again.
        latent: numbers in ``z`` per image, at most C*H*W and the number of training images.
        channels: of the decoder's blocks.
        blocks: of the decoder; 0 leaves it linear.
        encoder_channels: of the encoder's blocks.
        encoder_blocks: of the encoder; 0 leaves it linear.
        pca: whether the linear path starts as PCA, rather than at random.
        groups: of the group norm (Wu and He, "Group Normalization", 2018) before a block's first convolution,
            a divisor of both channels; 1 is a layer norm over channels and pixels, 0 no norm.
        patch: pixels a side of the patches of a spatial code, a multiple of 4; None is one flat code.

    Raises:
        ValueError: a value that cannot be; the message starts with the parameter's name.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 256,
        channels: int = 48,
        blocks: int = 3,
        encoder_channels: int = 64,
        encoder_blocks: int = 1,
        pca: bool = True,
        groups: int = 0,
        patch: int | None = None,
    ) -> None:
        super().__init__(shape, latent)
        numbers = math.prod(self.shape)
        if latent > numbers:
            raise ValueError(f"latent must be at most {numbers}, the numbers in one image, got {latent}")
        self.pca = pca
        self.patch = self.shape[1:]  # (height, width)
        if patch is not None:
            if at_least(_ENCODER_PIXELS, "patch", patch) % _ENCODER_PIXELS:
                raise ValueError(f"patch must be a multiple of {_ENCODER_PIXELS}, got {patch}")
            self.patch = (patch, patch)
        patches = math.prod(grid(self.shape[1:], self.patch))
        share, rest = divmod(latent, patches)
        if rest:
            raise ValueError(f"latent must be a multiple of {patches}, the patches in an image, got {latent}")
        numbers = self.shape[0] * math.prod(self.patch)
        self.to_latent, self.from_latent = Scaled(numbers, share), Scaled(share, numbers)
        self.encoder = self.decoder = None
        if at_least(0, "encoder_blocks", encoder_blocks):
            narrow = at_least(1, "encoder_channels", encoder_channels) // 4 or 1
            cells = grid(self.patch, (_ENCODER_PIXELS, _ENCODER_PIXELS))
            self.encoder = nn.Sequential(
                *trunk(self.shape[0] * _ENCODER_PIXELS**2, encoder_channels, encoder_blocks, groups),
                nn.Conv2d(encoder_channels, narrow, 1),
                nn.ReLU(),
                Patches(cells),
                faint(nn.Linear(narrow * math.prod(cells), share)),
            )
        if at_least(0, "blocks", blocks):
            depth = self.shape[0] * _DECODER_PIXELS**2
            self.decoder = nn.Sequential(
                *trunk(depth, at_least(1, "channels", channels), blocks, groups),
                faint(nn.Conv2d(channels, depth, 3, padding=1)),
            )

    @torch.no_grad()
    def initialise(self, images: Images) -> None:
        """Start the linear path as the principal components of images (N, C, H, W) uint8.

        Raises:
            ValueError: there are fewer images than ``latent``.
        """
        if not self.pca:
            return
        fitted = PCA((self.shape[0], *self.patch), self.to_latent.bias.numel())
        fitted.initialise(patched(images[:], self.patch).flatten(0, 1))  # (N * patches, C, h, w)
        self.to_latent.start(fitted.components, -(fitted.components @ fitted.mean))
        self.from_latent.start(fitted.components.T, fitted.mean)

    def encode(self, x: Tensor) -> Code:
        """Map images ``x`` (N, C, H, W) in [0, 1] to ``Code(z)``, z (N, latent) float32."""
        z = self.to_latent(patched(x, self.patch).flatten(2))  # (N, patches, latent / patches)
        if self.encoder is not None:
            z = z + self.encoder(unshuffled(x, _ENCODER_PIXELS))
        return Code(z.flatten(1))

    def decode(self, code: Code) -> Tensor:
        """Map a code to ``x_hat`` (N, C, H, W), float32 in [0, 1]."""
        patches = grid(self.shape[1:], self.patch)
        x: Tensor = self.from_latent(code.z.reshape(-1, math.prod(patches), self.to_latent.bias.numel()))
        x = x.reshape(-1, *patches, self.shape[0], *self.patch)  # (N, rows, columns, C, h, w)
        x = x.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)  # (N, C, rows * h, columns * w)
        x = x[:, :, : self.shape[1], : self.shape[2]]
        if self.decoder is not None:
            fine = F.pixel_shuffle(
                self.decoder(unshuffled(x.to(self.weight.dtype), _DECODER_PIXELS)), _DECODER_PIXELS
            )
            x = x + fine[:, :, : self.shape[1], : self.shape[2]]
        return x.float().clamp(0, 1)


class Scaled(nn.Module):
    """A linear layer whose weights are stored divided by ``c = 1 / sqrt(max(n_in, n_out))``.

    A step of Adam then moves a weight by ``c`` times the learning rate, whatever its gradient: equalized
    learning rate, section 4.1 of Karras et al., "Progressive Growing of GANs" (2018). It computes in float32
    under autocast too, so that the floor does not sink with the precision.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.scale = max(n_in, n_out) ** -0.5
        self.weight = nn.Parameter(torch.randn(n_out, n_in))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def start(self, weight: Tensor, bias: Tensor) -> None:
        """Take these weights (n_out, n_in) and this bias (n_out,) as they are to act."""
        self.weight.copy_(weight / self.scale)
        self.bias.copy_(bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, n_in) to (N, n_out), float32."""
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(x.float(), self.weight.float() * self.scale, self.bias.float())


class Patches(nn.Module):
    """Each patch of what comes in, flattened."""

    def __init__(self, sides: Sequence[int]) -> None:
        super().__init__()
        self.sides = sides

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, patches, C * h * w)."""
        return patched(x, self.sides).flatten(2)


class Block(nn.Module):
    """``x + conv(relu(conv(norm(x))))`` with 3x3 convolutions; without ``groups`` there is no norm."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        if at_least(0, "groups", groups) and channels % groups:
            raise ValueError(f"groups must divide the channels, {channels}, got {groups}")
        self.norm = nn.GroupNorm(groups, channels) if groups else nn.Identity()
        self.inner = nn.Conv2d(channels, channels, 3, padding=1)
        self.outer = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to the same shape."""
        return x + self.outer(F.relu(self.inner(self.norm(x))))  # type: ignore[no-any-return]


def grid(sides: Sequence[int], patch: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of patches (h, w) that cover ``sides`` (H, W)."""
    (height, width), (h, w) = sides, patch
    return math.ceil(height / h), math.ceil(width / w)


def continued(x: Tensor, height: int, width: int) -> Tensor:
    """Images (N, C, H, W), last row and column repeated up to multiples of ``height`` and ``width``."""
    return F.pad(x, (0, -x.shape[3] % width, 0, -x.shape[2] % height), mode="replicate")


def patched(x: Tensor, sides: Sequence[int]) -> Tensor:
    """Patches of images (N, C, H, W), row by row, as (N, patches, C, h, w) where ``sides`` is (h, w)."""
    height, width = sides
    x = continued(x, height, width).unfold(2, height, height).unfold(3, width, width)
    return x.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)


def unshuffled(x: Tensor, pixels: int) -> Tensor:
    """Images (N, C, H, W), grey as zero, as (N, C * pixels**2, ceil(H / pixels), ceil(W / pixels))."""
    return F.pixel_unshuffle(continued(x - 0.5, pixels, pixels), pixels)


def trunk(depth: int, channels: int, blocks: int, groups: int) -> list[nn.Module]:
    """A convolution from ``depth`` channels to ``channels``, then the blocks."""
    return [nn.Conv2d(depth, channels, 3, padding=1), *(Block(channels, groups) for _ in range(blocks))]


def faint(layer: nn.Linear | nn.Conv2d) -> nn.Module:
    """A layer that at first says almost nothing, so that training starts from the linear path."""
    with torch.no_grad():
        layer.weight.mul_(_START)
        assert layer.bias is not None
        layer.bias.zero_()
    return layer
