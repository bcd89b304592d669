"""Pictures as plain pixels: modes, depths, transparency, and what is said of them."""

import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms, ImageOps

from caelab.data import pictures
from caelab.data.pictures import Form, UnfitError, read, remarks, to_pixels, upright


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


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value):
    with pytest.raises(ValueError, match=r"^it has values that are NaN or infinite$"):
        upright(Image.fromarray(np.array([[0, value]], np.float32)))


def halves(size=(64, 32)):
    """White, its right half red."""
    image = Image.new("RGB", size, "white")
    image.paste("red", (size[0] // 2, 0, *size))
    return image


def test_a_form_has_any_sides():
    wide = to_pixels(halves(), Form(3, 16, 32))
    assert wide.shape == (3, 16, 32)
    assert wide[:, 8, 1].tolist() == [255, 255, 255]
    assert wide[:, 8, 30].tolist() == [255, 0, 0]
    high = to_pixels(halves(), Form(3, 32, 8))  # of 32 x 64 the middle 8 columns
    assert high.shape == (3, 32, 8)
    assert high[1, 5, 0] > 250
    assert high[1, 5, 7] < 5


def test_padding_is_black_and_nothing_is_cut():
    padded = to_pixels(halves(), Form(3, 32, 32, "pad"))
    assert not padded[:, :8].any()
    assert not padded[:, 24:].any()
    assert padded[:, 16, 0].tolist() == [255, 255, 255]
    assert padded[:, 16, 31].tolist() == [255, 0, 0]


@pytest.mark.parametrize("size", [(1000, 10), (10, 1000), (64, 1), (63, 1)])
def test_what_is_thinner_than_a_pixel_is_padded_to_one(size):
    padded = to_pixels(Image.new("L", size, 255), Form(1, 32, 32, "pad"))[0]
    lit = padded if size[0] > size[1] else padded.T
    assert (lit == 255).sum(0).tolist() == [1] * 32
    assert (lit > 0).any(1).sum() == 1


def test_stretching_draws_all_of_it_out():
    drawn = to_pixels(halves(), Form(3, 32, 32, "stretch"))
    assert (drawn[0] > 250).all()
    assert (drawn[1, :, :14] > 250).all()
    assert (drawn[1, :, 18:] < 5).all()


def test_four_bands_are_taken_as_they_are(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)
    pixels[..., 3] = 255 - pixels[..., 3] // 2
    for mode, name in (("RGBA", "a.png"), ("CMYK", "a.tif")):
        Image.fromarray(pixels, mode).save(tmp_path / name)
        assert np.array_equal(read(tmp_path / name, Form(4, 6, 5)), pixels.transpose(2, 0, 1))
    halves().save(tmp_path / "three.png")
    with pytest.raises(
        UnfitError, match=r"^its bands are R, G, B; dataset\.channels=4 takes pictures of four bands$"
    ):
        read(tmp_path / "three.png", Form(4, 6, 5))


@pytest.mark.parametrize("bits", [8, 16])
def test_a_fourth_band_of_zeros_leaves_the_others_as_they_are(bits):
    pixels = np.full((8, 8, 4), 200, np.uint8)
    pixels[..., 3] = 0
    drawn = to_pixels(Image.fromarray(pixels, "RGBA"), Form(4, 3, 5, bits=bits))
    assert drawn[:, 1, 1].tolist() == [200 * 257 if bits == 16 else 200] * 3 + [0]


@pytest.mark.parametrize("channels", [1, 3])
def test_higher_bits_keep_the_values(tmp_path, channels):
    deep = np.arange(0, 65_536, 64, dtype=np.uint16).reshape(32, 32)
    floats = np.linspace(0, 1, 1024, dtype=np.float32).reshape(32, 32)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray(floats).save(tmp_path / "float.tif")
    kept = read(tmp_path / "deep.png", Form(channels, 32, 32, bits=16))
    assert kept.dtype == np.uint16
    assert kept.shape == (channels, 32, 32)
    assert (kept == deep).all()
    assert (read(tmp_path / "float.tif", Form(channels, 32, 32, bits=32)) == floats).all()
    Image.fromarray(floats > 0.5).save(tmp_path / "bits.png")
    assert (read(tmp_path / "bits.png", Form(channels, 32, 32, bits=16)) == 65_535 * (floats > 0.5)).all()


def test_values_between_pixels_stay_within_the_range():
    edge = Image.fromarray(np.repeat([0, 1], 16).astype(np.float32)[None].repeat(32, 0))
    enlarged = to_pixels(edge, Form(1, 64, 64, bits=32))  # bicubic interpolation goes beyond
    assert enlarged.min() == 0
    assert enlarged.max() == 1


def colours_of_16_bits():
    """A PNG of one pixel, whose red is 0x1234."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    pixels = zlib.compress(b"\0" + struct.pack(">3H", 0x1234, 0, 0))
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_colours_of_16_bits_are_not_taken_for_8(tmp_path):
    (tmp_path / "a.png").write_bytes(colours_of_16_bits())
    assert read(tmp_path / "a.png", Form(3, 1, 1)).ravel().tolist() == [0x12, 0, 0]
    with pytest.raises(
        UnfitError, match=r"^its colours have 16 bits, but Pillow reads only 8; use dataset\.bits=8$"
    ):
        read(tmp_path / "a.png", Form(3, 1, 1, bits=16))


def test_what_pillow_does_not_read_says_what_does(tmp_path):
    five = np.zeros((8, 8, 5), np.uint8)
    tifffile.imwrite(tmp_path / "bands.tif", five, photometric="minisblack", planarconfig="contig")
    with pytest.raises(
        ValueError, match=r"^not a picture that Pillow can read; dataset=array takes TIFF files of any"
    ):
        read(tmp_path / "bands.tif", Form(3, 8, 8))
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(ValueError, match=r"^not a picture that Pillow can read$"):
        read(tmp_path / "notes.txt", Form(3, 8, 8))


def test_another_colour_profile_is_said(tmp_path):
    lab, srgb = (ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes() for name in ("LAB", "sRGB"))
    for name, profile in (("lab", lab), ("srgb", srgb), ("broken", b"no profile")):
        halves().save(tmp_path / f"{name}.jpg", icc_profile=profile)
    said = {}
    for path in tmp_path.iterdir():
        with Image.open(path) as image:
            said[path.stem] = remarks(image)
    assert said["srgb"] == []
    assert said["lab"] == ["colour profile Lab identity built-in: its colours are taken as sRGB"]
    assert said["broken"] == ["colour profile that cannot be read: its colours are taken as sRGB"]


def test_what_is_lost_is_said(tmp_path):
    frames = [Image.new("L", (4, 4), grey) for grey in (10, 200)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "moving.gif") as image:
        assert remarks(image) == ["several frames: the first is taken"]
        assert set(np.asarray(upright(image)).ravel()) == {10}
    assert remarks(Image.new("RGBA", (1, 1))) == ["transparency: put on white"]
    assert remarks(Image.new("CMYK", (1, 1))) == ["CMYK: turned to RGB without its colour profile"]
    assert remarks(Image.new("RGB", (1, 1))) == remarks(Image.fromarray(np.zeros((1, 1), np.uint16))) == []


@pytest.mark.parametrize(("ending", "within"), [("gif", b"\x21\xf9\x04"), ("tif", bytes([200] * 9))])
def test_a_damaged_frame_behind_the_first_is_one_more_frame(tmp_path, ending, within):
    frames = [Image.fromarray(np.full((40, 40), grey, np.uint8)) for grey in (10, 200, 90)]
    path = tmp_path / f"x.{ending}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex(within) + 5])
    with Image.open(path) as image, pytest.raises(Exception, match="."):  # noqa: B017
        _ = image.n_frames
    said = []
    pixels = read(path, Form(1, 40, 40), lambda image: said.extend(remarks(image)))
    assert said == ["several frames: the first is taken"]
    assert np.array_equal(pixels[0], np.full((40, 40), 10))


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
    monkeypatch.setattr(pictures, "to_pixels", None)
    with pytest.raises(ValueError, match=r"it claims 10,000x9,000 pixels; at most 89,478,485 are decoded"):
        read(tmp_path / "large.png", Form(3, 8, 8))


def test_a_large_jpeg_is_decoded_at_a_fraction(tmp_path, monkeypatch):
    Image.new("RGB", (640, 480)).save(tmp_path / "photo.jpg")
    monkeypatch.setattr(pictures, "MOST_PIXELS", 80 * 60)
    assert read(tmp_path / "photo.jpg", Form(3, 8, 8)).shape == (3, 8, 8)


def test_large_pictures_are_decoded_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "_room", pictures._Room(100))
    running, most = [], []

    def decode(image, form):
        running.append(image.size)
        most.append(len(running))
        time.sleep(0.02)
        running.pop()

    monkeypatch.setattr(pictures, "to_pixels", decode)
    Image.new("L", (10, 6)).save(tmp_path / "a.png")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: read(tmp_path / "a.png", Form(1, 8, 8)), range(4)))
    assert most == [1, 1, 1, 1]


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_is_never_decoded_smaller_than_it_is_wanted(tmp_path, orientation):
    y, x = np.mgrid[0:320, 0:1280]
    waves = [np.sin(x / 3), np.sin(y / 3), np.sin((x + y) / 5)]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    shown = Image.fromarray((127 + 120 * np.stack(waves, -1)).astype(np.uint8))
    shown.save(tmp_path / "turned.jpg", quality=98, exif=exif)
    with Image.open(tmp_path / "turned.jpg") as image:
        whole = ImageOps.fit(upright(image), (128, 16), Image.Resampling.BICUBIC)
    found = read(tmp_path / "turned.jpg", Form(3, 16, 128)).astype(float)
    error = np.square(found - np.asarray(whole).transpose(2, 0, 1)).mean()
    assert error < 255**2 / 10**3.6  # 36 dB; 32.4 where the sides were mistaken for each other
