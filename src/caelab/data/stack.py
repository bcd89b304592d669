"""Arrays of images and labels, wherever they come from, as the splits of a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from caelab.data.datamodule import Split, in_order, permutation
from caelab.data.scale import BYTES, Range
from caelab.errors import UserError

LAYOUTS = ("NHWC", "NCHW")
"""Orders of the axes of images with channels."""

SPLITS = ("train", "val", "test")
LEAST = 3
"""Images without which a split cannot be held out for each purpose."""

_WHOLE = {np.dtype(np.uint8): BYTES, np.dtype(np.uint16): (0.0, 65_535.0)}
_CHUNK = 1 << 24  # numbers that are looked at together
_ONE = ("images",)  # the class of images without labels
_UNLABELLED = "unlabelled"  # that of images whose label is -1, where classes have names


class Stack(NamedTuple):
    """Images of one split.

    Attributes:
        images: (N, C, H, W) uint8, uint16 or float32.
        labels: (N,) of any kind that sorts; None where there are none.
    """

    images: npt.NDArray[Any]
    labels: npt.NDArray[Any] | None = None


def images_of(array: Any, layout: str, where: str) -> npt.NDArray[Any]:
    """Return images as (N, C, H, W): uint8 and uint16 as they are, any floating point as float32.

    Args:
        array: (N, H, W), or four axes in the order of the layout.
        layout: one of ``LAYOUTS``.
        where: whose they are, as a message begins.

    Raises:
        UserError: another number of axes, or another type.
    """
    if array.dtype.kind == "O":
        raise UserError(f"{where}: an array of Python objects; give one of numbers, all images of one size")
    if array.ndim not in (3, 4) or 0 in array.shape:
        axes = ", ".join(layout)
        raise UserError(f"{where}: an array of shape {array.shape}; give images (N, H, W) or ({axes})")
    kind = array.dtype.newbyteorder("=")
    if kind.kind == "f":
        kind = np.dtype(np.float32)
    elif kind not in _WHOLE:
        raise UserError(f"{where}: values of {array.dtype}; give uint8, uint16 or floating point")
    found = array[:, None] if array.ndim == 3 else np.moveaxis(array, -1, 1) if layout == "NHWC" else array
    # torch wants memory it may write to; where nothing has to be changed, what is memory-mapped stays so
    return np.require(found, kind, ["C", "W"])


def numbered(stacks: Mapping[str, Stack], names: Sequence[str]) -> tuple[Mapping[str, Stack], Sequence[str]]:
    """Turn labels that are text into numbers of classes, which they name; leave others as they are."""
    given = {split: stack.labels for split, stack in stacks.items() if stack.labels is not None}
    if not any(labels.dtype.kind == "U" for labels in given.values()):
        return stacks, names
    found, numbers = np.unique(np.concatenate([*given.values()]), return_inverse=True)
    ends = np.cumsum([len(labels) for labels in given.values()])[:-1]
    parts = dict(zip(given, np.split(numbers, ends), strict=True))
    return {split: stack._replace(labels=parts.get(split)) for split, stack in stacks.items()}, found.tolist()


def splits_of(
    stacks: Mapping[str, Stack],
    value_range: Sequence[float] | None,
    seed: int,
    where: str,
    names: Sequence[str] = (),
) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Make train, val and test of what splits there are, and name the classes.

    A split that is missing takes a tenth of the training images, the same ones whenever there are as many.

    Args:
        stacks: by their names in ``SPLITS``, with "train" among them.
        value_range: that of all values; None is that of the type, and [0, 1] of floating point.
        seed: of what is held out.
        where: whose they are, as a message begins.
        names: of classes 0, 1, ..., where -1 is the label of images without one, as of a hidden test set, and
            comes last; without names classes are called by their labels, sorted.

    Raises:
        UserError: too few images, images of different sizes or types, labels that are not one an image, no
            such range, or values that are outside of it, NaN or infinite.
    """
    classes, labels = _classes(stacks, where, names)
    kinds = {f"{stack.images.shape[1:]} {stack.images.dtype}" for stack in stacks.values()}
    if len(kinds) > 1:
        raise UserError(f"{where}: the splits have different images: {' and '.join(sorted(kinds))}")
    between = _range_of([stack.images for stack in stacks.values()], value_range, where)
    splits = {}
    for name, stack in stacks.items():
        index = torch.arange(len(stack.images))
        splits[name] = Split(torch.from_numpy(stack.images), labels[name], index, between)
    held, rest = [name for name in SPLITS if name not in splits], splits["train"]
    if len(rest) <= len(held):
        raise UserError(f"{where}: {len(rest)} images are too few; give {LEAST} or more")
    order, tenth = permutation(len(rest), seed), max(1, len(rest) // 10)
    for place, name in enumerate(held):
        splits[name] = replace(rest, index=in_order(order[place * tenth : (place + 1) * tenth]))
    splits["train"] = replace(rest, index=in_order(order[len(held) * tenth :]))
    return splits, classes


def _range_of(arrays: Sequence[npt.NDArray[Any]], value_range: Sequence[float] | None, where: str) -> Range:
    """Return the range that images (N, C, H, W) of one type have values in, and make sure that they do."""
    whole = _WHOLE.get(arrays[0].dtype)
    low, high = between = range_of(value_range, where) if value_range is not None else whole or (0.0, 1.0)
    if whole == BYTES and between != BYTES:
        raise UserError(f"{where}: value_range={list(between)}; that of uint8 is always [0, 255]")
    if between == whole:
        return between
    ends = [_extremes(images, where) for images in arrays]
    least, most = min(one for one, _ in ends), max(one for _, one in ends)
    if np.float32(low) <= least and most <= np.float32(high):  # as the values are
        return between
    raise UserError(
        f"{where}: values from {least:.6g} to {most:.6g}, outside [{low:g}, {high:g}]; give a "
        "dataset.value_range=[LOW,HIGH] that holds them all"
    )


def range_of(value_range: object, where: str) -> Range:
    """Return ``dataset.value_range``.

    Raises:
        UserError: it is no pair of numbers, the smaller first.
    """
    pair = list(value_range) if isinstance(value_range, Sequence) else []
    if len(pair) != 2 or not all(type(one) in (int, float) for one in pair) or not pair[0] < pair[1]:
        raise UserError(f"{where}: value_range={value_range}; give [LOW, HIGH], such as [0, 4095]")
    return float(pair[0]), float(pair[1])


def _extremes(images: npt.NDArray[Any], where: str) -> Range:
    """Least and largest value, a part at a time."""
    rows = max(1, _CHUNK // images[0].size)
    ends = []
    for start in range(0, len(images), rows):
        part = images[start : start + rows]
        if images.dtype.kind == "f" and not (finite := np.isfinite(part)).all():
            place = tuple(np.argwhere(~finite)[0])
            raise UserError(f"{where}: image {start + place[0]} has a value that is {part[place]}")
        ends.append((part.min(), part.max()))
    return float(min(low for low, _ in ends)), float(max(high for _, high in ends))


def _classes(
    stacks: Mapping[str, Stack], where: str, known: Sequence[str]
) -> tuple[tuple[str, ...], dict[str, Tensor]]:
    """Names of the classes, and the number of each image's; one class where a split has no labels."""
    counts = {name: len(stack.images) for name, stack in stacks.items()}
    given = {name: np.atleast_1d(stack.labels) for name, stack in stacks.items() if stack.labels is not None}
    for name, labels in given.items():
        if len(labels) != counts[name]:
            raise UserError(
                f"{where}: {len(labels):,} labels for {counts[name]:,} {name} images; give one each"
            )
    columns = {name: labels.reshape(len(labels), -1).T for name, labels in given.items()}
    if len(given) < len(stacks) or any(len(labels) != 1 for labels in columns.values()):
        return _ONE, {name: torch.zeros(count, dtype=torch.int64) for name, count in counts.items()}
    whole = np.concatenate([labels[0] for labels in columns.values()])
    names, numbers = np.unique(whole, return_inverse=True)
    if known and whole.dtype.kind in "iu" and whole.min() >= -1 and whole.max() < len(known):
        names = np.array([*known, *([_UNLABELLED] if whole.min() < 0 else [])])
        numbers = np.where(whole < 0, len(known), whole)
    parts = torch.split(torch.from_numpy(numbers.astype(np.int64)), [*counts.values()])
    return tuple(str(name) for name in names), dict(zip(columns, parts, strict=True))
