"""Pictures as plain pixels: modes, depths, transparency, and what is said of them."""

import numpy as np
import pytest
from PIL import Image

from caelab.data.pictures import remarks, upright


def gradient(dtype, most):
    return np.linspace(0, most, 64 * 64).reshape(64, 64).astype(dtype)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_keep_all_of_them(tmp_path, ending):
    values = gradient(np.uint16, 65_535)
    Image.fromarray(values).save(tmp_path / f"deep.{ending}")
    with Image.open(tmp_path / f"deep.{ending}") as image:
        picture = upright(image)
    assert picture.mode == "F"
    assert np.array_equal(np.round(np.asarray(picture) * 65_535), values)
    assert np.asarray(picture).max() == 1


def test_floats_stay_as_they_are():
    values = gradient(np.float32, 1)
    assert np.array_equal(np.asarray(upright(Image.fromarray(values))), values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[0, 70_000]], np.int32), "its values go from 0 to 70000|65,535"),
        (np.array([[-3, 5]], np.int32), "its values go from -3 to 5|65,535"),
        (np.array([[0, 255]], np.float32), "its values go from 0 to 255|1"),
        (np.array([[0, np.nan]], np.float32), "its values go from nan to nan|1"),
    ],
)
def test_values_of_an_unknown_scale_are_refused(values, message):
    with pytest.raises(ValueError, match="its values") as caught:
        upright(Image.fromarray(values))
    least, most = message.split("|")
    assert str(caught.value) == f"{least}; they must be within 0 and {most}"


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_put_on_white(mode):
    alpha = Image.new("L", (4, 1))
    alpha.putdata([0, 51, 204, 255])
    image = Image.new("RGB", (4, 1), (0, 0, 0)).convert("P" if mode == "PA" else mode[:-1])
    image.putalpha(alpha)
    assert image.mode == mode
    picture = upright(image)
    assert picture.mode == "RGB"
    assert np.asarray(picture)[0, :, 1] == pytest.approx([255, 204, 51, 0], abs=1)


@pytest.mark.parametrize(
    ("mode", "becomes"), [("1", "L"), ("L", "L"), ("P", "RGB"), ("CMYK", "RGB"), ("YCbCr", "RGB")]
)
def test_other_modes_become_grey_or_colour(mode, becomes):
    image = Image.new("RGB", (3, 2), (255, 255, 255)).convert(mode)
    picture = upright(image)
    assert picture.mode == becomes
    assert np.asarray(picture).min() == 255


@pytest.mark.parametrize(("tag", "corner"), [(1, (0, 0)), (3, (2, 4)), (6, (0, 2)), (8, (4, 0))])
def test_it_is_turned_as_its_exif_says(tmp_path, tag, corner):
    image = Image.new("L", (5, 3))
    image.putpixel((0, 0), 255)
    exif = Image.Exif()
    exif[0x0112] = tag
    image.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as opened:
        pixels = np.asarray(upright(opened))
    assert pixels.shape == ((3, 5) if tag < 5 else (5, 3))
    assert [int(i) for i in np.argwhere(pixels == 255)[0]] == list(corner)


def test_what_is_lost_is_said(tmp_path):
    frames = [Image.new("L", (4, 4), grey) for grey in (10, 200)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "moving.gif") as image:
        assert remarks(image) == ["several frames: the first is taken"]
        assert set(np.asarray(upright(image)).ravel()) == {10}
    assert remarks(Image.new("RGBA", (1, 1))) == ["transparency: put on white"]
    assert remarks(Image.new("CMYK", (1, 1))) == ["CMYK: turned to RGB without its colour profile"]
    assert remarks(Image.new("RGB", (1, 1))) == remarks(Image.fromarray(np.zeros((1, 1), np.uint16))) == []
