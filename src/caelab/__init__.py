"""A lab bench for convolutional autoencoders."""

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

# ``python -m`` looks for code in the working directory first, which may be a stranger's: only training may.
if sys.argv[0] == "-m" and not sys.flags.safe_path:
    _module = sys.orig_argv[-len(sys.argv)]
    if f"{_module}.".startswith("caelab.") and _module != "caelab.train":
        del sys.path[0]

__version__ = "0.3.0"
__all__ = ["Run", "compare", "load", "study", "sweep", "train"]

# Imported on use: they bring Hydra or torch, and a command line must answer before that.
_WHERE = {"Run": "api", "compare": "api", "load": "trained", "study": "api", "sweep": "api"}

# What a notebook starts inherits its backend, and matplotlib refuses one that is not installed here.
_BACKEND = os.environ.get("MPLBACKEND", "")
if _BACKEND.startswith("module://") and not find_spec(_BACKEND.removeprefix("module://").partition(".")[0]):
    os.environ["MPLBACKEND"] = "agg"


def __getattr__(name: str) -> Any:
    if name == "train":  # the module of the command line, which can be called
        return import_module("caelab.train")
    if name in _WHERE:
        return getattr(import_module(f"caelab.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'caelab' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
