"""The strongest honest bottleneck of the lab: linear layers that start as PCA, convolutions around them."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from caelab.models.autoencoder import Autoencoder, Code, Images, at_least
from caelab.models.pca import PCA

_START = 0.01  # of the usual scale: what the convolutions add to the linear path before the first step
_PIXELS = 2  # a side of the squares of pixels that become channels


class Residual(Autoencoder):
    """Linear layers that start as principal components; residual convolutions correct what they lose.

    All that reaches the decoder is ``z``::

        x --+--> linear, linear --> x_0                      z
            |                        |                       |
            |   (x, x_0) <-----------+                     linear
            |      |                                         |
            |      | correction                              +---------------+
            v      |                                         |               | correction
           (+)<----+                                         v               |
            |                                               (+)<-------------+
          linear                                             | clamp
            |                                                v
            z                                              x_hat

    The encoder is shown the image beside ``x_0``, what the linear layers alone make of it, and so sees what
    they lose; it changes the image before it is projected, in ways that the projection keeps.

    A correction works on squares of 2x2 pixels as channels: a convolution, blocks, a convolution. A block is
    ``x + conv(relu(conv(x)))``, 3x3, without a norm, as in Lim et al., "Enhanced Deep Residual Networks for
    Single Image Super-Resolution" (2017). Shuffling pixels into channels and back instead of strides, beside
    a path without an activation, follows Chen et al., "Deep Compression Autoencoder for Efficient
    High-Resolution Diffusion Models" (2024).

    The weights of the linear layers are kept divided by ``1 / sqrt(C * H * W)``, so that a step of Adam at
    the rate that suits the convolutions moves them by a small part of their size.

    Args:
        shape: (C, H, W) of one image, of any size: odd sides are continued by a pixel, and cut again.
        latent: numbers in ``z``, at most C*H*W and the number of training images.
        channels: of the decoder's blocks.
        blocks: of the decoder; 0 leaves it linear.
        encoder_channels: of the encoder's blocks.
        encoder_blocks: of the encoder; 0 leaves it linear.
        pca: whether the linear layers start as PCA, rather than at random.

    Raises:
        ValueError: a value that cannot be; the message starts with the parameter's name.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 256,
        channels: int = 48,
        blocks: int = 3,
        encoder_channels: int = 48,
        encoder_blocks: int = 3,
        pca: bool = True,
    ) -> None:
        super().__init__(shape, latent)
        numbers = math.prod(self.shape)
        if latent > numbers:
            raise ValueError(f"latent must be at most {numbers}, the numbers in one image, got {latent}")
        self.pca = pca
        self.to_latent, self.from_latent = Scaled(numbers, latent), Scaled(latent, numbers)
        self.encoder = self.decoder = None
        at_least(1, "encoder_channels", encoder_channels)
        if at_least(0, "encoder_blocks", encoder_blocks):
            self.encoder = Correction(2, self.shape[0], encoder_channels, encoder_blocks)
        at_least(1, "channels", channels)
        if at_least(0, "blocks", blocks):
            self.decoder = Correction(1, self.shape[0], channels, blocks)

    @torch.no_grad()
    def initialise(self, images: Images) -> None:
        """Start the linear layers as the principal components of images (N, C, H, W) uint8.

        Raises:
            ValueError: there are fewer images than ``latent``.
        """
        if not self.pca:
            return
        fitted = PCA(self.shape, self.latent)
        fitted.initialise(images)
        self.to_latent.start(fitted.components, -(fitted.components @ fitted.mean))
        self.from_latent.start(fitted.components.T, fitted.mean)

    def encode(self, x: Tensor) -> Code:
        """Map images ``x`` (N, C, H, W) in [0, 1] to ``Code(z)``, z (N, latent) float32."""
        if self.encoder is not None:
            x = x + self.encoder(x, self._linear(self.to_latent(x.flatten(1))))
        return Code(self.to_latent(x.flatten(1)))

    def decode(self, code: Code) -> Tensor:
        """Map a code to ``x_hat`` (N, C, H, W), float32 in [0, 1]."""
        x = self._linear(code.z)
        if self.decoder is not None:
            x = x + self.decoder(x)
        return x.float().clamp(0, 1)

    def _linear(self, z: Tensor) -> Tensor:
        x: Tensor = self.from_latent(z)
        return x.reshape(-1, *self.shape)


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


class Correction(nn.Module):
    """Convolutions that say what to add to an image; at first almost nothing, so that training starts there.

    Args:
        images: how many it is shown.
        colours: channels of each, and of the answer.
        channels: of the blocks.
        blocks: how many.
    """

    def __init__(self, images: int, colours: int, channels: int, blocks: int) -> None:
        super().__init__()
        depth = colours * _PIXELS**2
        last = nn.Conv2d(channels, depth, 3, padding=1)
        with torch.no_grad():
            last.weight.mul_(_START)
            assert last.bias is not None
            last.bias.zero_()
        self.layers = nn.Sequential(
            nn.Conv2d(images * depth, channels, 3, padding=1), *(Block(channels) for _ in range(blocks)), last
        )

    def forward(self, *images: Tensor) -> Tensor:
        """Map images, each (N, C, H, W) in about [0, 1], to one of that shape."""
        height, width = images[0].shape[2:]
        seen = torch.cat([unshuffled(x) for x in images], 1).to(next(self.parameters()).dtype)
        answer = self.layers(seen)
        return F.pixel_shuffle(answer, _PIXELS)[:, :, :height, :width]


class Block(nn.Module):
    """``x + conv(relu(conv(x)))`` with 3x3 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Conv2d(channels, channels, 3, padding=1)
        self.outer = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to the same shape."""
        return x + self.outer(F.relu(self.inner(x)))  # type: ignore[no-any-return]


def unshuffled(x: Tensor) -> Tensor:
    """Images (N, C, H, W), grey as zero, as (N, 4 C, ceil(H / 2), ceil(W / 2)); odd sides are continued."""
    x = F.pad(x - 0.5, (0, -x.shape[3] % _PIXELS, 0, -x.shape[2] % _PIXELS), mode="replicate")
    return F.pixel_unshuffle(x, _PIXELS)
