"""What can be measured of a reconstruction, beside what every run is measured by.

A measure is a module here: it holds one function and declares ``MEASURE``, and is found by its own name. It
imports torch within the function, so that lists of columns are quick.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

ALWAYS = {"psnr": True, "psnr_pooled": True, "ssim": True, "mse": False, "l1": False}
"""Name of what every run is measured by -> whether more of it is better."""

SELECT = "val/psnr"
"""Key that checkpoints are chosen by, unless ``select`` says otherwise."""
OBJECTIVE = "val/objective"
"""Key of what training makes small, where a bottleneck adds a penalty to the loss: both together."""

_MINIMISED = {"loss": False, OBJECTIVE.removeprefix("val/"): False}


@dataclass(frozen=True)
class Measure:
    """A measure of reconstructions.

    Attributes:
        of: maps reconstructions and images, both (N, C, H, W) float32 in [0, 1], to a figure of each, (N,).
            It raises a ValueError for images of a size or a number of channels that it does not take.
        title: what tables call it.
        meaning: what it is, in a line.
        form: format of its numbers where people read them.
        higher: whether more of it is better; None: neither more nor less is, so nothing is chosen by it.
        bounds: least and greatest value that it can have.
    """

    of: Callable[["Tensor", "Tensor"], "Tensor"]
    title: str
    meaning: str
    form: str
    higher: bool | None
    bounds: tuple[float, float]


@cache
def measures() -> dict[str, Measure]:
    """Name -> measure, sorted by name."""
    names = sorted(module.name for module in iter_modules(__path__))
    return {name: import_module(f"{__name__}.{name}").MEASURE for name in names}


def asked(names: Sequence[str]) -> dict[str, Measure]:
    """Those of the named measures that not every run is measured by.

    Raises:
        ValueError: there is no measure of that name.
    """
    known = measures()
    for name in names:
        if name not in [*ALWAYS, *known]:
            raise ValueError(f"there is no measure {name!r}{_nearest(name, [*ALWAYS, *known])}")
    return {name: one for name, one in known.items() if name in names}


def selectable(names: Sequence[str]) -> dict[str, bool]:
    """Key that the checkpoint of a run can be chosen by -> whether more of it is better.

    Args:
        names: of what the run is measured by.
    """
    further = {name: one.higher for name, one in asked(names).items() if one.higher is not None}
    return {f"val/{name}": higher for name, higher in (ALWAYS | _MINIMISED | further).items()}


def higher(key: str) -> bool:
    """Whether more is better of what a checkpoint may be chosen by.

    Raises:
        ValueError: no checkpoint is chosen by such a key.
    """
    known = selectable([*measures()])
    if not isinstance(key, str) or key not in known:
        raise ValueError(f"nothing can be chosen by {key!r}{_nearest(key, [*known])}")
    return known[key]


def score(key: str, value: float) -> float:
    """The value, or its opposite where less is better: the greater, the better.

    Raises:
        ValueError: as ``higher`` does.
    """
    return value if higher(key) else -value


def _nearest(name: object, known: list[str]) -> str:
    from caelab.terminal import nearest  # rich, which a network that is loaded does without

    return nearest(str(name), known)
