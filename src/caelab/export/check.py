"""Is an exported file the network that was trained? What it makes of real images, beside the original."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from caelab.data.scale import unit
from caelab.errors import UserError
from caelab.export.formats import Format
from caelab.export.parts import Part, Runner, Tensors
from caelab.terminal import one_line

TOLERANCE = 1e-4
"""How far any number may be from the original's: see ``difference``."""

SECONDS = 0.2
"""For how long a speed is measured."""


class Finding(NamedTuple):
    """What was found of one part.

    Attributes:
        part: its name.
        file: the file that it is in.
        megabytes: size of the file, 10^6 bytes.
        difference: see ``difference``.
        speed: images per second, in batches of all images that were given.
        original: the same of the network before the export.
    """

    part: str
    file: str
    megabytes: float
    difference: float
    speed: float
    original: float


def check(folder: Path, form: Format, parts: Sequence[Part], images: Tensor) -> list[Finding]:
    """Read an export back and compare it with the original.

    Args:
        folder: with the files.
        form: their format.
        parts: of the original.
        images: (N, C, H, W), uint8 in [0, 255] or floating point in [0, 1].

    Raises:
        UserError: a file cannot be read, or a number in what it gives is farther than ``TOLERANCE`` from
            the original's.
    """
    x = unit(images).to(parts[0].example[0].dtype)
    given = {"x": x} | dict(zip(parts[0].outputs, parts[0]((x,)), strict=True))
    return [_checked(folder, form, part, tuple(given[name] for name in part.inputs)) for part in parts]


def _checked(folder: Path, form: Format, part: Part, given: Tensors) -> Finding:
    path = folder / form.file(part.name)
    try:
        reloaded = form.read(folder, part)
        found = difference(part, reloaded, given)
        speeds = speed(reloaded, given), speed(part, given)
    except Exception as error:
        raise UserError(
            f"{path.name} cannot be read back ({one_line(error)}): nothing is exported"
        ) from error
    if not found <= TOLERANCE:
        raise UserError(
            f"the {part.name} in {path.name} differs from the network by {found:.2g}, more than "
            f"{TOLERANCE:g}: nothing is exported"
        )
    return Finding(part.name, path.name, path.stat().st_size / 1e6, found, *speeds)


def difference(part: Runner, reloaded: Runner, given: Tensors) -> float:
    """Largest difference of any number in what the two make of the same inputs.

    Divided by the largest magnitude in that output where it is above 1, so that rounding in a code of large
    numbers is no error; of images it is the plain difference. Compared are all inputs at once and each alone:
    an export may have kept the size of a batch.

    Args:
        part: the original.
        reloaded: what was read back.
        given: (N, ...) each.

    Raises:
        ValueError: an output of another shape.
    """
    batches = [given, *(tuple(one[n : n + 1] for one in given) for n in range(len(given[0])))]
    worst = 0.0
    for batch in batches:
        for want, got in zip(part(batch), reloaded(batch), strict=True):
            if want.shape != got.shape:
                raise ValueError(f"an output is {tuple(got.shape)} in place of {tuple(want.shape)}")
            if want.numel():
                away = (want - got).abs().max() / want.abs().max().clamp(min=1)
                worst = max(worst, away.nan_to_num(nan=torch.inf).item())
    return worst


def speed(run: Runner, given: Tensors) -> float:
    """Images per second: the median over as many passes as fit into ``SECONDS``, one of them at least."""
    run(given)  # what is prepared on first use
    passes: list[float] = []
    end = time.perf_counter() + SECONDS
    while not passes or time.perf_counter() < end:
        began = time.perf_counter()
        run(given)
        passes.append(time.perf_counter() - began)
    return len(given[0]) / sorted(passes)[len(passes) // 2]
