"""The report's first skips, which stay within the encoder or the decoder, and its residual block."""

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional as F

from caelab.models.autoencoder import Code
from caelab.models.base import Base, activation_factory, to_image

Shape = tuple[int, int, int]
"""(C, H, W) of what a stage puts out."""


class InternalSkip(Base):
    """``Base`` with skips inside the encoder, inside the decoder, or both; none goes around the latent.

    Section VI.D and figure 5 of the report (Erkol, Guvenli, Koulaeizadeh, "Exploring Enhanced
    Architectures for Convolutional Autoencoders"). With its default ``encoder_skips``, and
    ``decoder_skips=[[0, 2], [1, 3]]``, on an image of 3x32x32::

        0      3x32x32 -----+                           3  (+)  3x32x32 <---+    x_hat = sigmoid of it
               | stage 1    |                                  ^ stage 3    |
               v            |                                  |            |
        1     16x16x16 -----|--+                        2  (+) 16x16x16 <---|--+
               | stage 2    |  |                               ^ stage 2    |  |
               v            |  |                               |            |  |
        2  (+) 32x8x8 <-----+  |                        1      32x8x8 ------+  |
               | stage 3       |                               ^ stage 1       |
               v               |                               |               |
        3  (+) 64x4x4 <--------+                        0      64x4x4 ---------+
               | linear, act, linear                           ^ linear, act, linear, unflatten
               v                                               |
               z 256 ----------------- Code(z) ----------------+

        stage: conv, norm, act, [residual block]; the last one of encoder and decoder is a conv alone

    A skip starts from what the next stage gets, so with whatever was added there, and is added after the
    norm, activation and residual block of the stage that it reaches. [0, 1] and its like, around one stage,
    are allowed: they are the skip of a residual network.

    What a skip carries is fitted to the shape of its target in one of three ways:

    - ``interpolate``: bilinear (corners not aligned, no antialiasing) to the target's height and width; then
      channels of zeros are appended, or the last ones dropped where the target has fewer. No parameter.
    - ``conv``: one convolution of the stride ``s`` of the stages that it goes around (1, 2, 4 or 8), in the
      decoder a transposed one. Its kernel of ``2s - 1`` sees what their halvings see with kernels of 3, so no
      pixel is left out: 1x1 where the size stays, 3x3 for one halving, 7x7 for two. It has
      ``c_in c_out (2s - 1)^2 + c_out`` parameters. Where stages cut pixels from the edges, for want of
      padding, it has less padding too, and a larger kernel once it has none.
    - ``pad``: zeros on all sides, so that it lies in the middle of a larger target; where the target is
      smaller, the middle of that size is cut out. Channels as with ``interpolate``. No parameter. The report
      pads with zeros "to adjust the spatial dimensions", and does not say what it does where they shrink.

    Args:
        shape: see ``Base``.
        latent: see ``Base``.
        channels: see ``Base``.
        hidden: see ``Base``.
        kernel_size: of the stages' convolutions; odd.
        activation: see ``Base``.
        negative_slope: see ``Base``.
        encoder_skips: pairs [from, to] of what is numbered on the left, from < to: 0 is the image, i the
            output of stage i. Their order is no matter. None here and none in the decoder is ``Base``.
        decoder_skips: the same, as numbered on the right: 0 is the unflattened latent.
        resample: ``interpolate``, ``conv`` or ``pad``.
        residual: whether a ``ResidualBlock`` ends each stage but the last of encoder and decoder.
        options: the others of ``Base``.

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
        *,
        encoder_skips: Sequence[Sequence[int]] = ((0, 2), (1, 3)),
        decoder_skips: Sequence[Sequence[int]] = (),
        resample: str = "interpolate",
        residual: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(shape, latent, channels, hidden, kernel_size, activation, negative_slope, **options)
        self.encoder_skips = skip_pairs("encoder_skips", encoder_skips, len(channels))
        self.decoder_skips = skip_pairs("decoder_skips", decoder_skips, len(channels))
        if resample not in RESAMPLERS:
            raise ValueError(f"resample must be one of {', '.join(RESAMPLERS)}, got {resample!r}")
        if not isinstance(residual, bool):
            raise ValueError(f"residual must be true or false, got {residual!r}")

        # Base has drawn its weights by now: whatever is added here, they are those of Base under that seed.
        depths = (self.shape[0], *channels)
        shapes = [(depth, *size) for depth, size in zip(depths, self.sizes, strict=True)]
        self.encoder_resamplers = resamplers(resample, self.encoder_skips, shapes, self.strides, self.cut)
        self.decoder_resamplers = resamplers(
            resample, self.decoder_skips, shapes[::-1], self.strides[::-1], self.cut
        )
        if residual:
            act = activation_factory(activation, negative_slope)
            add_residual_blocks(self.encoder, depths, act)
            add_residual_blocks(self.decoder, depths[::-1], act)

    def encode(self, x: Tensor, key: Tensor | None = None) -> Code:
        """Map images ``x`` (N, C, H, W) in [0, 1] to ``Code(z)``, z (N, latent)."""
        x = through(self.encoder, self.encoder_skips, self.encoder_resamplers, x)
        return self.cross(x, key=key)

    def decode(self, code: Code) -> Tensor:
        """Map a code to ``x_hat`` (N, C, H, W), float32 in [0, 1]."""
        x = self.from_latent(code.z).unflatten(1, self.deepest)  # (N, channels[-1], h, w)
        return to_image(through(self.decoder, self.decoder_skips, self.decoder_resamplers, x))


class Interpolate(nn.Module):
    """Bilinear to the height and width of ``target``; zero channels appended, or the last ones dropped."""

    def __init__(self, target: Shape) -> None:
        super().__init__()
        self.channels, *self.size = target

    def forward(self, x: Tensor) -> Tensor:
        """Fit ``x`` (N, c, h, w) to (N, C, H, W), the target."""
        x = x[:, : self.channels]  # first: what is dropped need not be interpolated
        x = F.interpolate(x, self.size, mode="bilinear", align_corners=False)
        return F.pad(x, (0, 0, 0, 0, 0, self.channels - x.shape[1]))


class Pad(nn.Module):
    """Zeros on all sides up to the height and width of ``target``, or its size cut out of the middle.

    Where two sides cannot be equal, the lower or right one has the pixel more. Zero channels are appended,
    or the last ones dropped.
    """

    def __init__(self, source: Shape, target: Shape) -> None:
        super().__init__()
        (n_in, h, w), (n_out, height, width) = source, target
        top, left = (height - h) // 2, (width - w) // 2
        self.edges = (left, width - w - left, top, height - h - top, 0, n_out - n_in)

    def forward(self, x: Tensor) -> Tensor:
        """Fit ``x`` of (N, source...) to (N, target...)."""
        return F.pad(x, self.edges)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with norm, an activation between them, added to their input.

    Its convolutions have no bias: the norm behind each would take it away.
    """

    def __init__(self, channels: int, act: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            act(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (N, C, H, W) to the same shape."""
        return x + cast(Tensor, self.body(x))


def conv_resampler(source: Shape, target: Shape, stride: int, cut: int = 0) -> nn.Module:
    """Convolution from exactly ``source`` to exactly ``target``, transposed where that is larger.

    Args:
        source: shape of what it is given.
        target: shape of what it puts out.
        stride: of the stages that it goes around, together.
        cut: pixels of the larger side that those stages cut from each edge.
    """
    (n_in, h, w), (n_out, height, width) = source, target
    padding = max(0, stride - 1 - cut)
    kernel_size, seen = 2 * (padding + cut) + 1, 2 * cut + 1
    if height <= h:
        return nn.Conv2d(n_in, n_out, kernel_size, stride, padding)
    # As in Base's decoder: sizes that shrink to the same are told apart by output padding.
    extra = (height - (h - 1) * stride - seen, width - (w - 1) * stride - seen)
    return nn.ConvTranspose2d(n_in, n_out, kernel_size, stride, padding, output_padding=extra)


RESAMPLERS: dict[str, Callable[[Shape, Shape, int, int], nn.Module]] = {
    "interpolate": lambda _source, target, _stride, _cut: Interpolate(target),
    "conv": conv_resampler,
    "pad": lambda source, target, _stride, _cut: Pad(source, target),
}


def resamplers(
    resample: str,
    pairs: Sequence[tuple[int, int]],
    shapes: Sequence[Shape],
    strides: Sequence[int],
    cut: int,
) -> nn.ModuleList:
    """One module a pair, which fits ``shapes[start]`` to ``shapes[to]``.

    Args:
        resample: key of ``RESAMPLERS``.
        pairs: of stages.
        shapes: of the image and the encoder's stages, or the same deepest first.
        strides: of the stages between them.
        cut: pixels that each of them cuts from each edge.
    """
    fits = nn.ModuleList()
    for start, to in pairs:
        around = sorted(strides[start:to], reverse=True)  # in the encoder's order
        lost = cut * sum(math.prod(around[:place]) for place in range(len(around)))
        fits.append(RESAMPLERS[resample](shapes[start], shapes[to], math.prod(around), lost))
    return fits


def add_residual_blocks(stages: nn.ModuleList, depths: Sequence[int], act: Callable[[], nn.Module]) -> None:
    """End each stage but the last with a residual block; ``depths`` are the channels around the stages."""
    for stage, n_out in zip(stages[:-1], depths[1:-1], strict=True):
        cast(nn.Sequential, stage).append(ResidualBlock(n_out, act))


def through(
    stages: nn.ModuleList, pairs: Sequence[tuple[int, int]], fits: nn.ModuleList, x: Tensor
) -> Tensor:
    """Run ``x`` (N, c, h, w) through the stages; skip ``pairs[i]`` is reshaped by ``fits[i]``."""
    outputs = [x]
    for number, stage in enumerate(stages, start=1):
        x = stage(x)
        for (start, to), fit in zip(pairs, fits, strict=True):
            if to == number:
                x = x + fit(outputs[start])
        outputs.append(x)
    return x


def skip_pairs(name: str, pairs: object, stages: int) -> tuple[tuple[int, int], ...]:
    """Return ``pairs`` in rising order if it is a list of pairs [from, to] of stages, from < to.

    Raises:
        ValueError: it is not; the message starts with ``name``.
    """
    rule = f"must be pairs [from, to] of stages within 0..{stages} with from < to"
    if isinstance(pairs, str) or not isinstance(pairs, Sequence):
        raise ValueError(f"{name} {rule}, got {pairs!r}")
    found = []
    for pair in pairs:
        match pair:
            case [int(start), int(to)] if 0 <= start < to <= stages and bool not in (type(start), type(to)):
                found.append((start, to))
            case _:
                raise ValueError(f"{name} {rule}, got {pair!r}")
    if len(set(found)) < len(found):
        raise ValueError(f"{name} must name each pair once, got {pairs!r}")
    return tuple(sorted(found))
