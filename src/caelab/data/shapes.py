"""Procedural pictures with known factors: no files, any number, the same ones from the same seed."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from caelab.data.cache import checksum, identity
from caelab.data.datamodule import ImageDataModule, Split, whole_number

Factors = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

NAMES = ("shape", "colour", "size", "x", "y", "rotation", "background")
LEVELS = (3, 8, 4, 8, 8, 12, 6)
SHAPES = ("ellipse", "rectangle", "triangle")
SPLITS = ("train", "val", "test")
ASPECT = 0.55  # of height to length, so that a turn by less than 180 degrees shows in each shape
CHUNK_PIXELS = 1 << 17  # small enough for the processor's cache


def _palette(n: int, saturation: float, value: float) -> Floats:
    colours = [colorsys.hsv_to_rgb(level / n, saturation, value) for level in range(n)]
    return 255 * np.array(colours, np.float32)


COLOURS = _palette(LEVELS[1], 0.85, 1.0)
BACKGROUNDS = _palette(LEVELS[6], 0.5, 0.3)
LENGTHS = np.linspace(0.13, 0.25, LEVELS[2], dtype=np.float32)  # half a shape's length, in image sides
PLACES = np.linspace(0.33, 0.67, LEVELS[3], dtype=np.float32)  # every shape lies within the image


def draw_factors(n: int, classes: Sequence[int], *seed: int) -> Factors:
    """The levels of the seven factors, (n, 7), of the first n images that are of these classes.

    All factors are independent and uniform. The first images do not depend on n.
    """
    drawn = n
    while True:
        # raw bits, which NumPy keeps the same in all versions
        bits = np.random.PCG64(np.random.SeedSequence(seed)).random_raw(drawn * len(LEVELS))
        levels = (bits.reshape(drawn, len(LEVELS)) % np.array(LEVELS, np.uint64)).astype(np.int64)
        kept = levels[np.isin(levels[:, 0], classes)]
        if len(kept) >= n:
            return kept[:n]
        drawn *= 2


Distance = Callable[[Floats, Floats, Floats, Floats], Floats]


def _ellipse(u: Floats, v: Floats, a: Floats, b: Floats) -> Floats:
    inner = np.hypot(u / a, v / b)
    # the level set divided by its slope: the distance to first order, exact where it matters, at the edge
    distance: Floats = inner * (inner - 1) / np.maximum(np.hypot(u / a**2, v / b**2), 1e-6)
    return distance


def _rectangle(u: Floats, v: Floats, a: Floats, b: Floats) -> Floats:
    return np.maximum(np.abs(u) - a, np.abs(v) - b)


def _triangle(u: Floats, v: Floats, a: Floats, b: Floats) -> Floats:
    """Isosceles, its tip at (a, 0), its base from (-a, -b) to (-a, b)."""
    sides = (b * (u - a) + 2 * a * np.abs(v)) / np.hypot(b, 2 * a)
    distance: Floats = np.maximum(sides, -a - u)
    return distance


DISTANCES: tuple[Distance, ...] = (_ellipse, _rectangle, _triangle)


def render(factors: Factors, size: int) -> npt.NDArray[np.uint8]:
    """Draw images (N, 3, size, size) from their factors (N, 7), with smooth edges, in chunks."""
    images = np.empty((len(factors), 3, size, size), np.uint8)
    chunk = max(1, CHUNK_PIXELS // size**2)
    for label, distance in enumerate(DISTANCES):
        rows = np.flatnonzero(factors[:, 0] == label)
        for start in range(0, len(rows), chunk):
            part = rows[start : start + chunk]
            images[part] = _draw(factors[part], size, distance)
    return images


def masks(factors: Factors, size: int) -> npt.NDArray[np.bool_]:
    """Pixels (N, size, size) of which the shape covers a half or more, for factors (N, 7)."""
    found = np.empty((len(factors), size, size), np.bool_)
    for label, distance in enumerate(DISTANCES):
        rows = factors[:, 0] == label
        found[rows] = _covered(factors[rows], size, distance) >= 0.5
    return found


def _covered(factors: Factors, size: int, distance: Distance) -> Floats:
    """The part of each pixel that the shape covers, (n, size, size) in [0, 1]."""
    _, _, length, x, y, rotation, _ = factors.T[:, :, None, None]  # each (n, 1, 1)
    pixels = (np.arange(size, dtype=np.float32) + 0.5) / size
    right, down = pixels[None, None, :] - PLACES[x], pixels[None, :, None] - PLACES[y]
    angle = rotation.astype(np.float32) * np.float32(np.pi / LEVELS[5])
    cos, sin = np.cos(angle), np.sin(angle)
    along, across = cos * right + sin * down, cos * down - sin * right  # (n, size, size)
    a = LENGTHS[length]
    outside = size * distance(along, across, a, a * np.float32(ASPECT))  # in pixels
    covered: Floats = np.clip(0.5 - outside, 0, 1)
    return covered


def _draw(factors: Factors, size: int, distance: Distance) -> npt.NDArray[np.uint8]:
    covered = _covered(factors, size, distance)
    under = BACKGROUNDS[factors[:, 6]][..., None, None]  # (n, 3, 1, 1)
    over = COLOURS[factors[:, 1]][..., None, None]
    mixed: Floats = covered[:, None] * (over - under)  # (n, 3, size, size)
    mixed += under + np.float32(0.5)
    images: npt.NDArray[np.uint8] = mixed.astype(np.uint8)
    return images


@lru_cache(maxsize=4)
def _make(
    sizes: tuple[int, ...], image_size: int, seed: int, classes: tuple[int, ...]
) -> tuple[dict[str, Split], dict[str, Tensor], str]:
    """Splits, factors and sha256; kept, so that the jobs of a sweep share them."""
    splits: dict[str, Split] = {}
    factors: dict[str, Tensor] = {}
    checksums: dict[str, str] = {}
    for place, (name, n) in enumerate(zip(SPLITS, sizes, strict=True)):
        levels = draw_factors(n, classes, seed, place)
        images = render(levels, image_size)
        factors[name] = torch.from_numpy(levels)
        splits[name] = Split(torch.from_numpy(images), factors[name][:, 0].contiguous(), torch.arange(n))
        checksums |= {f"{name}_images": checksum(images), f"{name}_factors": checksum(levels)}
    return splits, factors, identity(checksums)


class Shapes(ImageDataModule):
    """One coloured shape before a dark background; seven independent factors; the label is the shape.

    Args:
        data_dir: unused, as there are no files; every dataset takes it.
        batch_size: as in the base class, like `classes` and `order_seed`.
        train_size: training images to make.
        classes: see there.
        order_seed: see there.
        val_size: validation images to make.
        test_size: test images to make.
        image_size: their height and width.
        seed: the pictures follow from it; each split is independent of the others.

    Attributes:
        factors: split -> (N, 7) int64 levels in the order of `factor_names`, after `setup`.
        factor_names: what the columns are.
        factor_levels: how many levels each has.
    """

    name = "shapes"
    class_names = SHAPES
    pictures = "drawn pictures of one coloured ellipse, rectangle or triangle before a dark background"
    licence = "Drawn by caelab itself, without any data of others; caelab is under Apache-2.0."
    factor_names = NAMES
    factor_levels = LEVELS

    def __init__(
        self,
        data_dir: str,
        batch_size: int = 256,
        train_size: int = 8_000,
        classes: Sequence[int] | None = None,
        order_seed: int = 0,
        val_size: int = 1_000,
        test_size: int = 1_000,
        image_size: int = 32,
        seed: int = 0,
    ):
        super().__init__(data_dir, batch_size, whole_number("train_size", train_size, 1), classes, order_seed)
        sizes = {"val_size": val_size, "test_size": test_size}
        self.sizes = (train_size, *(whole_number(key, size, 1) for key, size in sizes.items()))
        self.seed = whole_number("seed", seed, 0)
        side = whole_number("image_size", image_size, 8)
        self.shape = (3, side, side)
        self.factors: dict[str, Tensor] = {}

    def load(self) -> tuple[dict[str, Split], str]:
        """The three splits, drawn anew in each process; there is nothing to cache."""
        classes = tuple(self.classes) if self.classes is not None else tuple(range(len(SHAPES)))
        splits, self.factors, sha256 = _make(self.sizes, self.shape[1], self.seed, classes)
        return dict(splits), sha256

    def pixel_classes(self, split: str, rows: Tensor) -> Tensor:
        """Class of each pixel, (n, H, W) uint8, of images of a split: 0 the background, then the shapes.

        Args:
            split: its name, after ``setup``.
            rows: of the images as they were drawn, (n,) int64, such as the split's ``index``.
        """
        factors = self.factors[split][rows].numpy()
        classes = masks(factors, self.shape[1]) * (factors[:, :1, None] + 1)
        return torch.from_numpy(classes.astype(np.uint8))
