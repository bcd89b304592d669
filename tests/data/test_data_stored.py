"""Rows that are read by their places are those of the map, and a file that ends too early is told."""

import gc
import os

import numpy as np
import pytest
import torch

from caelab.data import cache
from caelab.data.cache import open_or_build
from caelab.data.datamodule import Batches, Split
from caelab.data.stored import Stored


@pytest.fixture
def images(tmp_path):
    path = tmp_path / "images.npy"
    values = np.random.default_rng(0).integers(0, 60_000, (37, 2, 5, 3), np.uint16)
    np.save(path, values)
    return path, values


@pytest.mark.parametrize("rows", [[], [36], [0, 5, 5, 36, 1], list(range(37))[::-1]])
def test_rows_in_any_order(images, rows):
    path, values = images
    found = Stored(path).take(np.array(rows, np.int64))
    assert found.dtype == np.uint16
    assert found.shape == (len(rows), 2, 5, 3)
    assert np.array_equal(found, values[rows])


def test_a_file_that_ends_too_early(images):
    path, values = images
    stored = Stored(path)
    os.truncate(path, path.stat().st_size - 1)
    assert np.array_equal(stored.take(np.array([35])), values[[35]])
    with pytest.raises(OSError, match="the file ends too early"):
        stored.take(np.array([0, 36]))


def test_it_closes_its_file(images):
    stored = Stored(images[0])
    file = stored._file
    os.fstat(file)
    del stored
    gc.collect()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(file)


def test_what_memory_cannot_hold_comes_in_the_same_batches(tmp_path, monkeypatch):
    values = np.random.default_rng(0).integers(0, 255, (23, 3, 4, 4), np.uint8)
    opened = open_or_build(tmp_path, "x", lambda: {"images": values})
    assert opened.stored("images") is None
    asked = []
    monkeypatch.setattr(cache, "fits", lambda *given: asked.append(given))
    stored = opened.stored("images")
    assert asked == [(values.nbytes, 1)]
    split = Split(opened.arrays["images"], torch.zeros(23), torch.arange(1, 22))
    read = Split(split.images, split.labels, split.index, stored=stored)
    for one, other in zip(Batches(split, 8), Batches(read, 8), strict=True):
        assert torch.equal(one, other)
