"""A section's gradients in each layer."""

from statistics import fmean

from matplotlib.figure import Figure

from caelab.analysis.gradients.picture import Line, draw
from caelab.report.rows import Row, Section, titled
from caelab.runs import results

ANALYSIS = "gradients"
"""Name of the analysis that leaves what is drawn here."""


def gradients(section: Section) -> Figure | None:
    """Draw the rows whose runs were measured by ``caelab gradients``, means over seeds; others are left out.

    Returns:
        None where no row was.
    """
    lines = {row.label: line for row in section.rows if (line := _line(row)) is not None}
    return draw(titled("Gradients by layer", section), lines) if lines else None


def _line(row: Row) -> Line | None:
    found = (results.analysis(run.path, ANALYSIS, run.record) for run in row.runs.values())
    layers = [one["layers"] for one in found if one is not None]
    start, end = (
        [fmean(layer[when] for layer in same) for same in zip(*layers, strict=True)]
        for when in ("start", "end")
    )
    return Line(start, end) if start else None
