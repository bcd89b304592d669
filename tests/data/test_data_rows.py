"""Arrays that are written in blocks, and gone on with."""

import numpy as np
import pytest

from caelab.data import rows
from caelab.data.cache import checksum
from caelab.data.rows import Rows, write

ARRAY = np.random.default_rng(0).integers(0, 256, (23, 3, 4), dtype=np.uint8)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(rows, "BLOCK", 5 * 12)


def parts(made, array=ARRAY, version="1", last=99):
    """Rows that note which ones are made, and fail after the last."""

    def make(part):
        if part.start > last:
            raise KeyboardInterrupt
        made.append((part.start, part.stop))
        return array[part]

    return Rows(array.shape, array.dtype, make, version, "test")


def begun(path, last=9, **options):
    with pytest.raises(KeyboardInterrupt):
        write(parts([], last=last, **options), path)


@pytest.mark.parametrize("array", [ARRAY, ARRAY.astype(np.uint16) * 257, ARRAY / np.float32(7)])
def test_it_is_what_numpy_saves(tmp_path, array):
    np.save(tmp_path / "known.npy", array)
    assert write(parts([], array), tmp_path / "x.npy") == checksum(array)
    assert (tmp_path / "x.npy").read_bytes() == (tmp_path / "known.npy").read_bytes()
    assert not (tmp_path / "x.journal").exists()


def test_it_goes_on_where_it_stopped(tmp_path):
    begun(tmp_path / "x.npy")
    made = []
    assert write(parts(made), tmp_path / "x.npy") == checksum(ARRAY)
    assert made == [(10, 15), (15, 20), (20, 23)]
    assert np.array_equal(np.load(tmp_path / "x.npy"), ARRAY)


@pytest.mark.parametrize("harm", ["truncate", "flip", "journal"])
def test_a_block_that_is_not_as_it_was_is_made_anew(tmp_path, harm):
    path = tmp_path / "x.npy"
    begun(path)
    content = bytearray(path.read_bytes())
    if harm == "journal":
        (tmp_path / "x.journal").write_bytes(b"\xff")
    else:
        content[-1] ^= 1
        path.write_bytes(content if harm == "flip" else content[:-1])
    made = []
    assert write(parts(made), path) == checksum(ARRAY)
    assert made[0] == ((0, 5) if harm == "journal" else (5, 10))
    assert np.array_equal(np.load(path), ARRAY)


def test_what_another_version_has_begun_is_made_anew(tmp_path, capsys):
    begun(tmp_path / "x.npy", version="0")
    made = []
    write(parts(made), tmp_path / "x.npy")
    assert made[0] == (0, 5)
    assert "begun by version 0, not 1; it is made again" in capsys.readouterr().err


def test_a_longer_file_is_cut(tmp_path):
    (tmp_path / "x.npy").write_bytes(bytes(1000))
    write(parts([]), tmp_path / "x.npy")
    assert np.array_equal(np.load(tmp_path / "x.npy"), ARRAY)
