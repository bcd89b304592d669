"""A lab bench for convolutional autoencoders."""

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from caelab.version import __version__ as __version__

if TYPE_CHECKING:
    from caelab.api import compare, run, study, sweep
    from caelab.handle import Run
    from caelab.inference.trained import load

# ``python -m`` looks for code in the working directory first, which may be a stranger's: only training may.
if sys.argv[0] == "-m" and not sys.flags.safe_path:
    _module = sys.orig_argv[-len(sys.argv)]
    if f"{_module}.".startswith("caelab.") and _module != "caelab.train":
        del sys.path[0]

__all__ = ["Run", "compare", "load", "run", "study", "sweep"]

# Imported on use: they bring Hydra or torch, and a command line must answer before that.
_MODULES = {"Run": "handle", "load": "inference.trained"}

# What a notebook starts inherits its backend, and matplotlib refuses one that is not installed here.
_BACKEND = os.environ.get("MPLBACKEND", "")
if _BACKEND.startswith("module://") and not find_spec(_BACKEND.removeprefix("module://").partition(".")[0]):
    os.environ["MPLBACKEND"] = "agg"


if not TYPE_CHECKING:  # to a type checker it would mean that any name is there

    def __getattr__(name: str) -> Any:
        if name in __all__:
            return getattr(import_module(f"caelab.{_MODULES.get(name, 'api')}"), name)
        hint = "; caelab.run(...) trains a run" if name == "train" else ""
        raise AttributeError(f"module 'caelab' has no attribute '{name}'{hint}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
