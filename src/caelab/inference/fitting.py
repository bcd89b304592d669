"""How a picture of any size becomes images of a network's size, and how these become a picture again."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from caelab.errors import UserError

WHOLE = "whole"
WAYS = ("resize", "crop", "tile", WHOLE)

Pixels = NDArray[Any]
"""(..., H, W, C), uint8 in [0, 255] or float32 in [0, 1]."""

Size = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True)
class Fit:
    """One way to fit pictures to a network, and back.

    Args:
        shape: (C, H, W) of the network's images.
        way: ``resize`` scales a picture to the network's size, whatever its proportions, and back; ``crop``
            keeps its middle, scaled, as ``dataset=folder`` does in training; ``tile`` cuts it into images
            from the top left, the last ones filled up with the picture's edge; ``whole`` leaves it as it is,
            for a network that takes any size; None takes the network's size only.

    Raises:
        UserError: there is no such way.
    """

    shape: tuple[int, int, int]
    way: str | None = None

    def __post_init__(self) -> None:
        if self.way not in (None, *WAYS):
            raise UserError(f"--fit {self.way}: must be one of {', '.join(WAYS)}")

    @property
    def size(self) -> Size:
        """Height and width of the network's images."""
        return self.shape[1:]

    def grid(self, size: Size) -> Size:
        """Rows and columns of images that a picture of this size becomes."""
        if self.way != "tile":
            return 1, 1
        return -(-size[0] // self.size[0]), -(-size[1] // self.size[1])

    def cut(self, picture: Image.Image) -> Iterator[Pixels]:
        """Yield the network's images, (n, H, W, C), row by row; with ``whole`` the picture itself.

        Raises:
            UserError: no way is given, and the picture has another size.
        """
        height, width = self.size
        if self.way == "tile":
            yield from self._tiles(pixels(picture))
            return
        if self.way == WHOLE:
            yield pixels(picture)[None]
            return
        if self.way is None and picture.size != (width, height):
            raise UserError(
                f"{picture.width}x{picture.height} pixels, the network takes {width}x{height}; "
                f"give --fit {', '.join(WAYS[:-1])} or {WAYS[-1]}"
            )
        yield pixels(self.seen(picture) if self.way == "crop" else self._scaled(picture))[None]

    def seen(self, picture: Image.Image) -> Image.Image:
        """What of a picture is reconstructed: its scaled middle, or all of it."""
        if self.way != "crop":
            return picture
        return ImageOps.fit(picture, self.size[::-1], Image.Resampling.BICUBIC)

    def _scaled(self, picture: Image.Image) -> Image.Image:
        return picture.resize(self.size[::-1], Image.Resampling.BICUBIC)

    def _tiles(self, whole: Pixels) -> Iterator[Pixels]:
        height, width = self.size
        _, columns = self.grid((whole.shape[0], whole.shape[1]))
        for top in range(0, len(whole), height):
            band = whole[top : top + height]
            missing = (height - len(band), columns * width - band.shape[1])
            band = np.pad(band, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
            yield band.reshape(height, columns, width, -1).swapaxes(0, 1)  # (columns, H, W, C)

    def join(self, tiles: Pixels, size: Size) -> Pixels:
        """Make a picture of reconstructions.

        Args:
            tiles: (n, H, W, C) uint8, as many as the grid has.
            size: of the original.

        Returns:
            (H, W, C) uint8 of the original's size; of the network's with ``crop``.
        """
        if self.way == "resize":
            return pixels(picture(tiles[0]).resize(size[::-1], Image.Resampling.BICUBIC))
        if self.way != "tile":
            one: Pixels = tiles[0]
            return one
        rows, columns = self.grid(size)
        height, width, channels = tiles.shape[1:]
        whole = tiles.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
        return whole.reshape(rows * height, columns * width, channels)[: size[0], : size[1]]


def picture(pixels: Pixels) -> Image.Image:
    """Return pixels (H, W, C), uint8 or float32, as a Pillow image."""
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[-1] == 1 else pixels)


def pixels(picture: Image.Image) -> Pixels:
    """Pixels of a picture of mode L, RGB or F in [0, 1], (H, W, C); scaling may have left that range."""
    found = np.asarray(picture)
    found = found.clip(0, 1) if found.dtype.kind == "f" else found
    return found if found.ndim == 3 else found[:, :, None]
