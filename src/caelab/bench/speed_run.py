"""Seconds until a recipe reaches a quality, median of several seeds: ``caelab bench --to 28,29``."""

import math
import os
from collections.abc import Sequence
from statistics import median
from typing import Any

from rich.table import Table

from caelab import terminal
from caelab.bench import sheet
from caelab.bench.measure import carry_out, spread
from caelab.composition import compose
from caelab.errors import UserError

Curve = Sequence[tuple[float, float]]
"""Seconds since the start of the fit, and validation PSNR (dB), after each validated epoch."""


def speed_run(targets: Sequence[float], overrides: Sequence[str], count: int) -> dict[str, Any]:
    """Train a recipe with seeds 0, 1, ... through the command line, and say when it is how good.

    Args:
        targets: PSNR on validation, in dB.
        overrides: as for caelab train.
        count: seeds, each trained in a process of its own.

    Returns:
        What the JSON file in ``multirun/bench`` holds.

    Raises:
        UserError: no recipe, a mistake in it, or a run that failed.
    """
    if not overrides:
        raise UserError("--to: name a recipe, such as experiment=residual")
    compose.config(list(overrides))  # a mistake is found before anything is measured
    found = sheet.begun(overrides) | {"targets": list(targets), "runs": []}
    for seed in range(count):
        run = carry_out("speed-run", [*overrides, f"seed={seed}"])
        found["runs"].append(run)
        found["load"].append(os.getloadavg()[0])
        seconds, psnr = run["curve"][-1]
        terminal.say(f"seed {seed}: {psnr:.2f} dB on validation after {seconds:,.0f} s")
    terminal.console.print(table(found))
    sheet.keep(found)
    return found


def reached(curve: Curve, target: float) -> float:
    """Seconds to the end of the first epoch with so much PSNR (dB); infinite where there is none."""
    return next((seconds for seconds, psnr in curve if psnr >= target), math.inf)


def table(found: dict[str, Any]) -> Table:
    """Return the seconds to each target as a table."""
    runs = found["runs"]
    shown = Table(title=f"{' '.join(found['overrides'])}: median of {len(runs)}", title_justify="left")
    for column in ("validation PSNR (dB)", "seconds", "reached by", "test PSNR at the end (dB)"):
        shown.add_column(column, justify="right")
    end = spread([run["test_psnr"] for run in runs], ".2f")
    for target in found["targets"]:
        times = [reached(run["curve"], target) for run in runs]
        there = sum(math.isfinite(one) for one in times)
        seconds = spread(times, ",.1f") if math.isfinite(median(times)) else "-"
        shown.add_row(f"{target:g}", seconds, f"{there} of {len(times)}", end)
    return shown
