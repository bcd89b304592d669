"""The plain convolutional autoencoder of the report, and the family that grows from it."""

import difflib
import inspect
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast

from torch import Tensor, nn
from torch.nn.modules import activation as torch_activations

from caelab.bottlenecks.bottleneck import Bottleneck
from caelab.models.autoencoder import Autoencoder, Code, at_least, each_at_least

HALVINGS = 3
"""Stages that halve the image, as the report draws them; those after them keep its size."""

POOLS: dict[str, Callable[[], nn.Module] | None] = {
    "stride": None,
    "max_pool": lambda: nn.MaxPool2d(2, ceil_mode=True),
    "avg_pool": lambda: nn.AvgPool2d(2, ceil_mode=True),
}
"""Value of ``downsample`` -> what halves the image behind a convolution that does not do it itself."""

NOT_ELEMENTWISE = {
    "GLU",
    "LogSoftmax",
    "MultiheadAttention",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Threshold",  # it is, but it has no defaults
}


class Base(Autoencoder):
    """Convolutions, then linear layers down to the latent; the decoder is the mirror image.

    Figure 2 of the report (Erkol, Guvenli, Koulaeizadeh, "Exploring Enhanced Architectures for
    Convolutional Autoencoders"). With its defaults, on an image of 3x32x32::

        x      3x32x32                                  x_hat  3x32x32
               |                                               ^
               | conv 3x3, stride 2, norm, act                 | conv^T 3x3, stride 2, sigmoid
               v                                               |
              16x16x16                                        16x16x16
               |                                               ^
               | conv 3x3, stride 2, norm, act                 | conv^T 3x3, stride 2, norm, act
               v                                               |
              32x8x8                                          32x8x8
               |                                               ^
               | conv 3x3, stride 2                            | conv^T 3x3, stride 2, norm, act
               v                                               |
              64x4x4                                          64x4x4
               |                                               ^
               | flatten, linear 128, act, linear              | linear 128, act, linear, unflatten
               v                                               |
               z 256 ----------------- Code(z) ----------------+

    The report only draws its layer sizes; a hidden layer of 128 numbers is ours. It tried other depths,
    kernels, strides and paddings (section III), without figures. Where the encoder pools, the decoder keeps
    its transposed convolutions, as in section I of the report; sizes and parameters are the same.

    Args:
        shape: (C, H, W) of one image, of any size that the strides do not use up.
        latent: numbers in ``z`` per image.
        channels: of each stage, so its length is the depth.
        hidden: sizes of the linear layers between the last stage and ``z``; may be empty.
        kernel_size: of every convolution; odd.
        activation: class name of an elementwise activation of ``torch.nn``.
        negative_slope: of an activation that has one (LeakyReLU); None is that class's default.
        halvings: how many stages halve height and width, rounding up; the first ones.
        padding: pixels of zeros around what each convolution sees, at most ``kernel_size // 2``, which None
            is. With less each stage also cuts ``kernel_size // 2 - padding`` pixels from each edge.
        downsample: what halves: ``stride``, a convolution of stride 2; ``max_pool`` or ``avg_pool``, of 2x2,
            behind a convolution of stride 1 with its norm and activation.
        bottleneck: see ``Autoencoder``.

    Raises:
        ValueError: a value that cannot be; the message starts with the parameter's name.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 256,
        channels: Sequence[int] = (16, 32, 64),
        hidden: Sequence[int] = (128,),
        kernel_size: int = 3,
        activation: str = "ReLU",
        negative_slope: float | None = None,
        halvings: int = HALVINGS,
        padding: int | None = None,
        downsample: str = "stride",
        bottleneck: Callable[[int], Bottleneck] | None = None,
    ) -> None:
        super().__init__(shape, latent, bottleneck)
        channels = each_at_least(1, "channels", channels)
        hidden = each_at_least(1, "hidden", hidden)
        if not channels:
            raise ValueError("channels must name at least one stage, got []")
        if at_least(1, "kernel_size", kernel_size) % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {kernel_size}")
        if downsample not in POOLS:
            raise ValueError(f"downsample must be {' or '.join(POOLS)}, got {downsample!r}")
        act = activation_factory(activation, negative_slope)

        depths = (self.shape[0], *channels)
        self.sizes = stage_sizes(self.shape[1:], len(channels), halvings, kernel_size, padding)
        self.strides = stage_strides(len(channels), halvings)
        self.cut = cut_pixels(kernel_size, padding)
        self.deepest = (channels[-1], *self.sizes[-1])
        widths = (math.prod(self.deepest), *hidden)
        self.encoder = encoder_stages(depths, self.strides, kernel_size, self.cut, act, POOLS[downsample])
        self.to_latent = linear_layers((*widths, self.bottleneck.asks * self.latent), act)
        self.from_latent = linear_layers((self.latent, *widths[::-1]), act)
        self.decoder = decoder_stages(
            depths[::-1], self.sizes[::-1], self.strides[::-1], kernel_size, self.cut, act
        )

    def encode(self, x: Tensor, key: Tensor | None = None) -> Code:
        """Map images ``x`` (N, C, H, W) in [0, 1] to ``Code(z)``, z (N, latent)."""
        for stage in self.encoder:
            x = stage(x)
        return self.cross(x, key=key)

    def cross(self, x: Tensor, skips: tuple[Tensor, ...] = (), key: Tensor | None = None) -> Code:
        """Send what the last stage puts out (N, ...) through linear layers and bottleneck."""
        z, penalty, indices = self.bottleneck(self.to_latent(x.flatten(1)), key)
        return Code(z, skips, penalty, indices)

    def decode(self, code: Code) -> Tensor:
        """Map a code to ``x_hat`` (N, C, H, W), float32 in [0, 1]."""
        x = self.from_latent(code.z).unflatten(1, self.deepest)  # (N, channels[-1], h, w)
        for stage in self.decoder:
            x = stage(x)
        return to_image(x)


def to_image(x: Tensor) -> Tensor:
    """Squash any ``x`` into [0, 1], in float32: near 1 the steps of bfloat16 are as large as grey levels."""
    return x.float().sigmoid()


def stage_strides(stages: int, halvings: int = HALVINGS) -> tuple[int, ...]:
    """How many times smaller each encoder stage makes height and width: 2 for the first ones, then 1.

    Raises:
        ValueError: ``halvings`` is no whole number of 0 or more.
    """
    return tuple(2 if stage < at_least(0, "halvings", halvings) else 1 for stage in range(stages))


def cut_pixels(kernel_size: int, padding: int | None = None) -> int:
    """Pixels that a convolution of stride 1 cuts from each edge.

    Raises:
        ValueError: ``padding`` is more than would keep the size, or no whole number of 0 or more.
    """
    whole = kernel_size // 2
    if padding is None:
        return 0
    if at_least(0, "padding", padding) > whole:
        raise ValueError(f"padding must be at most {whole}, half of kernel_size, got {padding}")
    return whole - padding


def stage_sizes(
    image: Sequence[int],
    stages: int,
    halvings: int = HALVINGS,
    kernel_size: int = 3,
    padding: int | None = None,
) -> list[tuple[int, int]]:
    """Height and width of the image and after each encoder stage, so of length ``stages + 1``.

    Raises:
        ValueError: a stage would have nothing left to halve or to see, or an option cannot be.
    """
    strides, seen = stage_strides(stages, halvings), 2 * cut_pixels(kernel_size, padding) + 1
    least = 1
    for stride in reversed(strides):
        least = max(stride, (least - 1) * stride + seen)
    if min(image) < least:
        raise ValueError(
            f"channels must name fewer stages for images of {image[0]}x{image[1]}: "
            f"with {stages}, a side must be at least {least}"
        )
    sizes = [(image[0], image[1])]
    for stride in strides:
        height, width = ((side - seen) // stride + 1 for side in sizes[-1])
        sizes.append((height, width))
    return sizes


def encoder_stages(
    depths: Sequence[int],
    strides: Sequence[int],
    kernel_size: int,
    cut: int,
    act: Callable[[], nn.Module],
    pool: Callable[[], nn.Module] | None = None,
) -> nn.ModuleList:
    """Convolutions from ``depths[0]`` channels to ``depths[-1]``; all but the last with norm, activation.

    Where there is a ``pool``, it halves behind them what a stride of 2 would have halved.
    """
    stages = nn.ModuleList()
    for (n_in, n_out), stride in zip(pairwise(depths), strides, strict=True):
        pooled = pool is not None and stride > 1
        conv = nn.Conv2d(n_in, n_out, kernel_size, 1 if pooled else stride, kernel_size // 2 - cut)
        last = len(stages) == len(strides) - 1
        layers = [conv] if last else [conv, nn.BatchNorm2d(n_out), act()]
        stages.append(nn.Sequential(*layers, *([pool()] if pool is not None and pooled else [])))
    return stages


def decoder_stages(
    depths: Sequence[int],
    sizes: Sequence[tuple[int, int]],
    strides: Sequence[int],
    kernel_size: int,
    cut: int,
    act: Callable[[], nn.Module],
) -> nn.ModuleList:
    """Mirror of the encoder's stages; ``depths``, ``sizes`` and ``strides`` are theirs, deepest first."""
    stages = nn.ModuleList()
    padding, seen = kernel_size // 2 - cut, 2 * cut + 1
    for i, ((n_in, n_out), stride) in enumerate(zip(pairwise(depths), strides, strict=True)):
        # An odd and an even side shrink to the same: what tells them apart comes back as output padding.
        (h, w), (height, width) = sizes[i], sizes[i + 1]
        extra = (height - (h - 1) * stride - seen, width - (w - 1) * stride - seen)
        conv = nn.ConvTranspose2d(n_in, n_out, kernel_size, stride, padding, output_padding=extra)
        last = i == len(strides) - 1
        stages.append(nn.Sequential(conv) if last else nn.Sequential(conv, nn.BatchNorm2d(n_out), act()))
    return stages


def linear_layers(widths: Sequence[int], act: Callable[[], nn.Module]) -> nn.Sequential:
    """Linear layers from ``widths[0]`` numbers to ``widths[-1]``, with an activation between any two."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [act(), nn.Linear(n_in, n_out)]
    return nn.Sequential(*layers[1:])


def activation_factory(name: str, negative_slope: float | None = None) -> Callable[[], nn.Module]:
    """Return what builds the activation of ``torch.nn`` of that class name.

    Raises:
        ValueError: torch has no such elementwise activation, or it has no ``negative_slope``, or that
            slope is not a finite number.
    """
    if name in NOT_ELEMENTWISE:
        raise ValueError(f"activation: {name!r} is not elementwise, or has no defaults")
    known = sorted(set(torch_activations.__all__) - NOT_ELEMENTWISE)
    if name not in known:
        lower = {other.lower(): other for other in known}
        close = difflib.get_close_matches(str(name).lower(), lower, n=1)
        hint = f"did you mean {lower[close[0]]!r}?" if close else f"it can be one of {', '.join(known)}"
        raise ValueError(f"activation: torch.nn has no {name!r}; {hint}")
    kind = cast(Callable[..., nn.Module], getattr(torch_activations, name))
    if negative_slope is None:
        return kind
    if "negative_slope" not in inspect.signature(kind).parameters:
        raise ValueError(f"negative_slope must be left out with activation {name!r}, which has none")
    if isinstance(negative_slope, bool) or not isinstance(negative_slope, int | float):
        # LeakyReLU(True) is LeakyReLU(1), the identity: a slip that once reached print.
        raise ValueError(f"negative_slope must be a number, got {negative_slope!r}")
    if not math.isfinite(negative_slope):
        raise ValueError(f"negative_slope must be finite, got {negative_slope}")
    return lambda: kind(negative_slope=negative_slope)
