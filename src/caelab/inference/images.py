"""What counts as images: NumPy arrays, Pillow images and torch tensors, to a network's input and back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from caelab.data.pictures import DEEP, MODES, upright
from caelab.data.scale import Range, restored, scaled, unit
from caelab.errors import UserError

_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601-2, as in Pillow
_ROUNDING = 1e-4  # by which floats may leave [0, 1]

_KINDS = "NumPy arrays, Pillow images, torch tensors, or a list of any of them"


@dataclass(frozen=True)
class Values:
    """What a network was trained on, where that is no bytes.

    Attributes:
        dtype: of its images.
        between: what it sees as 0 and as 1.
    """

    dtype: torch.dtype
    between: Range

    def __str__(self) -> str:
        low, high = self.between
        return f"{_name(self.dtype)} from {low:g} to {high:g}"

    def takes(self, kind: Any) -> bool:
        """Whether numbers of this type lie in the range; others are bytes, or in [0, 1]."""
        floats = isinstance(kind, torch.dtype) and kind.is_floating_point and self.dtype.is_floating_point
        return floats or kind == self.dtype

    def taken(self, images: Any) -> Tensor | None:
        """Scale an array or tensor of this type to [0, 1], float32; None of anything else.

        Raises:
            UserError: values outside of the range, or NaN.
        """
        if not isinstance(images, Tensor | np.ndarray):
            return None
        kind = images.dtype if isinstance(images, Tensor) else getattr(torch, images.dtype.name, None)
        if not self.takes(kind):
            return None
        native = images if isinstance(images, Tensor) else images.astype(images.dtype.newbyteorder("="))
        whole = torch.as_tensor(native).detach()
        x = scaled(whole, self.between)
        if x.numel() and not -_ROUNDING <= float(x.min()) <= float(x.max()) <= 1 + _ROUNDING:  # nor NaN
            least, most = float(whole.double().min()), float(whole.double().max())
            raise UserError(f"images from {least:g} to {most:g}; the network takes {self}")
        return x

    def restored(self, x: Tensor) -> Tensor:
        """Scale ``x`` in [0, 1] back into the range, as the type of the images."""
        return restored(x, self.dtype, self.between)


@dataclass(frozen=True)
class Given:
    """Images of a user, and the way back to their kind.

    Attributes:
        x: (N, C, H, W), uint8 in [0, 255] or floating point in [0, 1], as they were given.
        back: turns (N, C, H, W) of the network, uint8 or float32 as ``finished`` gives, into their kind.
    """

    x: Tensor
    back: Callable[[Tensor], Any]

    def finished(self, x_hat: Tensor) -> Tensor:
        """Return ``x_hat`` (N, C, H, W) float32 in [0, 1] on the CPU, as bytes where bytes were given."""
        return (to_bytes(x_hat) if self.x.dtype == torch.uint8 else x_hat).cpu()


def to_bytes(x: Tensor) -> Tensor:
    """Round ``x`` in [0, 1] to uint8 in [0, 255]; uint8 stays as it is."""
    return x if x.dtype == torch.uint8 else (255 * x.clamp(0, 1)).round().byte()


def network_input(x: Tensor, channels: int) -> Tensor:
    """Return images (N, C, H, W), uint8 or floating point, as the network takes them.

    Colour becomes grey by ITU-R 601-2, 0.299 R + 0.587 G + 0.114 B, and grey becomes three equal channels.

    Returns:
        (N, channels, H, W) float32 in [0, 1].
    """
    x = unit(x).float()
    if x.shape[1] == 3 and channels == 1:
        x = (x * x.new_tensor(_LUMA)[:, None, None]).sum(1, keepdim=True)
    # One layout for all kinds, since kernels for others round in another way.
    return x.expand(-1, channels, -1, -1).contiguous()


def take(images: Any, shape: Sequence[int], values: Values | None = None) -> Given:
    """Take images of any kind for a network of images of ``shape`` (C, H, W).

    Args:
        images: as ``Trained`` documents them.
        shape: (C, H, W).
        values: what the network was trained on; None is bytes.

    Raises:
        UserError: they are of no such kind, number type, range or size.
    """
    if values is not None and (x := values.taken(images)) is not None:
        return _of_run(images, x, shape, values)
    if isinstance(images, Tensor):
        given = _tensor(images)
    elif isinstance(images, np.ndarray):
        given = _array(images, shape[0], values)
    elif isinstance(images, list | tuple):
        given = _several(images, shape, values)
    else:
        given = _picture(images, shape, values)
    _check(given.x, shape)
    return given


def _of_run(images: Any, x: Tensor, shape: Sequence[int], values: Values) -> Given:
    """Take what was scaled to ``x``, and scale it back into the range and the type of what was given."""
    as_array = isinstance(images, np.ndarray)
    given = take(x.numpy() if as_array else x, shape)

    def back(x_hat: Tensor) -> Any:
        found = values.restored(torch.as_tensor(given.back(x_hat)))
        return found.numpy() if as_array else found

    return Given(given.x, back)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _check(x: Tensor, shape: Sequence[int]) -> None:
    if not len(x):
        raise UserError(f"no image given; give {_KINDS}")
    channels, height, width = shape
    if tuple(x.shape[2:]) != (height, width):
        raise UserError(
            f"images of {x.shape[2]}x{x.shape[3]} pixels (height x width), the network takes "
            f"{height}x{width}: scale or cut them first, or let caelab reconstruct do it with --fit"
        )
    if x.shape[1] != channels and {x.shape[1], channels} != {1, 3}:
        raise UserError(f"images of {x.shape[1]} channels, the network takes {channels}")
    if x.dtype == torch.uint8:
        return
    if not x.is_floating_point():
        raise UserError(
            f"images of {_name(x.dtype)}; give uint8 from 0 to 255, or floating point from 0 to 1"
        )
    least, most = float(x.min()), float(x.max())
    if not -_ROUNDING <= least <= most <= 1 + _ROUNDING:  # nor NaN
        raise UserError(f"images from {least:g} to {most:g}; floating point must be from 0 to 1")


def _tensor(images: Tensor) -> Given:
    """Take (N, C, H, W) or (C, H, W)."""
    if images.ndim not in (3, 4):
        raise UserError(f"a tensor of shape {tuple(images.shape)}; give (N, C, H, W) or (C, H, W)")
    x, device, one = images.detach(), images.device, images.ndim == 3

    def back(x_hat: Tensor) -> Tensor:
        return (x_hat[0] if one else x_hat).to(device)

    return Given(x[None] if one else x, _as_given(x, back))


def _array(images: np.ndarray[Any, Any], channels: int, values: Values | None) -> Given:
    """Take (H, W), (H, W, C) or (N, H, W, C)."""
    if images.ndim not in (2, 3, 4) or (images.ndim == 3 and images.shape[2] not in (1, 3, channels)):
        raise UserError(
            f"an array of shape {images.shape}; give (H, W), (H, W, C) or (N, H, W, C) with C of "
            f"{'1 or 3' if channels in (1, 3) else channels}; images[..., None] turns (N, H, W) into the last"
        )
    if images.dtype.kind not in "fu" or (images.dtype.kind == "u" and images.dtype != np.uint8):
        own = "" if values is None else f"{values}, "
        raise UserError(
            f"images of {images.dtype}; give {own}uint8 from 0 to 255, or floating point from 0 to 1"
        )
    dimensions = images.ndim
    number = np.uint8 if images.dtype == np.uint8 else np.float32
    whole = np.require(
        images, number, ["C", "W"]
    )  # torch takes neither negative strides nor read-only memory
    x = torch.from_numpy(whole)
    x = (x[None, None], x[None].movedim(-1, 1), x.movedim(-1, 1))[dimensions - 2]  # (N, C, H, W)

    def back(x_hat: Tensor) -> np.ndarray[Any, Any]:
        if dimensions == 2 and x_hat.shape[1] == 1:
            return x_hat[0, 0].numpy()
        found: np.ndarray[Any, Any] = x_hat.movedim(1, -1).contiguous().numpy()  # (N, H, W, C)
        return found if dimensions == 4 else found[0]

    return Given(x, _as_given(x, back))


def _picture(image: Any, shape: Sequence[int], values: Values | None) -> Given:
    """Take a Pillow image of any mode and size; 16 bits of grey are those that a network was trained on."""
    if not isinstance(image, Image.Image):
        raise UserError(f"images of type {type(image).__name__}; give {_KINDS}")
    try:
        picture = upright(image)
    except ValueError as error:
        raise UserError(f"a Pillow image of mode {image.mode}: {error}") from None
    if picture.mode != DEEP:
        picture = picture.convert(MODES.get(shape[0], picture.mode))
    pixels = np.asarray(picture)
    if values is not None and picture.mode == DEEP:
        if values.dtype.is_floating_point:
            raise UserError(
                f"a Pillow image of mode {image.mode}; the network takes {values}: give an array of these"
            )
        if image.mode.startswith("I"):
            pixels = (65_535 * pixels).round().astype(np.uint16)
    x = take(pixels, shape, values).x

    def back(x_hat: Tensor) -> Image.Image:
        rows = to_bytes(x_hat)[0].movedim(0, -1)  # (H, W, C)
        return Image.fromarray(rows.squeeze(-1).contiguous().numpy())

    return Given(x, back)


def _several(images: Sequence[Any], shape: Sequence[int], values: Values | None) -> Given:
    """Take each of a list, whatever it is."""
    parts = [take(one, shape, values) for one in images]
    kinds = {(part.x.dtype, part.x.shape[1]) for part in parts}
    inputs = [part.x if len(kinds) == 1 else network_input(part.x.cpu(), shape[0]) for part in parts]

    def back(x_hat: Tensor) -> list[Any]:
        rows = torch.split(x_hat, [len(part.x) for part in parts])
        return [part.back(row) for part, row in zip(parts, rows, strict=True)]

    return Given(torch.cat(inputs) if inputs else torch.zeros(0, *shape), back)


def _as_given(x: Tensor, back: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    """Round first where bytes were given, which a list with floats among them asks for."""
    return (lambda x_hat: back(to_bytes(x_hat))) if x.dtype == torch.uint8 else back
