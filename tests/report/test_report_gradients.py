"""Gradients in the report: what is drawn, averaged by hand."""

import numpy as np
import toys

from caelab.analysis.gradients.picture import Line, draw
from caelab.report.gradients import gradients
from caelab.report.rows import Row, Run, Section
from caelab.runs import results


def test_both_ends_are_drawn_over_the_layers():
    figure = draw("A title", {"net": Line([1.0, 0.5], [0.25, 2.0]), "other": Line([3.0], [4.0])})
    left, right = (
        {line.get_label(): np.array(line.get_xydata()).tolist() for line in axes.lines}
        for axes in figure.axes
    )
    assert left == {"net": [[1, 1], [2, 0.5]], "other": [[1, 3]]}
    assert right == {"net": [[1, 0.25], [2, 2]], "other": [[1, 4]]}
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "log"]


def measured(path, layers):
    record = toys.exact(fingerprint=path.name)
    path.mkdir()
    results.write_analysis(path, "gradients", record, {"figures": {}, "layers": layers})
    return Run(path, record)


def test_a_row_is_the_mean_of_its_seeds_and_rows_without_are_left_out(tmp_path):
    one, two = ([{"start": n, "end": n * 2}, {"start": 8.0, "end": 4.0}] for n in (1.0, 3.0))
    runs = {0: measured(tmp_path / "a", one), 1: measured(tmp_path / "b", two)}
    floor = Row("PCA", "mnist", True, runs={0: measured(tmp_path / "c", [])})
    rows = [Row("net", "mnist", runs=runs), floor, Row("bare", "mnist")]
    figure = gradients(Section("gradients", "Title", "", "mnist", rows))
    (left,), (right,) = (axes.lines for axes in figure.axes)
    assert np.array(left.get_xydata()).tolist() == [[1, 2], [2, 8]]
    assert np.array(right.get_xydata()).tolist() == [[1, 4], [2, 4]]
    assert gradients(Section("gradients", "Title", "", "mnist", rows[1:])) is None
