"""Reading curves of quality against size: what so many bytes reach, and how many bits are enough.

Without torch, which a report and a command line that is given wrong words need not wait for.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Curve = Sequence[tuple[float, float]]
"""Size and PSNR (dB) of each setting that was measured."""

PERFECT = 100.0
"""PSNR in dB of images without loss, as everywhere in the lab."""

LOST = 0.1
"""PSNR in dB that counts as lost at last."""


def enough(psnr: float, points: Sequence[Mapping[str, Any]]) -> dict[str, float] | None:
    """Bits per image with which no more than ``LOST`` is lost, and the PSNR (dB) with them.

    On a straight line between the coarsest quantiser that, with all finer ones, loses no more, and the next;
    the coarsest of all is an upper bound.

    Args:
        psnr: in dB, of the code as it is.
        points: ``rate`` (bits per image) and ``psnr`` (dB) of each quantiser, coarsest first.

    Returns:
        ``rate`` and ``psnr``; None where the finest loses more.
    """
    least, good = psnr - LOST, None
    for point in reversed(points):
        if point["psnr"] < least:
            if good is None:
                return None
            part = (least - point["psnr"]) / (good["psnr"] - point["psnr"])
            return {"rate": point["rate"] + part * (good["rate"] - point["rate"]), "psnr": least}
        good = point
    return None if good is None else {"rate": good["rate"], "psnr": good["psnr"]}


def reached(size: float, sizes: Sequence[float], psnrs: Sequence[float]) -> float | None:
    """PSNR (dB) that is reached with no more than ``size``, by lines between what was measured.

    The lines are straight over the logarithm of the size; what is no better than something smaller counts for
    nothing. None where everything is larger.
    """
    front: list[tuple[float, float]] = []
    for one in sorted(zip(sizes, psnrs, strict=True)):
        if not front or one[1] > front[-1][1]:
            front.append(one)
    if not front or size < front[0][0]:
        return None
    x, y = zip(*front, strict=True)
    return float(np.interp(np.log(size), np.log(x), y))


def best(size: float, curves: Mapping[str, Curve]) -> tuple[str, float] | None:
    """Name of the curve that reaches the most with no more than ``size``, and its PSNR (dB).

    Args:
        size: in bits or bytes, like those of the curves.
        curves: name -> size, above 0, and PSNR (dB) of what was measured.

    Returns:
        None where everything is larger.
    """
    there = {name: reached(size, *zip(*curve, strict=True)) for name, curve in curves.items() if curve}
    known = {name: psnr for name, psnr in there.items() if psnr is not None}
    return max(known.items(), key=lambda one: one[1]) if known else None


def envelope(curves: Mapping[str, Curve]) -> list[tuple[float, float]]:
    """The measured points, smallest first, that none of the curves passes above at the same size.

    The arguments are those of ``best``.
    """
    points = sorted({point for curve in curves.values() for point in curve})
    return [(size, psnr) for size, psnr in points if (top := best(size, curves)) and psnr >= top[1]]
