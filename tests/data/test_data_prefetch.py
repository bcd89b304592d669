"""Batches that a thread reads: the same ones, its errors arrive, and it ends."""

import threading

import pytest
import torch

from caelab.data import datamodule, prefetch
from caelab.data.datamodule import Batches, Split, permutation
from caelab.data.prefetch import ahead, fits


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("caelab-ahead")]


def test_values_come_in_order_and_the_thread_ends():
    assert list(ahead(lambda key: key * key, range(7))) == [0, 1, 4, 9, 16, 25, 36]
    assert list(ahead(str, [])) == []
    assert readers() == []


def test_it_reads_two_before_they_are_asked_for():
    asked, third = [], threading.Event()

    def read(key):
        asked.append(key)
        if key == 2:
            third.set()
        return key

    values = ahead(read, range(9))
    assert next(values) == 0
    assert third.wait(5)
    assert asked == [0, 1, 2]
    values.close()
    assert readers() == []


def test_an_error_in_the_thread_arrives():
    def read(key):
        if key == 3:
            raise OSError("the disk is gone")
        return key

    values = ahead(read, range(9))
    assert [next(values) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(values)
    assert readers() == []


def test_batches_are_the_same_with_and_without(monkeypatch):
    images = torch.arange(23, dtype=torch.uint8).view(23, 1, 1, 1).expand(23, 2, 3, 3).contiguous()
    split = Split(images, torch.zeros(23, dtype=torch.int64), torch.arange(22))
    batches = Batches(split, 4, lambda: permutation(22, 0, 1))
    whole, names = list(batches), []
    monkeypatch.setattr(datamodule, "fits", lambda nbytes: names.append(nbytes))
    read = list(batches)
    assert names == [images.nbytes]
    assert all(torch.equal(a, b) for a, b in zip(whole, read, strict=True))
    next(iter(batches))  # and no more of it
    assert readers() == []


def test_half_of_the_memory_is_taken_at_most(monkeypatch):
    monkeypatch.setattr(prefetch, "memory", lambda: 1000)
    assert fits(500)
    assert not fits(501)
    assert fits(1000, share=1)
    assert not fits(1001, share=1)
