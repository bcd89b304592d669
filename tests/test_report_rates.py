"""Rates in the report: which points are drawn, averaged by hand."""

import numpy as np
import pytest

from caelab import results
from caelab.report.rates import draw, line, rates
from caelab.report.rows import Row, Run, Section

CODECS = {"JPEG": [{"quality": 5, "file": 600.0, "payload": 50.0, "psnr": 22.0}]}


def found(shift=0.0, bits=(2, 4), enough=True):
    points = [{"bits": b, "rate": 100.0 * b + shift, "psnr": 20.0 + b + shift} for b in bits]
    end = {"rate": 300.0 + shift, "psnr": 23.0 + shift}
    return {"points": points, "enough": end if enough else None, "codecs": CODECS}


def test_a_line_is_the_mean_over_seeds_at_the_quantisers_that_all_have():
    one = line([found(), found(1.0, bits=(2, 3, 4))])
    assert one.points == [(200.5, 22.5), (400.5, 24.5)]
    assert one.enough == (300.5, 23.5)
    assert line([found(), found(enough=False)]).enough is None


def test_models_floors_and_codecs_are_drawn_over_bits():
    lines = {"net": line([found()]), "PCA": line([found(10.0)], floor=True)}
    (axes,) = draw("A title", lines, CODECS).axes
    drawn = {one.get_label(): np.array(one.get_xydata()).tolist() for one in axes.lines}
    assert drawn["net"] == [[200, 22], [400, 24]]
    assert drawn["floor: PCA"] == [[210, 32], [410, 34]]
    assert drawn["JPEG, without headers"] == [[400, 22]]
    assert drawn["JPEG, whole files"] == [[4800, 22]]
    rings = [one.get_xydata().tolist() for one in axes.lines if one.get_label().startswith("_")]
    assert rings == [[[300, 23]], [[310, 33]]]
    assert (axes.get_xscale(), axes.get_xlabel()) == ("log", "bits per image")


def test_a_code_without_bits_is_left_out_of_a_logarithmic_axis():
    constant = found()
    for point in constant["points"]:
        point["rate"] = 0.0
    (axes,) = draw("A title", {"net": line([constant | {"enough": None}])}, CODECS).axes
    assert [one.get_label() for one in axes.lines] == ["JPEG, without headers", "JPEG, whole files"]


@pytest.fixture
def row(tmp_path):
    def make(label, *shifts, floor=False):
        runs = {}
        for seed, shift in enumerate(shifts):
            path = tmp_path / label / str(seed)
            path.mkdir(parents=True)
            record = {"fingerprint": f"{label}{seed}", "finished": "2026-05-01T12:00:00+00:00", "metrics": {}}
            if shift is not None:
                results.write_analysis(path, "rate", record, {"figures": {}, **found(shift)})
            runs[seed] = Run(path, record)
        return Row(label, "cifar10", floor, runs=runs)

    return make


def test_rows_that_were_measured_are_drawn(row):
    section = Section("s", "A title", "", "cifar10", [row("a", 0.0, 2.0, None), row("b", None), row("c")])
    figure = rates(section)
    assert figure.get_suptitle() == "A title (CIFAR-10)"
    drawn = {one.get_label(): one.get_xydata().tolist() for one in figure.axes[0].lines}
    assert drawn["a"] == [[201, 23], [401, 25]]
    assert not {"b", "c"} & drawn.keys()
    assert rates(Section("s", "A title", "", "cifar10", [row("d", None)])) is None
