"""Decodes many small images in parallel.

The processes run this module as a script. Those of `multiprocessing` would do worse: a forked one can inherit
the locks of torch's threads, and a spawned one imports the caller's main module, with torch and Lightning.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import numpy.typing as npt
from PIL import Image

from caelab.errors import UserError
from caelab.limits import share
from caelab.terminal import item_progress, one_line

CHUNK = 2_000
Item = tuple[str, bytes | Path]  # its name in messages, and the file or its contents
Images = npt.NDArray[np.uint8]
Worker = subprocess.Popen[bytes]


def decode(items: Sequence[Item], size: int) -> Images:
    """Decode images of size x size pixels, greyscale ones as colour: (N, 3, size, size).

    Raises:
        UserError: an image that cannot be decoded or has another size.
    """
    images = np.empty((len(items), 3, size, size), np.uint8)
    for row, (name, contents) in zip(images, items, strict=True):
        try:
            with Image.open(io.BytesIO(contents) if isinstance(contents, bytes) else contents) as image:
                if image.size != (size, size):  # before so many are decoded
                    shape = f"{image.width}x{image.height}"
                    raise UserError(f"{name} has {shape} pixels instead of {size}x{size}")
                row[:] = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        except UserError:
            raise
        # Pillow's readers raise almost anything on a damaged file
        except Exception as error:
            raise UserError(f"{name} cannot be decoded: {one_line(error)}") from error
    return images


def decode_all(items: Sequence[Item], size: int, what: str) -> Images:
    """The same for any number of images, on all cores, with a progress bar that is called `what`.

    Raises:
        UserError: as `decode`, or a process died.
    """
    images = np.empty((len(items), 3, size, size), np.uint8)
    chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    workers = min(len(chunks), share()[0])
    with item_progress() as progress, _workers(workers) as idle, ThreadPoolExecutor(workers) as pool:
        bar = progress.add_task(what, total=len(items))
        start = 0
        for part in pool.map(lambda chunk: _ask(idle, chunk, size), chunks):
            images[start : start + len(part)] = part
            start += len(part)
            progress.update(bar, completed=start)
    return images


@contextmanager
def _workers(number: int) -> Iterator[SimpleQueue[Worker]]:
    """Processes that decode, in a queue from which a thread takes an idle one."""
    # so that they find this package however the caller found it
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", __name__]
    started: list[Worker] = []
    idle: SimpleQueue[Worker] = SimpleQueue()
    try:
        for _ in range(number):
            worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
            started.append(worker)
            idle.put(worker)
        yield idle
    finally:
        for worker in started:
            worker.kill()
            worker.communicate()


def _ask(idle: SimpleQueue[Worker], items: Sequence[Item], size: int) -> Images:
    worker = idle.get()
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        pickle.dump((items, size), worker.stdin)
        worker.stdin.flush()
        answer: Images | UserError = pickle.load(worker.stdout)
    except (EOFError, OSError, pickle.UnpicklingError) as error:
        raise UserError("a process that decodes images died; perhaps memory ran out") from error
    finally:
        idle.put(worker)
    if isinstance(answer, UserError):
        raise answer
    return answer


def _answer() -> None:
    """Decode what comes in, until nothing does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the caller, and the caller ends this
    while True:
        try:
            items, size = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer: Images | UserError = decode(items, size)
        except UserError as error:
            answer = error
        pickle.dump(answer, sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _answer()
