"""Pictures of any size cut to a network's size, and put together again."""

import numpy as np
import pytest
from PIL import Image

from caelab.errors import UserError
from caelab.inference.fitting import Fit, picture, pixels

GENERATOR = np.random.default_rng(0)


def noise(height, width, channels=3):
    return GENERATOR.integers(0, 256, (height, width, channels), dtype=np.uint8)


def tiles(fit, image):
    return np.concatenate(list(fit.cut(picture(image))))


@pytest.mark.parametrize("size", [(1, 1), (4, 6), (5, 7), (8, 12), (9, 3), (23, 31)])
@pytest.mark.parametrize("channels", [1, 3])
def test_tiles_put_together_are_the_picture(size, channels):
    image, fit = noise(*size, channels), Fit((channels, 4, 6), "tile")
    cut = tiles(fit, image)
    rows, columns = fit.grid(size)
    assert (rows, columns) == (np.ceil(size[0] / 4), np.ceil(size[1] / 6))
    assert cut.shape == (rows * columns, 4, 6, channels)
    assert np.array_equal(fit.join(cut, size), image)


def test_tiles_go_row_by_row_and_are_filled_with_the_edge():
    image = noise(5, 7)
    cut = tiles(Fit((3, 4, 6), "tile"), image)
    assert np.array_equal(cut[0], image[:4, :6])
    assert np.array_equal(cut[1][:, 0], image[:4, 6])
    assert (cut[1] == cut[1][:, :1]).all()
    assert (cut[2] == image[4, :6]).all()
    assert (cut[3] == image[4, 6]).all()


def test_a_resized_picture_keeps_its_size_and_loses_its_proportions():
    image, fit = noise(20, 10), Fit((3, 4, 6), "resize")
    (one,) = tiles(fit, image)
    assert np.array_equal(one, np.asarray(Image.fromarray(image).resize((6, 4), Image.Resampling.BICUBIC)))
    back = fit.join(one[None], (20, 10))
    assert np.array_equal(back, np.asarray(Image.fromarray(one).resize((10, 20), Image.Resampling.BICUBIC)))
    assert fit.grid((20, 10)) == (1, 1)
    grey = Fit((1, 4, 6), "resize")
    assert grey.join(tiles(grey, noise(5, 5, 1)), (5, 5)).shape == (5, 5, 1)


def test_a_crop_is_the_middle_of_the_picture():
    image, fit = noise(4, 16), Fit((3, 4, 6), "crop")
    (one,) = tiles(fit, image)
    assert np.array_equal(one, image[:, 5:11])
    assert np.array_equal(pixels(fit.seen(picture(image))), one)
    assert np.array_equal(fit.join(one[None], (4, 16)), one)
    assert fit.seen(picture(image)).size == (6, 4)
    assert Fit((3, 4, 6), "tile").seen(picture(image)).size == (16, 4)


def test_deep_pictures_stay_deep_and_within_their_range():
    steps = np.zeros((16, 16), np.float32)
    steps[:, 8:] = 1
    (one,) = Fit((1, 12, 12), "resize").cut(Image.fromarray(steps))
    assert one.dtype == np.float32
    assert (one.min(), one.max()) == (0, 1)  # bicubic leaves it by 7 %


def test_without_a_way_only_the_networks_size_is_taken():
    image, fit = noise(4, 6), Fit((3, 4, 6))
    assert np.array_equal(tiles(fit, image)[0], image)
    assert np.array_equal(fit.join(image[None], (4, 6)), image)
    with pytest.raises(UserError) as caught:
        tiles(fit, noise(6, 4))
    assert str(caught.value) == "4x6 pixels, the network takes 6x4; give --fit resize, crop, tile or whole"


def test_a_way_that_there_is_not_is_refused():
    with pytest.raises(UserError) as caught:
        Fit((3, 4, 4), "scale")
    assert str(caught.value) == "--fit scale: must be one of resize, crop, tile, whole"
