"""Values of images, as they are stored and as networks take them."""

import numpy as np
import pytest
import torch

from caelab.data.scale import restored, scaled, unit, white

BYTES = torch.arange(256, dtype=torch.uint8)


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.float64])
def test_bytes_are_divided_by_255(dtype):
    kind = np.float64 if dtype == torch.float64 else np.float32
    expected = np.arange(256).astype(kind) / kind(255)
    assert np.array_equal(unit(BYTES, dtype).numpy(), expected)
    assert BYTES[255] == 255  # in no case in place


def test_floats_stay_as_they_are():
    x = torch.rand(5, dtype=torch.float64)
    assert unit(x) is x
    assert unit(x, torch.float32).dtype == torch.float32
    assert (white(BYTES), white(x)) == (255, 1)


def test_every_number_of_16_bits_comes_back():
    whole = torch.arange(65_536, dtype=torch.int32).to(torch.uint16)
    x = scaled(whole, (0, 65_535))
    assert (x.min(), x.max()) == (0, 1)
    assert torch.equal(restored(x, torch.uint16, (0, 65_535)).int(), whole.int())
    assert restored(torch.tensor([-0.1, 1.1]), torch.uint16, (0, 65_535)).int().tolist() == [0, 65_535]


def test_floats_come_back_into_their_range():
    values = torch.tensor([-20.0, 0.0, 80.0])
    x = scaled(values, (-20, 80))
    assert x.tolist() == pytest.approx([0, 0.2, 1])
    assert restored(x, torch.float32, (-20, 80)).tolist() == pytest.approx([-20, 0, 80], abs=1e-5)


def test_bytes_are_not_scaled():
    assert scaled(BYTES, (0, 255)) is BYTES
