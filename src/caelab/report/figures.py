"""The figures of a report, drawn from run records."""

import math
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from caelab import durable
from caelab.plotting.style import (
    COLOURS,
    DPI,
    LABELS,
    floor_style,
    legend,
    line_style,
    logarithmic,
    settle,
    sheet,
    styled,
)
from caelab.report.compare import means
from caelab.report.gradients import gradients
from caelab.report.pareto import pareto
from caelab.report.pictures import grid, paths
from caelab.report.rates import rates
from caelab.report.rows import Row, Section, series, titled
from caelab.texts import visible

__all__ = ["HIGHLIGHTED", "bars", "curves", "gradients", "grid", "line", "pareto", "paths", "rates", "save"]

HIGHLIGHTED = 8
"""Rows that ``curves`` tells apart; further ones are grey."""

_AXES = {"model.latent": "latent (numbers per image)", "dataset.train_size": "training images"}


@matplotlib.rc_context(
    {
        "pdf.fonttype": 42,  # text stays text
        "image.composite_image": False,  # keeps pictures in their own pixels
    }
)
def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write ``<name>.png`` (150 dpi) and ``<name>.pdf``, for a paper; the same records give the same bytes.

    Returns:
        The two paths, PNG first; ``folder`` is made where it is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settle(figure)
    paths = [folder / f"{name}.png", folder / f"{name}.pdf"]
    for path in paths:
        with durable.file(path) as file:
            figure.savefig(file, format=path.suffix[1:], dpi=DPI, metadata={"CreationDate": None})
    return paths


@styled
def bars(section: Section) -> Figure:
    """Draw test PSNR and test SSIM of each trained row as a dot on a line, in the section's order.

    Dots rather than bars, since PSNR has no zero from which a length could be read. Large: mean over seeds
    with its 95 % t interval. Small: one seed. Open diamond: the report's figure, of ten images.
    Dashed: floors. A row without runs keeps its place and says so.
    """
    trained = [row for row in section.rows if not row.floor]
    floors = [row for row in section.rows if row.floor and row.runs]
    labels = (visible(row.label) + ("" if row.runs else " (no runs)") for row in trained)
    names = [fill(label, 28) for label in labels]
    figure = sheet(
        titled("Test PSNR and SSIM", section),
        0.6 + sum(0.32 + 0.12 * name.count("\n") for name in names or [""]),
    )
    panels = figure.subplots(1, 2, sharey=True)
    for axes, metric in zip(panels, ("test/psnr", "test/ssim"), strict=True):
        _dots(axes, trained, metric)
        for index, level in enumerate(means(floors, metric)[0]):
            axes.axvline(level, **floor_style(index), zorder=1, label=f"floor: {floors[index].label}")
        axes.set_xlabel(LABELS[metric])
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(max(len(names), 1) - 0.5, -0.5)
    legend(figure, panels[0])
    return figure


@styled
def line(section: Section) -> Figure:
    """Draw test PSNR against the section's axis: one line a series, means over seeds with 95 % t intervals.

    The rows of a series have labels that differ only in ``, <axis>=<value>``. Rows without runs are left out.
    One that does not have the setting is a level line. Floors are dashed and grey.
    """
    found = _series(section)
    name = _AXES.get(section.axis or "", section.axis or "")
    figure = sheet(titled(f"Test PSNR by {name}", section), 3.8)
    axes = figure.subplots()
    styles, dashes = map(line_style, range(len(found))), map(floor_style, range(len(found)))
    for label, rows in found.items():
        floor = all(row.floor for row in rows.values())
        style = next(dashes) if floor else next(styles) | {"linestyle": "-"}
        _spread(axes, f"floor: {label}" if floor else label, rows, style)
    ticks = sorted({x for rows in found.values() for x in rows if x is not None})
    if ticks and all(x > 0 and math.log2(x).is_integer() for x in ticks):
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [f"{x:,g}" for x in ticks])
    axes.set_xlabel(name)
    axes.set_ylabel(LABELS["test/psnr"])
    legend(figure, axes)
    return figure


@styled
def curves(section: Section) -> Figure:
    """Draw training loss and validation PSNR against the epoch: mean over seeds, band from least to greatest.

    A mean stands at the epochs that all its seeds have. Floors and rows without curves are left out. The
    first 8 rows are told apart, further ones are grey.
    """
    rows = [row for row in section.rows if not row.floor and any(run.curves for run in row.runs.values())]
    figure = sheet(titled("Training loss and validation PSNR", section), 2.9)
    panels = figure.subplots(1, 2)
    for axes, key in zip(panels, ("train/loss", "val/psnr"), strict=True):
        for index, row in enumerate(rows):
            rest = f"{len(rows) - HIGHLIGHTED} more" if index == HIGHLIGHTED else None
            _curve(axes, row, key, index, rest if index >= HIGHLIGHTED else row.label)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))  # there may be one epoch
    panels[0].set_ylabel("training loss")
    panels[1].set_ylabel(LABELS["val/psnr"])
    logarithmic(panels[0], "y")
    legend(figure, panels[1])
    return figure


def _dots(axes: Axes, rows: Sequence[Row], metric: str) -> None:
    run = {place: row for place, row in enumerate(rows) if row.runs}
    seeds = [(value, place + 0.25) for place, row in run.items() for value in row.values(metric).values()]
    key = metric.removeprefix("test/")
    published = [(row.published[key], place) for place, row in enumerate(rows) if key in row.published]
    if run:
        mean, reach = means(list(run.values()), metric)
        label = "one seed" if np.isnan(reach).all() else "mean over seeds, 95 % t interval"
        axes.errorbar(mean, list(run), xerr=reach, fmt="o", ms=5, color=COLOURS[0], capsize=3, label=label)
        if len(seeds) > len(run):
            axes.plot(*zip(*seeds, strict=True), "o", ms=2.5, color=COLOURS[0], alpha=0.6, label="one seed")
    if published:
        axes.plot(
            *zip(*published, strict=True),
            "D",
            ms=6,
            color=COLOURS[1],
            mfc="none",
            label="report (ten images)",
        )


def _series(section: Section) -> dict[str, dict[float | None, Row]]:
    """Name of a series -> its rows with runs, by their value of the axis; None for a row without one."""
    axis = section.axis or ""
    found: dict[str, dict[float | None, Row]] = {}
    for row in section.rows:
        if row.runs:
            found.setdefault(series(row, axis), {})[row.settings.get(axis)] = row
    return found


def _spread(axes: Axes, name: str, rows: dict[float | None, Row], style: dict[str, Any]) -> None:
    points = sorted(x for x in rows if x is not None)
    if not points:
        (level,), _ = means(list(rows.values()), "test/psnr")
        axes.axhline(level, label=name, **style)
        return
    mean, reach = means([rows[x] for x in points], "test/psnr")
    if np.isnan(reach).all():
        axes.plot(points, mean, label=name, **style)
    else:
        axes.errorbar(points, mean, yerr=reach, capsize=3, label=name, **style)


def _curve(axes: Axes, row: Row, key: str, index: int, label: str | None) -> None:
    """Draw a row's mean and band; without a label the line is not in the legend."""
    epochs, values = row.curve(key)
    if not len(epochs):
        return
    if index >= HIGHLIGHTED:
        axes.plot(epochs, values.mean(0), ".-", color="#BBBBBB", ms=3, lw=0.8, zorder=1, label=label)
        return
    every = max(1, len(epochs) // 8)
    style = line_style(index)
    axes.plot(epochs, values.mean(0), markevery=(index % every, every), label=label, **style)
    axes.fill_between(epochs, values.min(0), values.max(0), color=style["color"], alpha=0.2, linewidth=0)
