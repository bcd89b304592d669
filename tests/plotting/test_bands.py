"""Which bands of images are drawn."""

import numpy as np
import pytest
import torch

from caelab.plotting import bands, figures

FIVE = torch.arange(5.0).reshape(1, 5, 1, 1).expand(2, 5, 8, 8) / 10


def drawn(images, named=None):
    with bands.of_run({"dataset": {} if named is None else {"bands": named}}):
        return bands.shown(images)


@pytest.mark.parametrize(
    ("channels", "named", "expected"),
    [
        (1, None, [0]),
        (2, None, [0]),
        (3, None, [0, 1, 2]),
        (5, None, [0, 1, 2]),
        (5, [3, 2, 1], [3, 2, 1]),
        (5, [4], [4]),
        (1, [3, 2, 1], [0]),  # a mask, or a map of errors
    ],
)
def test_bands_are_those_named_or_the_first(channels, named, expected):
    images = FIVE[:, :channels]
    assert drawn(images, named)[0, :, 0, 0].mul(10).round().tolist() == expected
    assert drawn(images.numpy(), named).shape == (2, len(expected), 8, 8)


def test_names_hold_for_one_run_only():
    assert drawn(FIVE, [4]).shape[1] == 1
    assert bands.shown(FIVE).shape[1] == 3


def test_pictures_of_five_bands_show_those_named(tmp_path):
    with bands.of_run({"dataset": {"bands": [4, 0, 2]}}):
        sheet = figures.sheet([FIVE], border=0)
        figures.keep(tmp_path / "kept.npz", originals=FIVE)
        picture = figures.reconstructions(tmp_path / "picture.png", FIVE, {"again": FIVE})
    assert sheet[0, 0].tolist() == [102, 0, 51]
    assert np.load(tmp_path / "kept.npz")["originals"][0, :, 0, 0].tolist() == [102, 0, 51]
    assert picture.stat().st_size > 0
