"""JPEG and WebP beside the codes: Pillow's own bytes, headers told from the rest, PSNR by scikit-image."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from caelab.analysis import codecs
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


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("codec", codecs.NAMES)
def test_curves_are_of_pillows_files(codec, channels):
    test = split(channels=channels)
    done = []
    found = codecs.curve(test, codec, lambda: done.append(1))
    images = test[:].permute(0, 2, 3, 1).numpy()
    images = images if channels == 3 else images[..., 0]
    for one in found:
        # few bytes go further with colour at half the resolution
        options = {"subsampling": "4:2:0" if one.quality < 50 else "4:4:4"} if codec == "JPEG" else {}
        files = [pillow(image, codec, quality=one.quality, **options) for image in images]
        assert one.file == np.mean([len(file) for file in files])
        back = [Image.open(io.BytesIO(file)).convert("RGB" if channels == 3 else "L") for file in files]
        psnrs = [peak_signal_noise_ratio(a, np.asarray(b)) for a, b in zip(images, back, strict=True)]
        assert one.psnr == pytest.approx(np.mean(psnrs), abs=1e-3)
    assert [one.psnr for one in found] == sorted(one.psnr for one in found)
    assert [one.payload for one in found] == sorted(one.payload for one in found)
    assert len(done) == len(found)  # one batch a quality
    assert codecs.ticks(test) == sum(len(codecs.curve(test, name)) for name in codecs.NAMES)


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


def test_images_of_two_channels_have_no_curve():
    test = split(channels=2)
    assert [codecs.curve(test, name) for name in codecs.NAMES] == [[], []]
    assert codecs.ticks(test) == 0
