"""The strongest honest bottleneck of the lab: linear layers that start as PCA, convolutions around them."""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from caelab.bottlenecks.bottleneck import Bottleneck, Discrete
from caelab.data.scale import unit
from caelab.models.autoencoder import Autoencoder, Code, Images, at_least, image_shape
from caelab.models.pca import PCA

_START = 0.01  # of the usual scale: what the convolutions add to the linear path before the first step
_PIXELS = 2  # a side of the squares of pixels that become channels
_RAMP = 0.03  # a fifth of a hidden number's usual spread: over it the adjoint takes ReLU's slope from 0 to 1
_RATE = 0.5  # of the encoder's steps before training; 1 would be Newton's, were the decoder linear

Adjoint = Callable[[Tensor], Tensor]


class Corrected(Autoencoder):
    """A linear autoencoder that starts as principal components, and convolutions that correct it.

    Args:
        shape: (C, H, W) of one image.
        latent: numbers in ``z``.
        pixels: numbers that a linear layer reads at once.
        numbers: that it makes of them.
        channels: of the decoder's blocks.
        blocks: of the decoder; 0 leaves it linear.
        encoder_channels: of the encoder's blocks.
        encoder_blocks: of the encoder; 0 leaves it linear.
        steps: of the encoder, each of which costs two passes of the decoder; a trained one that takes more of
            them repeats the last.
        pca: whether the linear layers start as PCA, rather than at random.
        bottleneck: see ``Autoencoder``.
        grid: see ``Autoencoder``.

    Raises:
        ValueError: a value that cannot be; the message starts with the parameter's name.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int,
        pixels: int,
        numbers: int,
        channels: int,
        blocks: int,
        encoder_channels: int,
        encoder_blocks: int,
        steps: int,
        pca: bool,
        bottleneck: Callable[[int], Bottleneck] | None,
        grid: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(shape, latent, bottleneck, grid)
        self.pca = pca
        self.to_latent, self.from_latent = Scaled(pixels, numbers), Scaled(numbers, pixels)
        self.encoder = self.decoder = self.to_spread = None
        at_least(1, "encoder_channels", encoder_channels)
        if at_least(0, "encoder_blocks", encoder_blocks):
            self.encoder = Correction(2 * self.shape[0], self.shape[0], encoder_channels, encoder_blocks)
        at_least(1, "channels", channels)
        if at_least(0, "blocks", blocks):
            self.decoder = Correction(self.shape[0], self.shape[0], channels, blocks)
        self.bottleneck.at_places(numbers)
        if self.bottleneck.asks > 1:
            self.to_spread = Scaled(pixels, (self.bottleneck.asks - 1) * numbers)
        self.unit: Tensor | None
        units = torch.ones(numbers) if isinstance(self.bottleneck, Discrete) else None
        self.register_buffer("unit", units)  # of each number of z, where it crosses as levels or entries
        self.rates = nn.Parameter(torch.full((at_least(0, "steps", steps), numbers), _RATE))
        self.steps = steps or None

    @abstractmethod
    def start(self, images: Images) -> None:
        """Start the linear layers as the principal components of images (N, C, H, W) of a split."""

    @abstractmethod
    def apart(self, x: Tensor) -> Tensor:
        """Cut images (N, C, H, W) into what a linear layer reads at once: (N, ..., pixels)."""

    def places(self, z: Tensor) -> Tensor:
        """Cut ``z`` (N, latent) into what a linear layer reads at once: (N, ..., numbers)."""
        return z

    @abstractmethod
    def together(self, parts: Tensor) -> Tensor:
        """Put (N, ..., pixels) together to images (N, C, H, W)."""

    @torch.no_grad()
    def initialise(self, images: Images) -> None:
        """Start the linear layers as the principal components of images (N, C, H, W) of a split.

        Raises:
            ValueError: there are fewer images than the components need.
        """
        if self.pca:
            self.start(images)
        if self.unit is not None:
            x = torch.stack([images[n : n + 1][0] for n in range(0, len(images), -(-len(images) // 2000))])
            z = self.to_latent(self.apart(unit(x).to(self.unit.device)))
            self.unit.copy_(z.flatten(0, -2).std(0).clamp(min=1e-6))
        self.start_bottleneck(images)

    def take(self, components: Tensor, mean: Tensor) -> None:
        """Start the linear layers as components (numbers, pixels) around a mean (pixels,)."""
        self.to_latent.start(components, -(components @ mean))
        self.from_latent.start(components.T, mean)

    def encode(self, x: Tensor, key: Tensor | None = None) -> Code:
        """Map images ``x`` (N, C, H, W) in [0, 1] to ``Code(z)``, z (N, latent) float32."""
        if self.encoder is not None:
            x_0 = self._linear(self._project(x))
            z = self._project(x + self.encoder(torch.cat([x, x_0], 1))[0])
        else:
            z = self._project(x)
        for step in range(self.steps or 0):
            rate = self.rates[min(step, len(self.rates) - 1)].float()
            z = z + self._each(rate) * self._pull(z, x)
        if self.to_spread is not None:
            z = torch.cat([z, self.to_spread(self.apart(x)).flatten(1)], 1)
        if self.unit is not None:
            z = z / self._each(self.unit)
        return self._crossed(z, key)

    def _crossed(self, z: Tensor, key: Tensor | None) -> Code:
        """Let ``z`` cross the bottleneck."""
        z, penalty, indices = self.bottleneck(z, key)
        return Code(z, penalty=penalty, indices=indices)

    def decode(self, code: Code) -> Tensor:
        """Map a code to ``x_hat`` (N, C, H, W), float32 in [0, 1]."""
        x = self._linear(code.z if self.unit is None else code.z * self._each(self.unit))
        if self.decoder is not None:
            x = x + self.decoder(x)[0]
        return x.float().clamp(0, 1)

    def _each(self, values: Tensor) -> Tensor:
        """A value of each number that a linear layer makes as one of each number in ``z``, (latent,)."""
        return values.repeat(self.latent // len(values))

    def _project(self, x: Tensor) -> Tensor:
        return self.to_latent(self.apart(x)).flatten(1)  # type: ignore[no-any-return]

    def _linear(self, z: Tensor) -> Tensor:
        return self.together(self.from_latent(self.places(z)))

    def _pull(self, z: Tensor, x: Tensor) -> Tensor:
        """Return ``J^T (x - x_hat)`` (N, latent), float32: the change of ``z`` that ``x_hat`` asks for."""
        x_hat = self._linear(z)
        if self.decoder is None:
            missing = x - x_hat.clamp(0, 1)
        else:
            correction, adjoint = self.decoder(x_hat)
            missing = x - (x_hat + correction).float().clamp(0, 1)
            missing = missing + adjoint(missing)
        return self.from_latent.adjoint(self.apart(missing)).flatten(1)


class Residual(Corrected):
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
            |  steps                                         v
            z                                              x_hat

    The encoder is shown the image beside ``x_0``, what the linear layers alone make of it, and so sees what
    they lose; it changes the image before it is projected, in ways that the projection keeps. Then it looks
    at what the decoder makes of its code. A step is ``z + rate * J^T (x - x_hat)``, with ``J`` the Jacobian
    of the decoder at ``z``: down the gradient of the squared error of this image. There the slope of a ReLU
    rises along a ramp instead of a jump at 0: else two pictures that differ by rounding could have codes that
    differ by a hundredth. Training goes through the step, and learns a rate for each number of ``z``. Steps
    of a decoder's gradient as part of the encoder: Marino et al., "Iterative Amortized Inference" (2018); a
    trained network of a fixed number of them: Gregor and LeCun, "Learning Fast Approximations of Sparse
    Coding" (2010).

    A correction works on squares of 2x2 pixels as channels: a convolution, blocks, a convolution. A block is
    ``x + conv(relu(conv(x)))``, 3x3, without a norm, as in Lim et al., "Enhanced Deep Residual Networks for
    Single Image Super-Resolution" (2017). Shuffling pixels into channels and back instead of strides, beside
    a path without an activation, follows Chen et al., "Deep Compression Autoencoder for Efficient
    High-Resolution Diffusion Models" (2024).

    The weights of the linear layers are kept divided by ``1 / sqrt(C * H * W)``, so that a step of Adam at
    the rate that suits the convolutions moves them by a small part of their size.

    Args:
        shape: (C, H, W) of one image, of any size: odd sides get a grey pixel more, and are cut again.
        latent: numbers in ``z``, at most C*H*W and the number of training images.
        channels: of the decoder's blocks.
        blocks: of the decoder; 0 leaves it linear.
        encoder_channels: of the encoder's blocks.
        encoder_blocks: of the encoder; 0 leaves it linear.
        steps: of the encoder, each of which costs two passes of the decoder.
        pca: whether the linear layers start as PCA, rather than at random.
        bottleneck: see ``Autoencoder``; it comes behind the steps. For one that asks for a spread of each
            number beside it, a linear layer of its own reads that from the image.

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
        steps: int = 1,
        pca: bool = True,
        bottleneck: Callable[[int], Bottleneck] | None = None,
    ) -> None:
        numbers = math.prod(image_shape(shape))
        if isinstance(latent, int) and latent > numbers:
            raise ValueError(f"latent must be at most {numbers}, the numbers in one image, got {latent}")
        super().__init__(
            shape,
            latent,
            pixels=numbers,
            numbers=latent,
            channels=channels,
            blocks=blocks,
            encoder_channels=encoder_channels,
            encoder_blocks=encoder_blocks,
            steps=steps,
            pca=pca,
            bottleneck=bottleneck,
        )

    @torch.no_grad()
    def start(self, images: Images) -> None:
        """Start the linear layers as the principal components of images (N, C, H, W) of a split.

        Raises:
            ValueError: there are fewer images than ``latent``.
        """
        fitted = PCA(self.shape, self.latent)
        fitted.initialise(images)
        if fitted.latent < self.latent:
            most = f"{fitted.latent}, the number of training images"
            raise ValueError(f"latent must be at most {most}, got {self.latent}")
        self.take(fitted.components, fitted.mean)

    def apart(self, x: Tensor) -> Tensor:
        """All of an image at once: (N, C, H, W) as (N, C*H*W)."""
        return x.flatten(1)

    def together(self, parts: Tensor) -> Tensor:
        """Put (N, ..., C*H*W) together to images (N, C, H, W)."""
        return parts.reshape(-1, *self.shape)


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

    def adjoint(self, y: Tensor) -> Tensor:
        """Map (N, n_out) to (N, n_in), float32, by the transposed weights."""
        with torch.autocast(y.device.type, enabled=False):
            return F.linear(y.float(), self.weight.float().T * self.scale)


class Correction(nn.Module):
    """Convolutions that say what to add to an image; at first almost nothing, so that training starts there.

    Args:
        shown: channels of the images that it is shown, one behind the other.
        colours: channels of its answer.
        channels: of the blocks.
        blocks: how many.
    """

    def __init__(self, shown: int, colours: int, channels: int, blocks: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(shown * _PIXELS**2, channels, 3, padding=1)
        self.blocks = nn.ModuleList(Block(channels) for _ in range(blocks))
        self.last = nn.Conv2d(channels, colours * _PIXELS**2, 3, padding=1)
        with torch.no_grad():
            self.last.weight.mul_(_START)
            assert self.last.bias is not None
            self.last.bias.zero_()

    def forward(self, images: Tensor) -> tuple[Tensor, Adjoint]:
        """Return the answer to images (N, shown, H, W) in about [0, 1], and its adjoint there.

        The adjoint, of the Jacobian, maps a change of the answer (N, colours, H, W) to one of the images. The
        backward pass does the same but for the ramps; this one can be exported, and has a gradient itself.
        """
        height, width = images.shape[2:]
        x, adjoints = self.first(unshuffled(images - 0.5).to(self.first.weight.dtype)), []
        for block in self.blocks:
            x, adjoint = block(x)
            adjoints.append(adjoint)

        def whole(y: Tensor) -> Tensor:
            y = transposed(self.last, unshuffled(y).to(self.last.weight.dtype))
            for adjoint in reversed(adjoints):
                y = adjoint(y)
            return shuffled(transposed(self.first, y), height, width)

        return shuffled(self.last(x), height, width), whole


class Block(nn.Module):
    """``x + conv(relu(conv(x)))`` with 3x3 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Conv2d(channels, channels, 3, padding=1)
        self.outer = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Adjoint]:
        """Map (N, C, h, w) to the same shape; also return the adjoint of the Jacobian there."""
        hidden = self.inner(x)

        def adjoint(y: Tensor) -> Tensor:
            slope = (hidden.detach() / _RAMP + 0.5).clamp(0, 1)
            return y + transposed(self.inner, slope * transposed(self.outer, y))

        return x + self.outer(F.relu(hidden)), adjoint


def transposed(conv: nn.Conv2d, y: Tensor) -> Tensor:
    """Map (N, C_out, h, w) to (N, C_in, h, w) by the adjoint of a convolution that keeps the size."""
    return F.conv_transpose2d(y, conv.weight, padding=1)


def unshuffled(x: Tensor) -> Tensor:
    """Images (N, C, H, W) as (N, 4 C, ceil(H / 2), ceil(W / 2)); odd sides get zeros."""
    return F.pixel_unshuffle(F.pad(x, (0, -x.shape[3] % _PIXELS, 0, -x.shape[2] % _PIXELS)), _PIXELS)


def shuffled(x: Tensor, height: int, width: int) -> Tensor:
    """The adjoint of ``unshuffled`` and its inverse: (N, 4 C, h, w) as images (N, C, height, width)."""
    return F.pixel_shuffle(x, _PIXELS)[:, :, :height, :width]
