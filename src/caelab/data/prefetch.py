"""Batches that are read before they are asked for, of images that memory cannot hold."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from caelab.errors import UserError
from caelab.limits import memory

Key = TypeVar("Key")
Value = TypeVar("Value")


def fits(nbytes: int, share: float = 0.5) -> bool:
    """Whether so many bytes take no more than that share of the memory that this process may use."""
    return nbytes <= share * memory()


def require_fit(what: str, nbytes: int) -> None:
    """Make sure of memory for what cannot go in batches.

    Args:
        what: takes it, as the subject of a message.
        nbytes: that it takes, about.

    Raises:
        UserError: it does not fit, see ``fits``.
    """
    if not fits(nbytes):
        much = f"{nbytes / 1e9:,.1f} GB, more than half of the {memory() / 1e9:,.1f} GB of memory here"
        raise UserError(f"{what} takes {much}")


def ahead(read: Callable[[Key], Value], keys: Iterable[Key], depth: int = 2) -> Iterator[Value]:
    """As ``map``, in one thread that reads up to ``depth`` values before they are asked for.

    The thread ends with the last value, with the first exception, which is raised here, and when the
    iterator is closed.
    """
    left, pool = iter(keys), ThreadPoolExecutor(1, "caelab-ahead")
    try:
        waiting: deque[Future[Value]] = deque(pool.submit(read, key) for key in islice(left, depth))
        while waiting:
            value = waiting.popleft().result()
            waiting.extend(pool.submit(read, key) for key in islice(left, 1))
            yield value
    finally:
        pool.shutdown(cancel_futures=True)
