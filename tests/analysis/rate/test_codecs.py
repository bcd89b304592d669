"""Codecs beside the codes: Pillow's own bytes, headers told from the rest, PSNR by scikit-image."""

import io
import os
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from skimage.metrics import peak_signal_noise_ratio

from caelab.analysis.rate import codecs
from caelab.data.datamodule import Split


def split(n=10, channels=3, side=32):
    """Smooth coloured waves, different ones."""
    y, x = np.mgrid[:side, :side] / side
    waves = [[np.sin(6 * ((k % 4) * x + (k % 3) * y + c)) for c in range(channels)] for k in range(1, n + 1)]
    images = torch.from_numpy((127.5 + 120 * np.array(waves)).round().astype(np.uint8))
    return Split(images, torch.zeros(n, dtype=torch.int64), torch.arange(n))


def pillow(image, codec, **options):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, codec, **options)
    return buffer.getvalue()


def pixels(test):
    images = test[:].permute(0, 2, 3, 1).numpy()
    return images if images.shape[3] == 3 else images[..., 0]


def opened(file, like):
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB" if like.ndim == 3 else "L"))


def options(codec, quality, channels):
    """Few bytes go further with colour at half the resolution."""
    colour = {"subsampling": "4:2:0" if quality < 50 else "4:4:4"}
    if codec == "AVIF" and channels == 1:
        colour = {"subsampling": "4:0:0"}
    return {"JPEG": colour, "WebP": {"method": 6}, "AVIF": colour | {"speed": 7, "max_threads": 1}}[codec]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("codec", codecs.NAMES)
def test_curves_are_of_pillows_files(codec, channels):
    test = split(channels=channels)
    done = []
    found = codecs.curve(test, codec, lambda: done.append(1))
    images = pixels(test)
    for one in found:
        files = [
            pillow(image, codec, quality=one.quality, **options(codec, one.quality, channels))
            for image in images
        ]
        own = files
        if codec == "JPEG":
            keys = {"quality": one.quality, "optimize": True} | options(codec, one.quality, channels)
            own = [pillow(image, codec, **keys) for image in images]
        assert one.file == np.mean([min(map(len, pair)) for pair in zip(files, own, strict=True)])
        psnrs = [peak_signal_noise_ratio(a, opened(b, a)) for a, b in zip(images, files, strict=True)]
        assert one.psnr == pytest.approx(np.mean(psnrs), abs=1e-3)
    assert [one.psnr for one in found] == sorted(one.psnr for one in found)
    assert [one.payload for one in found] == sorted(one.payload for one in found)
    assert len(done) == len(found)  # one batch a quality
    assert codecs.ticks(test) == sum(len(codecs.curve(test, name)) for name in codecs.NAMES) + 2


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("codec", "headers"), [("WebP", 25), ("PNG", 57 + 6)])
def test_without_loss_every_pixel_comes_back(codec, headers, channels):
    test = split(channels=channels)
    found = codecs.lossless(test, codec)
    how = {"WebP": {"lossless": True, "quality": 100}, "PNG": {"optimize": True}}[codec]
    files = [pillow(image, codec, **how) for image in pixels(test)]
    assert all((opened(file, image) == image).all() for file, image in zip(files, pixels(test), strict=True))
    assert found.file == np.mean([len(file) for file in files])
    # chunks of WebP have an even length
    assert found.file - found.payload == pytest.approx(headers, abs=1 if codec == "WebP" else 1e-9)


def test_the_payload_of_png_is_what_zlib_made_of_the_pixels():
    image = split().images[0].permute(1, 2, 0).numpy()
    file = pillow(image, "PNG", optimize=True)
    start = file.index(b"IDAT") + 4
    stream = file[start : start + int.from_bytes(file[start - 8 : start - 4], "big")]
    assert len(zlib.decompress(stream)) == 32 * (1 + 3 * 32)  # each line begins with its filter
    raw = zlib.decompressobj(-15)
    assert len(raw.decompress(stream[2:-4])) == 32 * (1 + 3 * 32)
    assert codecs.payload(file) == len(stream) - 6


def test_the_payload_of_avif_leaves_out_what_images_share():
    files = [pillow(image, "AVIF", quality=40) for image in pixels(split())]
    media = [file[file.index(b"mdat") + 4 :] for file in files]
    # a delimiter of 2 bytes and a sequence header come first, the same in all files
    shared = len(os.path.commonprefix(media))
    for file, data in zip(files, media, strict=True):
        assert data[0] >> 3 & 15 == 2
        assert data[2] >> 3 & 15 == 1
        header = 2 + 2 + data[3]
        assert header <= shared
        assert data[header] >> 3 & 15 == 6  # a frame
        assert codecs.payload(file) == len(data) - header


def test_a_jpeg_counts_its_own_tables():
    image = split().images[0].permute(1, 2, 0).numpy()
    plain = pillow(image, "JPEG", quality=95)
    own = pillow(image, "JPEG", quality=95, optimize=True)
    assert codecs.payload(own) < codecs.payload(plain)
    saved = len(plain) - len(own) - (codecs.payload(plain) - codecs.payload(own))
    assert codecs.tables(plain) - codecs.tables(own) == saved
    # four tables of the standard: lengths, class, counts and symbols of 12, 162, 12 and 162
    assert codecs.tables(plain) == 4 * (2 + 1 + 16) + 2 * (12 + 162)


def test_a_jpeg_of_noise_has_its_own_tables_too(monkeypatch):
    noise = 128 + 30 * torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    row, before = torch.zeros(1, dtype=torch.int64), ImageFile.MAXBLOCK
    test = Split(noise.clamp(0, 255).byte(), row, row)
    found = codecs.curve(test, "JPEG")[-2]
    assert before == ImageFile.MAXBLOCK  # which is seen in files of PNG
    monkeypatch.setattr(ImageFile, "MAXBLOCK", 1 << 20)
    own = pillow(pixels(test)[0], "JPEG", quality=88, subsampling="4:4:4", optimize=True)
    assert found.file == len(own) > before


def test_a_codec_that_pillow_lacks_has_no_curve(monkeypatch):
    monkeypatch.setattr(codecs.features, "check", lambda name: name != "avif")
    assert codecs.missing() == ["AVIF"]
    assert codecs.curve(split(), "AVIF") == []


def scan(file):
    """Bytes of a JPEG file from the end of its scan's header to the marker that ends the image."""
    assert file[:2] == b"\xff\xd8"
    place, marker = 2, 0
    while marker != 0xDA:  # start of scan: the last segment whose length is written
        assert file[place] == 0xFF
        marker = file[place + 1]
        place += 2 + int.from_bytes(file[place + 2 : place + 4], "big")
    coded = file[place : file.index(b"\xff\xd9", place)]
    assert place + len(coded) + 2 == len(file)
    return coded


@pytest.mark.parametrize("channels", [1, 3])
def test_the_payload_of_jpeg_is_its_scan(channels):
    images = split(channels=channels).images.permute(0, 2, 3, 1).numpy()
    for image in images if channels == 3 else images[..., 0]:
        file = pillow(image, "JPEG", quality=40)
        assert codecs.payload(file) == len(scan(file))


def test_jpeg_headers_are_what_images_share():
    files = [pillow(image, "JPEG", quality=40) for image in split().images.permute(0, 2, 3, 1).numpy()]
    heads = {file[: len(file) - codecs.payload(file) - 2] for file in files}
    assert len(heads) == 1
    assert all(file.endswith(b"\xff\xd9") for file in files)
    # the standard's abbreviated format holds the same scan
    short = pillow(split().images[0].permute(1, 2, 0).numpy(), "JPEG", quality=40, streamtype=2)
    assert len(short) < len(files[0])
    assert codecs.payload(short) == codecs.payload(files[0])


def test_webp_headers_are_thirty_bytes():
    for image in split().images.permute(0, 2, 3, 1).numpy():
        file = pillow(image, "WebP", quality=50)
        assert file[8:16] == b"WEBPVP8 "
        assert file[23:26] == b"\x9d\x01\x2a"  # a key frame starts, and its size follows in 4 bytes
        assert len(file) - codecs.payload(file) in (30, 31)  # 31: chunks have an even length


@pytest.mark.parametrize("shape", [(1, 2, 32, 32), (1, 1, 1, 16_384)])
def test_images_that_no_codec_holds_have_no_curve(shape):
    row = torch.zeros(1, dtype=torch.int64)
    test = Split(torch.zeros(shape, dtype=torch.uint8), row, row)
    assert [codecs.curve(test, name) for name in codecs.NAMES] == [[], [], []]
    assert [codecs.lossless(test, name) for name in codecs.LOSSLESS] == [None, None]
    assert codecs.ticks(test) == 0
