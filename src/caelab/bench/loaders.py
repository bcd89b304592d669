"""Who loads: each gives the same pictures, float32 in [0, 1], in another order each epoch."""

import ctypes
import mmap
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import ToTensor

from caelab.bench import photographs
from caelab.bench.task import Task
from caelab.data import datamodule
from caelab.data.cache import open_or_build
from caelab.data.datamodule import Batches, Place, Split, permutation
from caelab.data.scale import unit

Epoch = Callable[[], Iterable[Tensor]]
"""Begins an epoch: gives its batches (n, C, H, W)."""

_LEAST = 2.0  # seconds that are timed, in whole epochs; one more before them is not
_TRAINED = 1024  # pictures that a network learns from
_PART = 50_000  # pictures of an epoch that are loaded of a million
_BATCH = 256  # of these
_TICK = os.sysconf("SC_CLK_TCK")


def load(start: Callable[[Task], Epoch], overrides: list[str]) -> dict[str, Any]:
    """Time a loader alone, then with a network that learns from what it gives, where that has weights."""
    before = _memory()
    task = Task(overrides)
    epoch = start(task)
    figures = _timed(epoch, len(task.train))
    figures["memory"] -= before
    if any(True for _ in task.net.parameters()):
        figures["trained_per_second"] = _trained(epoch, task)
    return figures


def _timed(epoch: Epoch, count: int) -> dict[str, float]:
    deque(epoch(), 0)
    memory, images = _memory(), 0
    began, busy = time.perf_counter(), _cpu_seconds()
    while not images or time.perf_counter() - began < _LEAST:
        deque(epoch(), 0)
        images += count
    seconds, busy = time.perf_counter() - began, _cpu_seconds() - busy
    return {
        "images_per_second": images / seconds,
        "images_per_cpu_second": images / busy,
        "memory": max(memory, _memory()),
    }


def _trained(epoch: Epoch, task: Task) -> float:
    """Images a second of the first steps of an epoch."""
    step, began = task.step(), time.perf_counter()
    losses = [step(x) for x in islice(epoch(), max(1, _TRAINED // task.batch_size))]
    torch.stack(losses).tolist()  # waits for a GPU
    return len(losses) * task.batch_size / (time.perf_counter() - began)


def _told(name: str) -> Iterator[str]:
    """What Linux tells of this process and its workers; nothing elsewhere."""
    for number in (os.getpid(), *_workers()):
        with suppress(OSError):
            yield Path(f"/proc/{number}/{name}").read_text()


def _workers() -> list[int]:
    return [one.pid for one in multiprocessing.active_children() if one.pid]


def _cpu_seconds() -> float:
    """Of this process and its workers."""
    _, *workers = (text.rpartition(")")[2].split() for text in _told("stat"))
    return time.process_time() + sum(int(one[11]) + int(one[12]) for one in workers) / _TICK


def _memory() -> int:
    """Bytes in memory, without pages of files, which the system may drop."""
    lines = [line.split() for text in _told("smaps_rollup") for line in text.splitlines()]
    return sum(1024 * int(line[1]) for line in lines if line[0] in ("Pss_Anon:", "Pss_Shmem:"))


def _memory_loop(task: Task) -> Epoch:
    images = task.train[:].to(task.device)

    def epoch() -> Iterator[Tensor]:
        order = torch.randperm(len(images), device=images.device)
        return (unit(images.index_select(0, rows)) for rows in torch.split(order, task.batch_size))

    return epoch


def _lab(split: Split, batch_size: int, device: torch.device) -> Epoch:
    """The lab's own batches, as its training gets them."""
    epochs = count()
    batches = Batches(split, batch_size, lambda: permutation(len(split), 0, next(epochs)), Place(device))
    return lambda: (unit(x) for x in batches)


def _held(task: Task) -> Epoch:
    return _lab(task.train, task.batch_size, task.device)


def _mapped(task: Task, cold: bool) -> Epoch:
    (file,) = task.data.folder.glob("*/cache/images.npy")
    return _larger(task.train, task.batch_size, task.device, file, cold)


def _larger(split: Split, batch_size: int, device: torch.device, file: Path, cold: bool) -> Epoch:
    """The lab's own batches of what is said not to fit in memory."""
    datamodule.fits = lambda *_: False  # type: ignore[attr-defined]
    epoch = _lab(split, batch_size, device)

    def start() -> Iterable[Tensor]:
        if cold:
            forget(split.images, file)
        return epoch()

    return start


def forget(images: Tensor, file: Path) -> None:
    """Drop the pages of a memory map, of this process and of the system, so that they are read from disk."""
    first = images.data_ptr() // mmap.PAGESIZE * mmap.PAGESIZE
    size = images.data_ptr() + images.nbytes - first
    ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(size), mmap.MADV_DONTNEED)
    number = os.open(file, os.O_RDONLY)
    os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(number)


def _image_folder(task: Task, workers: int) -> Epoch:
    loader: DataLoader[Any] = DataLoader(
        ImageFolder(task.data.path / "train", ToTensor()),
        task.batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=task.device.type == "cuda",
    )
    return lambda: (x.to(task.device) for x, _labels in loader)


def _web_dataset(task: Task, workers: int) -> Epoch:
    from webdataset import WebDataset, WebLoader

    shards = sorted(map(str, task.data.path.with_name("shards").glob("*.tar")))
    pictures = WebDataset(shards, shardshuffle=len(shards)).shuffle(1000).decode("torchrgb").to_tuple("jpg")
    loader = WebLoader(
        pictures.batched(task.batch_size),
        batch_size=None,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    return lambda: (x.to(task.device) for (x,) in loader)


_STARTS: dict[str, Callable[[Task], Epoch]] = {
    "memory": _memory_loop,
    "held": _held,
    "warm": partial(_mapped, cold=False),
    "cold": partial(_mapped, cold=True),
    "imagefolder-0": partial(_image_folder, workers=0),
    "imagefolder-2": partial(_image_folder, workers=2),
    "webdataset-0": partial(_web_dataset, workers=0),
    "webdataset-2": partial(_web_dataset, workers=2),
}


def _built(words: list[str]) -> dict[str, Any]:
    """Build the map of so many pictures of 64 pixels, as a folder's is built, in the folder of that name."""
    number, folder = int(words[0]), Path(words[1])
    before, most = _memory(), 0
    plain = photographs.rows(number, 64)

    def make(part: slice) -> Any:
        nonlocal most
        made = plain.make(part)
        most = max(most, _memory())
        return made

    began = time.perf_counter()
    open_or_build(folder, "photographs", lambda: {"images": replace(plain, make=make)})
    return {"seconds": time.perf_counter() - began, "memory": most - before}


def _of_many(words: list[str], cold: bool) -> dict[str, Any]:
    """Time loading some of these pictures."""
    number, folder = int(words[0]), Path(words[1])
    before, began = _memory(), time.perf_counter()
    opened = open_or_build(folder, "photographs", lambda: {"images": photographs.rows(number, 64)})
    seconds = time.perf_counter() - began
    some = permutation(number, 1)[:_PART]
    split = Split(opened.arrays["images"], torch.zeros(number, dtype=torch.int64), some)
    file = folder / "cache" / "images.npy"
    epoch = _larger(split, _BATCH, torch.device("cpu"), file, cold)
    figures = _timed(epoch, len(split))
    return figures | {"memory": figures["memory"] - before, "opened": seconds}


CONTESTANTS: dict[str, Callable[[list[str]], dict[str, Any]]] = {
    **{name: partial(load, start) for name, start in _STARTS.items()},
    "built": _built,
    "many-warm": partial(_of_many, cold=False),
    "many-cold": partial(_of_many, cold=True),
}
"""Name -> what is timed."""
