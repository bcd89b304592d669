"""The plain convolutional autoencoder of the report, and the family that grows from it."""

import difflib
import inspect
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast

from torch import Tensor, nn
from torch.nn.modules import activation as torch_activations

from caelab.models.autoencoder import Autoencoder, Code, at_least, each_at_least

HALVINGS = 3
"""The first stages have stride 2, those after them stride 1, as the report draws them."""

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

    The report only draws its layer sizes; a hidden layer of 128 numbers is ours.

    Args:
        shape: (C, H, W) of one image, of any size that the strides do not use up.
        latent: numbers in ``z`` per image.
        channels: of each stage, so its length is the depth; stages 1 to 3 have stride 2, later ones 1.
        hidden: sizes of the linear layers between the last stage and ``z``; may be empty.
        kernel_size: of every convolution; odd.
        activation: class name of an elementwise activation of ``torch.nn``.
        negative_slope: of an activation that has one (LeakyReLU); None is that class's default.

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
    ) -> None:
        super().__init__(shape, latent)
        channels = each_at_least(1, "channels", channels)
        hidden = each_at_least(1, "hidden", hidden)
        if not channels:
            raise ValueError("channels must name at least one stage, got []")
        if at_least(1, "kernel_size", kernel_size) % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {kernel_size}")
        act = activation_factory(activation, negative_slope)

        depths = (self.shape[0], *channels)
        sizes = stage_sizes(self.shape[1:], len(channels))
        self.deepest = (channels[-1], *sizes[-1])
        widths = (math.prod(self.deepest), *hidden, self.latent)
        self.encoder = encoder_stages(depths, kernel_size, act)
        self.to_latent = linear_layers(widths, act)
        self.from_latent = linear_layers(widths[::-1], act)
        self.decoder = decoder_stages(depths[::-1], sizes[::-1], kernel_size, act)

    def encode(self, x: Tensor) -> Code:
        """Map images ``x`` (N, C, H, W) in [0, 1] to ``Code(z)``, z (N, latent)."""
        for stage in self.encoder:
            x = stage(x)
        return Code(self.to_latent(x.flatten(1)))

    def decode(self, code: Code) -> Tensor:
        """Map a code to ``x_hat`` (N, C, H, W), float32 in [0, 1]."""
        x = self.from_latent(code.z).unflatten(1, self.deepest)  # (N, channels[-1], h, w)
        for stage in self.decoder:
            x = stage(x)
        return to_image(x)


def to_image(x: Tensor) -> Tensor:
    """Squash any ``x`` into [0, 1], in float32: near 1 the steps of bfloat16 are as large as grey levels."""
    return x.float().sigmoid()


def stage_stride(stage: int) -> int:
    """Stride of an encoder stage, counted from 0."""
    return 2 if stage < HALVINGS else 1


def stage_sizes(image: Sequence[int], stages: int) -> list[tuple[int, int]]:
    """Height and width of the image and after each encoder stage, so of length ``stages + 1``.

    Raises:
        ValueError: a stage of stride 2 would have nothing left to halve.
    """
    least = 2 ** (min(stages, HALVINGS) - 1) + 1
    if min(image) < least:
        raise ValueError(
            f"channels must name fewer stages for images of {image[0]}x{image[1]}: "
            f"with {stages}, a side must be at least {least}"
        )
    sizes = [(image[0], image[1])]
    for stage in range(stages):
        height, width = (math.ceil(side / stage_stride(stage)) for side in sizes[-1])
        sizes.append((height, width))
    return sizes


def encoder_stages(depths: Sequence[int], kernel_size: int, act: Callable[[], nn.Module]) -> nn.ModuleList:
    """Convolutions from ``depths[0]`` channels to ``depths[-1]``; all but the last with norm, activation."""
    stages = nn.ModuleList()
    for stage, (n_in, n_out) in enumerate(pairwise(depths)):
        conv = nn.Conv2d(n_in, n_out, kernel_size, stage_stride(stage), padding=kernel_size // 2)
        last = stage == len(depths) - 2
        stages.append(nn.Sequential(conv) if last else nn.Sequential(conv, nn.BatchNorm2d(n_out), act()))
    return stages


def decoder_stages(
    depths: Sequence[int], sizes: Sequence[tuple[int, int]], kernel_size: int, act: Callable[[], nn.Module]
) -> nn.ModuleList:
    """Mirror of the encoder's stages: ``depths`` and ``sizes`` are those of the encoder, deepest first."""
    stages = nn.ModuleList()
    padding = kernel_size // 2
    for i, (n_in, n_out) in enumerate(pairwise(depths)):
        stride = stage_stride(len(depths) - 2 - i)
        # An odd and an even side shrink to the same: what tells them apart comes back as output padding.
        (h, w), (height, width) = sizes[i], sizes[i + 1]
        extra = (height - (h - 1) * stride - 1, width - (w - 1) * stride - 1)
        conv = nn.ConvTranspose2d(n_in, n_out, kernel_size, stride, padding, output_padding=extra)
        last = i == len(depths) - 2
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
