"""What a portrait measures, on models whose answers are known."""

import numpy as np
import pytest
import torch
from toys import Linear, Skipping, images

from caelab.analysis.look.portrait import Portrait

LABELS = np.array([4, 4, 4, 7, 4, 7, 9, 7, 4, 4])


def portrait(net, n=10):
    return Portrait(net, images(n), np.resize(LABELS, n), 0)


def test_dead_and_ignored_are_counted_apart():
    class Deaf(Linear):
        """Its first coordinate never varies, and its decoder does not listen to the last two."""

        def encode(self, x):
            code = super().encode(x)
            return code._replace(z=code.z * torch.tensor([0, 1, 1, 1, 1.0]))

        def decode(self, code):
            return super().decode(code._replace(z=code.z * torch.tensor([1, 1, 1, 0, 0.0])))

    one = portrait(Deaf())
    assert one.dead == 1
    assert one.ignored == 3
    assert len(one.axes.deviations) == 4
    assert one.around == 0


def test_effects_of_coordinates_and_axes_of_a_linear_model():
    one = portrait(Skipping(), 30)
    assert one.around == 24
    np.testing.assert_allclose(one.coordinate_effects, one.z.std(0) / np.sqrt(24), rtol=1e-4)
    np.testing.assert_allclose(one.axis_effects, one.axes.deviations / np.sqrt(24), rtol=1e-4)
    assert 1 < one.effective_dimension <= 5


def test_the_typical_image_is_the_one_in_the_middle():
    one = portrait(Linear())
    moved = one.z - one.z.mean(0)
    assert one.typical == min(range(10), key=lambda i: (moved[i] ** 2).sum())


@pytest.mark.parametrize(
    ("count", "rows"), [(3, [0, 3, 6]), (5, [0, 3, 6, 1, 5]), (10, [0, 3, 6, 1, 5, 2, 7, 4, 8, 9])]
)
def test_varied_takes_classes_in_turn(count, rows):
    assert portrait(Linear()).varied(count).tolist() == rows
