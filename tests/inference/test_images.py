"""What counts as images: kinds, layouts, number types, channels, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from caelab.errors import UserError
from caelab.inference.images import Values, network_input, take, to_bytes

SHAPE = (3, 5, 4)
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)


def returned(images, shape=SHAPE):
    """What a network that changes nothing gives back."""
    given = take(images, shape)
    return given.back(given.finished(network_input(given.x, shape[0])))


@pytest.mark.parametrize("images", [PIXELS, PIXELS[0], PIXELS[:, ::-1], PIXELS[..., ::-1], PIXELS[:1]])
def test_arrays_come_back_as_they_were(images):
    for one in (images, (images / 255).astype(np.float32)):
        found = returned(one)
        assert type(found) is np.ndarray
        assert (found.dtype, found.shape) == (one.dtype, one.shape)
        assert np.allclose(found, one, atol=1e-6)
    assert returned(images / 255).dtype == np.float32


def test_arrays_may_be_read_only_and_of_another_byte_order():
    locked = PIXELS.copy()
    locked.flags.writeable = False
    assert np.array_equal(returned(locked), PIXELS)
    assert returned((PIXELS / 255).astype(">f8")) == pytest.approx(PIXELS / 255, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("one", [True, False])
def test_tensors_come_back_as_they_were(dtype, one):
    x = torch.from_numpy(PIXELS.transpose(0, 3, 1, 2).copy())
    x = (x if dtype == torch.uint8 else x / 255).to(dtype)
    x = x[0] if one else x
    found = returned(x)
    assert found.dtype == (torch.uint8 if dtype == torch.uint8 else torch.float32)
    assert found.shape == x.shape
    assert torch.allclose(found.double(), x.double())


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_pillow_images_come_back_as_such(mode):
    image = Image.fromarray(PIXELS[0]).convert(mode)
    found = returned(image)
    assert (found.mode, found.size) == ("RGB", (4, 5))
    assert np.array_equal(np.asarray(found), np.asarray(image.convert("RGB")))
    assert returned(image, (1, 5, 4)).mode == "L"
    assert np.array_equal(
        np.asarray(returned(image, (1, 5, 4))), np.asarray(image.convert("RGB").convert("L"))
    )


def test_deep_pillow_images_come_back_with_eight_bits():
    deep = Image.fromarray(np.arange(0, 65_000, 3_250, dtype=np.uint16).reshape(5, 4))
    found = returned(deep)
    assert found.mode == "RGB"
    expected = np.round(np.asarray(deep) / 65_535 * 255)
    assert all(np.array_equal(channel, expected) for channel in np.asarray(found).transpose(2, 0, 1))


def test_a_list_may_hold_anything():
    tensor = torch.rand(2, 3, 5, 4)
    images = [Image.fromarray(PIXELS[0]), PIXELS[1, ..., 0], tensor, PIXELS[1] / 255]
    picture, grey, pair, floats = returned(images)
    assert np.array_equal(np.asarray(picture), PIXELS[0])
    assert (grey.dtype, grey.shape) == (np.uint8, (5, 4, 3))
    assert all(np.array_equal(grey[..., i], PIXELS[1, ..., 0]) for i in range(3))
    assert torch.allclose(pair, tensor)
    assert floats == pytest.approx(PIXELS[1] / 255, abs=1e-6)
    assert take(list(PIXELS), SHAPE).x.dtype == torch.uint8
    assert [np.array_equal(a, b) for a, b in zip(returned(list(PIXELS)), PIXELS, strict=True)] == [True] * 2


def test_grey_and_colour_become_each_other():
    grey = returned(PIXELS, (1, 5, 4))
    assert grey.shape == (2, 5, 4, 1)
    luma = PIXELS @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey[..., 0] - luma).max() <= 0.5 + 1e-3
    assert returned(PIXELS[0, ..., 0], (1, 5, 4)).shape == (5, 4)
    assert np.array_equal(returned(PIXELS[0, ..., 0]), np.repeat(PIXELS[0, ..., :1], 3, axis=2))


def test_every_byte_survives():
    x = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(to_bytes(network_input(x, 1)), x)
    assert to_bytes(torch.tensor([-0.1, 0.4999 / 255, 0.5001 / 255, 1.2])).tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 7, 9, 3), np.uint8), "images of 7x9 pixels (height x width), the network takes 5x4: "),
        (Image.new("L", (9, 7)), "images of 7x9 pixels (height x width), the network takes 5x4: "),
        (torch.zeros(3, 4, 5), "images of 4x5 pixels (height x width), the network takes 5x4: "),
        (np.zeros((100, 5, 4), np.uint8), "an array of shape (100, 5, 4); give (H, W), (H, W, C) or"),
        (np.zeros((2, 5, 4, 4), np.uint8), "images of 4 channels, the network takes 3"),
        (torch.zeros(5, 4), "a tensor of shape (5, 4); give (N, C, H, W) or (C, H, W)"),
        (np.zeros((5, 4, 3), np.int64), "images of int64; give uint8 from 0 to 255, or floating"),
        (np.zeros((5, 4, 3), np.uint16), "images of uint16; give uint8 from 0 to 255, or floating"),
        (np.zeros((5, 4, 3), bool), "images of bool; give uint8 from 0 to 255, or floating"),
        (torch.zeros(3, 5, 4, dtype=torch.int32), "images of int32; give uint8 from 0 to 255, or floating"),
        (255.0 * (PIXELS > 9), "images from 0 to 255; floating point must be from 0 to 1"),
        (PIXELS * np.nan, "images from nan to nan; floating point must be from 0 to 1"),
        ([], "no image given; give NumPy arrays, Pillow images, torch tensors, or a list of any of them"),
        (PIXELS[:0], "no image given; give NumPy arrays"),
        ("cat.png", "images of type str; give NumPy arrays"),
        (Image.fromarray(np.full((5, 4), 9, np.float32)), "a Pillow image of mode F: its values go from 9"),
    ],
)
def test_what_it_cannot_take_is_one_line_that_says_what_it_got_and_wants(images, message):
    with pytest.raises(UserError) as caught:
        take(images, SHAPE)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


VALUES = Values(torch.uint16, (100, 1100))


def test_values_of_a_run_go_to_0_and_1_and_back():
    given = np.array([100, 600, 1100], np.uint16).repeat(8).reshape(3, 2, 2, 2)  # (N, H, W, C)
    taken = take(given, (2, 2, 2), VALUES)
    assert taken.x[:, 0, 0, 0].tolist() == [0, 0.5, 1]
    back = taken.back(taken.finished(taken.x))
    assert back.dtype == np.uint16
    assert np.array_equal(back, given)
    swapped = take(given.astype(">u2"), (2, 2, 2), VALUES)
    assert torch.equal(swapped.x, taken.x)
    tensor = torch.from_numpy(given).movedim(-1, 1)
    both = take([tensor, given[0]], (2, 2, 2), VALUES)
    first, second = both.back(both.x)
    assert torch.equal(first.int(), tensor.int())
    assert np.array_equal(second, given[0])


def test_other_values_than_a_runs_are_what_they_always_are():
    floats = np.full((1, 2, 2, 2), 0.25, np.float32)
    taken = take(floats, (2, 2, 2), VALUES)
    assert np.array_equal(taken.back(taken.x), floats)
    with pytest.raises(UserError, match=r"images from 0 to 0; the network takes uint16 from 100 to 1100"):
        take(np.zeros((1, 2, 2, 2), np.uint16), (2, 2, 2), VALUES)
    with pytest.raises(UserError, match="images of int16; give uint16 from 100 to 1100, uint8"):
        take(np.zeros((1, 2, 2, 2), np.int16), (2, 2, 2), VALUES)


def test_floats_of_another_range_come_back_into_it():
    values = Values(torch.float32, (-50, 50))
    given = np.array([-50.0, 0, 50]).reshape(3, 1, 1, 1)
    taken = take(given, (1, 1, 1), values)
    assert taken.x.flatten().tolist() == [0, 0.5, 1]
    assert taken.back(taken.x).flatten().tolist() == [-50, 0, 50]
    with pytest.raises(UserError, match="images from -50 to nan|images from nan to nan"):
        take(np.array([np.nan]).reshape(1, 1, 1, 1), (1, 1, 1), values)


def test_a_deep_pillow_image_is_of_a_networks_own_values():
    pixels = np.array([[0, 1024], [2048, 4095]], np.uint16)
    values = Values(torch.uint16, (0, 4095))
    for picture in (Image.fromarray(pixels), Image.fromarray(pixels.astype(np.int32))):
        taken = take(picture, (1, 2, 2), values)
        assert torch.equal(taken.x, take(pixels, (1, 2, 2), values).x)
        assert np.asarray(taken.back(taken.finished(taken.x))).tolist() == [[0, 64], [128, 255]]
    with pytest.raises(UserError, match="images from 0 to 4096; the network takes uint16 from 0 to 4095"):
        take(Image.fromarray(pixels + 1 - (pixels == 0).astype(np.uint16)), (1, 2, 2), values)
    floats = Image.fromarray(np.full((2, 2), 0.5, np.float32))
    assert take(floats, (1, 2, 2), values).x.flatten().tolist() == [0.5] * 4
    with pytest.raises(UserError, match="mode F; the network takes float32 from 0 to 4095: give an array"):
        take(floats, (1, 2, 2), Values(torch.float32, (0, 4095)))
