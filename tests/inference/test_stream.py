"""Pictures as a stream of batches: what is in them, what is skipped, and how pictures come out again."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from caelab.inference.fitting import Fit
from caelab.inference.inputs import Source
from caelab.inference.stream import Stream, opened, pictures, save

SIZES = [(4, 6), (9, 13), (1, 1), (4, 5), (17, 2), (4, 6)]
GENERATOR = np.random.default_rng(0)


@pytest.fixture
def files(tmp_path):
    """Colour pictures of several sizes, as sources; and their pixels."""
    arrays = [GENERATOR.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]
    sources = [Source(tmp_path / f"{i}.png", f"{i}.png") for i in range(len(SIZES))]
    for source, array in zip(sources, arrays, strict=True):
        Image.fromarray(array).save(source.file)
    return sources, arrays


@pytest.mark.parametrize("batch", [1, 3, 4, 100])
def test_whole_batches_go_in_and_whole_pictures_come_out(files, batch):
    sources, arrays = files
    fit = Fit((3, 4, 6), "tile")
    stream = Stream(sources, fit, "test")
    made = list(stream.batches(batch))
    count = sum(np.ceil(height / 4) * np.ceil(width / 6) for height, width in SIZES)
    assert [len(x) for x in made[:-1]] == [batch] * (len(made) - 1)
    assert sum(len(x) for x in made) == count
    assert made[0].dtype == torch.float32
    assert [entry.size for entry in stream.entries] == SIZES
    found = list(pictures(iter(made), fit, stream.entries))
    assert not stream.entries
    assert [entry.source for entry, _ in found] == sources
    assert all(np.array_equal(a, b) for (_, a), b in zip(found, arrays, strict=True))


def test_pictures_come_out_while_others_are_read(files):
    sources, _ = files
    fit = Fit((3, 4, 6), "resize")
    stream = Stream(sources, fit, "test")
    given = []

    def network():
        for x in stream.batches(2):
            given.append(len(x))
            yield x

    first = next(pictures(network(), fit, stream.entries))
    assert first[0].source == sources[0]
    assert given == [2]


def test_what_cannot_be_read_is_skipped_and_told(files, tmp_path, capsys):
    sources, arrays = files
    cut = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(cut[: len(cut) // 2])
    (tmp_path / "4.png").write_bytes(b"")
    sources.append(Source(tmp_path / "gone.png", "gone.png"))
    Image.fromarray(np.zeros((4, 6), np.float32) + 7).save(tmp_path / "deep.tif")
    sources.append(Source(tmp_path / "deep.tif", "deep.png"))
    Image.new("LA", (6, 4)).save(tmp_path / "clear.png")
    sources += [Source(tmp_path / "clear.png", "clear.png")] * 3
    fit = Fit((3, 4, 6), "tile")
    stream = Stream(sources, fit, "test")
    found = [pixels for _, pixels in pictures(stream.batches(2), fit, stream.entries)]
    kept = [arrays[i] for i in (0, 2, 3, 5)] + [np.full((4, 6, 3), 255)] * 3
    assert all(np.array_equal(a, b) for a, b in zip(found, kept, strict=True))
    assert [file.name for file in stream.skipped] == ["1.png", "4.png", "gone.png", "deep.tif"]
    capsys.readouterr()
    stream.tell()
    lines = capsys.readouterr().err.splitlines()
    assert lines.pop(0) == f"more than 8 bits: the result has 8 ({tmp_path}/deep.tif)"
    assert lines[0] == f"transparency: put on white ({tmp_path}/clear.png and 2 more)"
    assert lines[1].startswith(f"caelab: {tmp_path}/1.png: skipped: ")
    assert "its values go from 7 to 7" in lines[4]
    assert lines[5:] == ["caelab: skipped 4 of 11 files"]


def test_another_size_is_skipped_without_a_way(files, tmp_path):
    sources, arrays = files
    stream = Stream(sources, Fit((3, 4, 6)), "test")
    (x,) = stream.batches(10)
    assert np.array_equal((255 * x).round().byte().movedim(1, -1).numpy(), np.stack([arrays[0], arrays[5]]))
    assert len(stream.skipped) == 4
    assert stream.skipped[tmp_path / "2.png"].startswith("1x1 pixels, the network takes 6x4; give --fit")


def test_grey_networks_get_grey_and_colour_networks_get_colour(tmp_path):
    Image.new("RGB", (2, 2), (200, 100, 50)).save(tmp_path / "colour.png")
    Image.fromarray(np.full((2, 2), 13_107, np.uint16)).save(tmp_path / "deep.png")
    assert set(np.asarray(opened(tmp_path / "colour.png", 1)).ravel()) == {124}  # 0.299, 0.587, 0.114
    assert opened(tmp_path / "deep.png", 3).mode == "F"
    sources = [Source(tmp_path / name, name) for name in ("colour.png", "deep.png")]
    (x,) = Stream(sources, Fit((3, 2, 2)), "test").batches(2)
    assert x[0, :, 0, 0].tolist() == pytest.approx([200 / 255, 100 / 255, 50 / 255])
    assert x[1].flatten().tolist() == pytest.approx([0.2] * 12)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_saved_is_read_again(tmp_path, channels):
    pixels = GENERATOR.integers(0, 256, (3, 5, channels), dtype=np.uint8)
    path = tmp_path / "new" / "folder" / Path("x.png")
    save(pixels, path)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image).reshape(3, 5, channels), pixels)


@pytest.mark.parametrize(
    ("side", "limit"), [(9_500, "at most 89,478,485 are decoded"), (20_000, "exceeds limit of")]
)
def test_a_picture_that_claims_too_many_pixels_is_not_decoded(tmp_path, monkeypatch, side, limit):
    """A PNG of a few bytes: its header, and no data at all."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    path = tmp_path / "bomb.png"
    length = struct.pack(">I", len(header))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + length + chunk + b"\0\0\0\0IDAT\x35\xaf\x06\x1e")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    stream = Stream([Source(path, "bomb.png")], Fit((3, 8, 8), "resize"), "reading")
    assert list(stream.batches(4)) == []
    assert limit in stream.skipped[path]
