"""Pictures as plain pixels: modes, depths, transparency, and what is said of them."""

import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageOps

from caelab.data import pictures
from caelab.data.pictures import read, remarks, upright


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


def save_turned(path, orientation, resolution):
    """A JPEG, 16 pixels wide and 8 high, white at its left half, with EXIF of that orientation."""
    image = Image.new("L", (16, 8), "black")
    image.paste("white", (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = orientation, resolution
    image.save(path, exif=exif)


def test_pixels_and_orientation_outlive_damaged_exif(tmp_path):
    save_turned(tmp_path / "whole.jpg", 6, 72.0)
    whole = (tmp_path / "whole.jpg").read_bytes()
    damaged = whole.replace(struct.pack(">II", 72, 1), struct.pack(">iI", -1, 0))
    damaged = damaged.replace(struct.pack("<II", 72, 1), struct.pack("<iI", -1, 0))
    assert damaged != whole
    (tmp_path / "turned.jpg").write_bytes(damaged)
    with Image.open(tmp_path / "turned.jpg") as image:
        pixels = np.asarray(upright(image))
    assert pixels.shape == (16, 8)
    assert pixels[:6].min() > 200  # its left half stands at the top
    assert pixels[10:].max() < 50


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_is_turned_as_pillow_turns_it(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
        assert np.array_equal(np.asarray(upright(image)), expected)


def png_that_claims(width, height):
    """A PNG of few bytes that says it has so many pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    body = b"IDAT" + zlib.compress(b"")
    chunks = (
        struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one)) for one in (header, body)
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_picture_that_claims_too_much_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    (tmp_path / "large.png").write_bytes(png_that_claims(10_000, 9_000))
    monkeypatch.setattr(pictures, "to_uint8", None)
    with pytest.raises(ValueError, match=r"it claims 10,000x9,000 pixels; at most 89,478,485 are decoded"):
        read(tmp_path / "large.png", 3, 8)


def test_a_large_jpeg_is_decoded_at_a_fraction(tmp_path, monkeypatch):
    Image.new("RGB", (640, 480)).save(tmp_path / "photo.jpg")
    monkeypatch.setattr(pictures, "MOST_PIXELS", 80 * 60)
    assert read(tmp_path / "photo.jpg", 3, 8).shape == (3, 8, 8)


def test_large_pictures_are_decoded_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "_room", pictures._Room(100))
    running, most = [], []

    def decode(image, channels, size):
        running.append(image.size)
        most.append(len(running))
        time.sleep(0.02)
        running.pop()

    monkeypatch.setattr(pictures, "to_uint8", decode)
    Image.new("L", (10, 6)).save(tmp_path / "a.png")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: read(tmp_path / "a.png", 1, 8), range(4)))
    assert most == [1, 1, 1, 1]
