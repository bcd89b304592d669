"""Which bands of an image are shown: a picture has one or three, an image as many as its data."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Images = TypeVar("Images", Tensor, NDArray[np.uint8], NDArray[Any])

_named: ContextVar[Sequence[int] | None] = ContextVar("bands", default=None)


@contextmanager
def of_run(config: Mapping[str, Any]) -> Iterator[None]:
    """Show the bands that the dataset of a run's config names in ``dataset.bands``, in all that is drawn."""
    token = _named.set(config["dataset"].get("bands"))
    try:
        yield
    finally:
        _named.reset(token)


def shown(images: Images) -> Images:
    """Return the bands of images (..., C, H, W) that are shown, (..., 1 or 3, H, W).

    Without names they are the first three, or the first one of two.
    """
    channels, named = images.shape[-3], _named.get()
    if channels == 1:
        return images
    if named is None or max(named) >= channels:
        named = range(3 if channels > 2 else 1)
    return images[..., list(named), :, :]
