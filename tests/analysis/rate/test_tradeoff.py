"""Reading curves: by hand, on lines whose values are known."""

import pytest

from caelab.analysis.rate.tradeoff import PERFECT, best, enough, envelope, reached
from caelab.metrics.quality import PSNR_CAP


def points(*pairs):
    return [{"rate": rate, "psnr": psnr} for rate, psnr in pairs]


def test_enough_lies_on_the_line_between_the_last_that_loses_and_the_first_that_does_not():
    found = enough(30.0, points((100, 25.0), (200, 29.7), (300, 29.95), (400, 30.0)))
    assert found == {"rate": pytest.approx(280), "psnr": pytest.approx(29.9)}


def test_enough_is_bounded_by_the_coarsest_and_may_not_be_there():
    assert enough(30.0, points((100, 29.95), (200, 30.0))) == {"rate": 100, "psnr": 29.95}
    assert enough(30.0, points((100, 25.0), (200, 29.8))) is None
    # a coarse quantiser that happens to lose little does not count while a finer one loses more
    assert enough(30.0, points((100, 29.95), (200, 29.8), (300, 30.0)))["rate"] == pytest.approx(250)


def test_what_is_reached_lies_on_a_line_over_the_logarithm():
    sizes, psnrs = [400.0, 100.0], [30.0, 20.0]
    assert reached(200, sizes, psnrs) == pytest.approx(25)
    assert reached(100, sizes, psnrs) == 20
    assert reached(99, sizes, psnrs) is None
    assert reached(5_000, sizes, psnrs) == 30
    assert reached(100, [], []) is None


def test_a_setting_that_is_larger_and_no_better_counts_for_nothing():
    assert reached(200, [100, 200, 400], [20.0, 19.0, 30.0]) == pytest.approx(25)


SMALL, LARGE = [(10.0, 20.0), (40.0, 22.0)], [(20.0, 19.0), (40.0, 24.0), (160.0, 30.0)]


def test_the_best_is_the_curve_that_is_above_at_that_size():
    curves = {"small": SMALL, "large": LARGE, "none": []}
    assert best(9, curves) is None
    assert best(20, curves) == ("small", pytest.approx(21))
    assert best(40, curves) == ("large", 24)
    assert best(80, curves) == ("large", pytest.approx(27))
    assert best(1_000, curves) == ("large", 30)


def test_the_envelope_holds_the_points_that_no_curve_passes_above():
    # at 20 the line of the small one has 21 dB, where the large one has 19
    assert envelope({"small": SMALL, "large": LARGE}) == [(10, 20), (40, 24), (160, 30)]
    # a point between two others of its own counts where it is above their line
    assert envelope({"one": [(10.0, 20.0), (20.0, 22.0), (40.0, 22.0)]}) == [(10, 20), (20, 22), (40, 22)]
    assert envelope({"one": []}) == []


def test_no_loss_counts_as_everywhere():
    assert PERFECT == PSNR_CAP
