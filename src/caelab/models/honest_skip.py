"""``ImprovedSkip`` with skips that leave the latent its part of the work."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from caelab.models.autoencoder import Code, at_least, each_at_least
from caelab.models.base import stage_sizes
from caelab.models.improved_skip import ImprovedSkip, levels_within


class HonestSkip(ImprovedSkip):
    """``ImprovedSkip`` whose skips are narrow, sometimes absent in training, or share a budget with ``z``.

    Three ways to keep the picture from going around the latent. With its defaults, on an image of 3x32x32::

        x      3x32x32                                          x_hat  3x32x32
               | stage 1                                               ^ stage 4, sigmoid
               v                                                       |
              16x16x16 -- 1x1 --> 1x16x16 -- drop -- 1x1 -> 16x16x16 (+) 16x16x16
               | stage 2                                               ^ stage 3
               v                                                       |
              32x8x8 ---- 1x1 --> 1x8x8 ---- drop -- 1x1 -> 32x8x8 - (+) 32x8x8
               | stage 3                                               ^ stage 2
               v                                                       |
              64x4x4 ---- 1x1 --> 1x4x4 ---- drop -- 1x1 -> 64x4x4 - (+) 64x4x4
               | stage 4                                               ^ stage 1
               v                                                       |
             128x4x4 ---- 1x1 --> 1x4x4 ---- drop -- 1x1 -> 128x4x4  (+) 128x4x4
               | flatten, linear                                       ^ linear, unflatten
               v                                                       |
               z 256 ------------- Code(z, skips) ---------------------+

    Only what is left of the first 1x1 convolution crosses: 256 + 352 numbers, where ``ImprovedSkip`` sends
    256 + 9,216. In training, each image loses all its skips with a chance of ``skip_dropout``; whatever the
    decoder can still do, it can do by ``z`` alone. In evaluation every image has its skips.

    Args:
        shape: see ``Base``.
        latent: see ``Base``; with a ``budget`` it counts for nothing.
        channels: see ``Base``.
        skip_levels: see ``ImprovedSkip``.
        skip_dropout: chance, in [0, 1), that an image's skips are zeros in a training step, drawn for each
            image from torch's generator.
        skip_channels: channels of each skip where it crosses; None leaves them as they are, without the 1x1
            convolutions.
        budget: numbers of the whole code: ``z`` gets what the skips leave. None leaves ``latent`` as it is.
        options: the others of ``Improved``.

    Raises:
        ValueError: a value that cannot be; the message starts with the parameter's name.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 256,
        channels: Sequence[int] = (16, 32, 64, 128),
        *,
        skip_levels: Sequence[int] = (1, 2, 3, 4),
        skip_dropout: float = 0.5,
        skip_channels: int | None = 1,
        budget: int | None = None,
        **options: Any,
    ) -> None:
        widths = _widths(channels, skip_levels, skip_channels)
        if budget is not None:
            sizing = {key: options[key] for key in ("halvings", "kernel_size", "padding") if key in options}
            latent = _rest(budget, stage_sizes(shape[1:], len(channels), **sizing), widths)
        super().__init__(shape, latent, channels=channels, skip_levels=skip_levels, **options)
        self.skip_dropout = _chance(skip_dropout)
        wide = {level: channels[level - 1] for level in widths}
        narrowed = widths if skip_channels is not None else {}
        self.narrow = nn.ModuleDict({str(k): nn.Conv2d(wide[k], width, 1) for k, width in narrowed.items()})
        self.widen = nn.ModuleDict({str(k): nn.Conv2d(width, wide[k], 1) for k, width in narrowed.items()})

    def encode(self, x: Tensor, key: Tensor | None = None) -> Code:
        """Map images ``x`` (N, C, H, W) in [0, 1] to ``Code(z, skips)``, one skip (N, c, h, w) a level."""
        code = super().encode(x, key)
        skips = code.skips
        if self.narrow:
            skips = tuple(conv(skip) for conv, skip in zip(self.narrow.values(), skips, strict=True))
        if self.training and self.skip_dropout and skips:
            kept = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.skip_dropout
            skips = tuple(skip.where(kept, 0) for skip in skips)
        return code._replace(skips=skips)

    def decode(self, code: Code) -> Tensor:
        """Map a code to ``x_hat`` (N, C, H, W), float32 in [0, 1]."""
        if self.widen:
            wide = (conv(skip) for conv, skip in zip(self.widen.values(), code.skips, strict=True))
            code = code._replace(skips=tuple(wide))
        return super().decode(code)


def _widths(channels: Sequence[int], skip_levels: Sequence[int], skip_channels: int | None) -> dict[int, int]:
    """Level -> channels of its skip where it crosses."""
    channels = each_at_least(1, "channels", channels)
    widths = {level: channels[level - 1] for level in levels_within(len(channels), skip_levels)}
    if skip_channels is None:
        return widths
    at_least(1, "skip_channels", skip_channels)
    for level, width in widths.items():
        if skip_channels > width:
            raise ValueError(
                f"skip_channels must be at most {width}, the channels of level {level}, got {skip_channels}"
            )
    return dict.fromkeys(widths, skip_channels)


def _rest(budget: int, sizes: Sequence[tuple[int, int]], widths: dict[int, int]) -> int:
    """Return what skips of those widths, from stages of those sizes, leave of a budget."""
    taken = sum(width * math.prod(sizes[level]) for level, width in widths.items())
    if at_least(1, "budget", budget) <= taken:
        raise ValueError(
            f"budget must be at least {taken + 1}, since the skips take {taken}, got {budget}; "
            "fewer skip_levels or skip_channels take less"
        )
    return budget - taken


def _chance(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ValueError(f"skip_dropout must be a number, 0 or more and below 1, got {value!r}")
    return float(value)
