"""What a file of arrays claims is compared with what it can hold, before anything of that size is made."""

import tracemalloc
import zipfile

import numpy as np
import pytest

from caelab.runs import arrays


def header(shape, descr="|u1"):
    """The first bytes of a ``.npy`` of that shape."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def left(path, content, way=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", way) as archive:
        archive.writestr("images.npy", content)
    return path


def test_arrays_come_back_as_they_were_saved(tmp_path):
    rows, numbers = np.arange(12, dtype=np.uint8).reshape(3, 4), np.array([1.5, -2])
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "file.npz", rows=rows, numbers=numbers)
        found = arrays.load(tmp_path / "file.npz", ["numbers", "rows"])
        assert np.array_equal(found[0], numbers)
        assert np.array_equal(found[1], rows)


@pytest.mark.parametrize(
    ("content", "way", "message"),
    [
        (header((20_000, 20_000)) + bytes(3_000), zipfile.ZIP_STORED, r"an array \(20000, 20000\) of uint8"),
        (header((4 << 20,)) + bytes(4 << 20), zipfile.ZIP_BZIP2, "claims 4,194,432 bytes of 1"),
        (header((3 << 20,)) + bytes(3 << 20), zipfile.ZIP_DEFLATED, "3,145,856 bytes; at most 2,097,152"),
        (header((2,), "|O") + bytes(16), zipfile.ZIP_STORED, "allow_pickle"),
        (header((-5,)), zipfile.ZIP_STORED, "claims an array"),
    ],
)
def test_what_a_file_claims_is_not_allocated(tmp_path, monkeypatch, content, way, message):
    monkeypatch.setattr(arrays, "LARGEST", 2 << 20)
    path = left(tmp_path / "file.npz", content, way)
    tracemalloc.start()
    with pytest.raises(ValueError, match=message):
        arrays.load(path, ["images"])
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("content", [b"", b"no array", header((3,))[:20]])
def test_damage_is_one_of_its_kinds(tmp_path, content):
    with pytest.raises(arrays.DAMAGE):
        arrays.load(left(tmp_path / "file.npz", content), ["images"])
    (tmp_path / "file.npz").write_bytes(content)
    with pytest.raises(arrays.DAMAGE):
        arrays.load(tmp_path / "file.npz", ["images"])
