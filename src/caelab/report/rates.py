"""PSNR against bits per image: codes that were rounded and coded, beside codecs and transform coding."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from caelab import texts
from caelab.analysis.rate.picture import TRANSFORM, Line, codecs, draw, line, lossless, transform
from caelab.analysis.rate.published import curves
from caelab.analysis.rate.tradeoff import PERFECT, Curve, best, envelope
from caelab.report.rows import Row, Section, titled
from caelab.runs import results
from caelab.runs.record import Complete

ANALYSIS = "rate"
"""Name of the analysis that leaves what is drawn here."""

BYTES = (10, 25, 50, 100, 171, 250, 400, 800, 1_600, 3_200)
"""At which networks, floors and codecs are compared."""

SIDES = ("network", "floor", "codec", "published")


_PRICE = "bottleneck.price"
_ALONG = ("model.latent", _PRICE)
"""Settings along which rows of one kind are a line."""


def rates(section: Section) -> Figure | None:
    """Draw the rows whose runs were measured by ``caelab rate``; a row without is left out.

    Rows that differ in the size of their latent and the price of their bits alone are one line, their
    envelope.

    Returns:
        None where no row was.
    """
    found = _found(section)
    if not found:
        return None
    title, beside = titled("Test PSNR against bits per image", section), _beside(found)
    return draw(title, _lines(found, sizes=True), beside, _published(section, beside))


def _lines(found: Sequence[tuple[Row, list[dict[str, Any]]]], sizes: bool) -> dict[str, Line]:
    """Name -> line of a row, or of a family of them.

    Args:
        found: rows with what was measured.
        sizes: whether families of rows that are lines by themselves are one, too, and not only those of rows
            that are a point each, as at one price.
    """
    lines: dict[str, Line] = {}
    for rows in _families([row for row, _ in found]):
        own = {row.label: line(measured, row.floor) for row, measured in found if row in rows}
        curves = {label: one.curve for label, one in own.items()}
        if len(own) > 1 and (sizes or all(len(curve) == 1 for curve in curves.values())):
            lines[_together(list(own), rows)] = Line(envelope(curves), None, rows[0].floor)
        else:
            lines |= own
    return lines


def winners(section: Section) -> pd.DataFrame | None:
    """Return the best network, floor, codec and published curve at equal bytes an image, a line a size.

    Floors are those of the section and transform coding; codecs count without headers, and what others have
    published as they counted it. ``*_psnr`` is in dB;
    the images themselves, without loss, count as 100 dB. Lines at which no network has been measured so
    small are left out.

    Returns:
        None where no row was measured by ``caelab rate``.
    """
    found = _found(section)
    if not found:
        return None
    beside = _beside(found)
    own = _lines(found, sizes=False)
    sides = (
        {name: one.curve for name, one in own.items() if not one.floor},
        {name: one.curve for name, one in own.items() if one.floor} | {TRANSFORM: transform(beside)},
        codecs(beside) | {name: [(bits, PERFECT)] for name, bits in lossless(beside).items()},
        _published(section, beside),
    )
    lines = []
    for size in BYTES:
        tops = [best(8 * size, side) for side in sides]
        if tops[0]:
            lines.append(_compared(size, tops))
    return texts.frame(lines) if lines else None


def _compared(size: int, tops: Sequence[tuple[str, float] | None]) -> dict[str, Any]:
    line: dict[str, Any] = {"bytes": size}
    for side, top in zip(SIDES, tops, strict=True):
        line[side], line[f"{side}_psnr"] = top or ("", None)
    line["best"] = max((top[1], side) for side, top in zip(SIDES, tops, strict=True) if top)[1]
    return line


def _found(section: Section) -> list[tuple[Row, list[dict[str, Any]]]]:
    return [(row, measured) for row in section.rows if (measured := _measured(row))]


def _measured(row: Row) -> list[dict[str, Any]]:
    found = (results.analysis(run.path, ANALYSIS, run.record) for run in row.runs.values())
    return [one for one in found if one is not None]


def _beside(found: Sequence[tuple[Row, Sequence[dict[str, Any]]]]) -> dict[str, Any]:
    """What stands beside the codes: of the run that was measured with most of it."""
    return max((one for _, measured in found for one in measured), key=lambda one: "transform" in one)


def _published(section: Section, beside: Mapping[str, Any]) -> dict[str, Curve]:
    """What others have published on the test images that were measured."""
    return curves(section.dataset, beside["images"]["test"], math.prod(beside["image"][1:]))


def _families(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of one kind whose runs differ in nothing but ``_ALONG`` and the seed, together."""
    families: dict[str, list[Row]] = {}
    for row in rows:
        record = _first(row)
        other = record.anywhere | dict.fromkeys((*_ALONG, "seed"))
        key = json.dumps([row.floor, other, record.data.plain()], sort_keys=True)
        families.setdefault(key, []).append(row)
    return list(families.values())


def _first(row: Row) -> Complete:
    return next(iter(row.runs.values())).record


def _together(labels: Sequence[str], rows: Sequence[Row]) -> str:
    """Name a family, such as ``PCA, best of 4 sizes``."""
    priced = len({_first(row).settings.get(_PRICE) for row in rows}) > 1
    shared = _shared(labels)
    return f"{shared.removesuffix(', price')}, best of {len(rows)} {'prices' if priced else 'sizes'}"


def _shared(labels: Sequence[str]) -> str:
    """The words that labels begin with alike, such as ``PCA`` of ``PCA 16`` and ``PCA 64``."""
    words = [label.split() for label in labels]
    alike = [first for first, *others in zip(*words, strict=False) if {first} == {*others}]
    return " ".join(alike).rstrip(",") or labels[0]
