"""Processes that start quickly: what takes long to import is imported once, before they fork."""

import importlib
import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

HEAVY = ("torch", "torchvision", "lightning.pytorch", "torchmetrics", "hydra.main", "optuna", "duckdb")
HEAVY += ("skimage.metrics", "sklearn.decomposition", "scipy.stats", "scipy.ndimage", "pandas")
HEAVY += ("matplotlib.pyplot", "rich.progress", "wandb", "torch._dynamo", "pytest")

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: several processes share the cores


def warm_up() -> None:
    """Import what the processes share, and nothing of the lab."""
    for module in HEAVY:
        importlib.import_module(module)
    assert not any(name.partition(".")[0] == "caelab" for name in sys.modules)


def start(folder: Path, function: Callable[..., None], *arguments: Any) -> ForkProcess:
    """Call a function in a process of its own within a folder; ``out`` and ``err`` there are what it says."""
    process = multiprocessing.get_context("fork").Process(target=_inside, args=(folder, function, arguments))
    process.start()
    return process


def _inside(folder: Path, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    os.chdir(folder)
    for stream, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    function(*arguments)
