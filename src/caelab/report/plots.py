"""What the plots of a page are drawn from: each row's figures and curves as plain data."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from caelab.plotting.strips import Images
from caelab.plotting.style import COLOURS, LABELS
from caelab.report import compare
from caelab.report.rows import Row, Section, series
from caelab.report.sprites import sprites
from caelab.runs.labels import display
from caelab.texts import visible

FILTERS = ("dataset", "model", "loss", "optimizer")
"""Groups by whose options a page shows some of its rows."""

CURVES = {"val/psnr": LABELS["val/psnr"], "train/loss": "training loss"}
"""Column of ``metrics.csv`` -> name of its axis."""

_POINTS = 120  # of a curve
_DIGITS = 5


def script(sections: Sequence[dict[str, Any]]) -> Markup:
    """Return all that a page's script draws, as JSON that no text in it can end."""
    content = {
        "sections": sections,
        "colours": COLOURS,
        "labels": LABELS,
        "curves": CURVES,
        "filters": FILTERS,
    }
    return Markup(json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"))


def plain(listed: Section, drawn: Section, pictures: Mapping[str, Images]) -> dict[str, Any]:
    """Return what of a section a page draws.

    Args:
        listed: all rows of the page's table, in its order.
        drawn: those that its plots show.
        pictures: that it compares: see ``caelab.report.pictures.collected``.
    """
    labels = {row.label for row in drawn.rows}
    axis = drawn.axis if drawn.axis and any(drawn.axis in row.settings for row in drawn.rows) else None
    numbers = next((row.mean("size", "input_numbers") for row in drawn.rows if row.runs), None)
    return {
        "name": listed.name,
        "axis": axis,
        "numbers": numbers,
        "rows": [_row(row, axis, row.label in labels) for row in listed.rows],
        "pictures": sprites(pictures) if len(pictures) > 1 else None,
    }


def choices(row: Row) -> dict[str, str]:
    """Group -> option of a row's runs, by which a page filters; empty without a run."""
    if not row.runs:
        return {}
    chosen = next(iter(row.runs.values())).record.choices
    return {group: display(chosen[group]) for group in FILTERS if group in chosen}


def _row(row: Row, axis: str | None, drawn: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"label": visible(row.label), "floor": row.floor, **choices(row)}
    if not drawn or not row.runs:
        return found
    return found | {
        "psnr": _interval(row, "test/psnr"),
        "ssim": _interval(row, "test/ssim"),
        "report": {f"test/{key}": value for key, value in row.published.items()},
        "x": row.settings.get(axis or ""),
        "series": visible(series(row, axis or "")),
        # numbers cost nothing what was trained for its bits
        "code": None if row.values("test/bits") else row.mean("size", "effective_code"),
        "honest": row.floor or row.honest,
        "curves": {} if row.floor else {key: curve for key in CURVES if (curve := _curve(row, key))},
    }


def _interval(row: Row, metric: str) -> list[float | None]:
    """Mean, ends of the 95 % interval, then each seed's figure."""
    one = compare.interval(row, metric)
    ends = [None if math.isnan(one.mean) else one.mean, one.low, one.high]
    return [None if value is None else _short(value) for value in (*ends, *row.values(metric).values())]


def _curve(row: Row, key: str) -> list[list[float]] | None:
    """Epochs, mean, least and greatest over the seeds, where all of them have one; None without any."""
    epochs, values = row.curve(key)
    if not len(epochs):
        return None
    taken = np.unique(np.linspace(0, len(epochs) - 1, min(len(epochs), _POINTS)).round().astype(int))
    values = values[:, taken]  # (seeds, points)
    if not np.isfinite(values).all():
        return None
    band = [values.min(0), values.max(0)] if len(values) > 1 else []
    return [_shorts(line) for line in (epochs[taken], values.mean(0), *band)]


def _shorts(values: NDArray[Any]) -> list[float]:
    return [_short(value) for value in values.tolist()]


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
