"""How fast a run is carried out: what ``speed=exact|auto`` and ``compile=true`` mean on a device."""

import ctypes
import inspect
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch

from caelab import compat
from caelab.errors import UserError
from caelab.terminal import nearest

EXACT, AUTO = "exact", "auto"
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_LONG = 2_000  # steps: where compiling was earned back on an H200, see docs/about/speed.md
_LARGEST = 32 << 20  # bytes: more than a tensor of a step takes, and all that glibc lets one ask for


@dataclass(frozen=True)
class Speed:
    """How a run's arithmetic is carried out.

    Attributes:
        precision: as Lightning's Trainer takes it.
        channels_last: whether images lie in memory as (N, H, W, C).
        fused: whether the optimizer steps all weights in one kernel.
        compile: whether the training step's forward and backward pass are compiled.
        graphs: whether these are then replayed as CUDA graphs, which spares their launches.
    """

    precision: str
    channels_last: bool = False
    fused: bool = False
    compile: bool = False
    graphs: bool = False

    def __str__(self) -> str:
        parts = {
            "channels-last": self.channels_last,
            "fused": self.fused,
            "compiled": self.compile,
            "CUDA graphs": self.graphs,
        }
        return ", ".join([self.precision, *(name for name, there in parts.items() if there)])

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function as a training step is to call it.

        Each shape is compiled for itself, so that graphs can be taken: the batch, and an epoch's last one.
        """
        if not self.compile:
            return function
        mode = "reduce-overhead" if self.graphs else "default"
        return torch.compile(function, dynamic=False, mode=mode)

    def over(self, steps: int, device: torch.device) -> "Speed":
        """Return what is fastest for so many steps: on a GPU that can compile, long runs are compiled."""
        if device.type == "cuda" and steps >= _LONG and not _missing(device):
            return replace(self, compile=True, graphs=True)
        return self


def device_of(accelerator: str) -> torch.device:
    """Kind of device that Lightning takes for ``trainer.accelerator``."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.device("cuda")
    if accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def choose(
    speed: str,
    compiled: bool,
    precision: str,
    device: torch.device,
    optimizer: Any,
    clipped: bool = False,
) -> Speed:
    """Decide how a run is carried out; on the same machine the answer is always the same.

    Args:
        speed: ``exact``: eager float32, or the precision asked for; ``auto``: what is fastest on the device.
        compiled: whether to compile, asked for beside it.
        precision: ``trainer.precision``; one that is not the default stands, under ``auto`` too.
        device: where the network is.
        optimizer: factory of the optimizer.
        clipped: whether gradients are clipped, which Lightning refuses beside a fused step.

    Raises:
        UserError: an unknown speed, or no compiler where one is needed.
    """
    if speed not in (EXACT, AUTO):
        raise UserError(f"speed={speed}: there is no such speed{nearest(speed, [EXACT, AUTO])}")
    if compiled and (missing := _missing(device)):
        raise UserError(f"compile=true: needs {missing}; install it, or leave it out")
    graphs = compiled and device.type == "cuda"
    if speed == EXACT:
        return Speed(precision, compile=compiled, graphs=graphs)
    half = "bf16-mixed" if precision == "32-true" and _fast_bfloat16(device) else precision
    known = device.type in ("cpu", "cuda")
    return Speed(half, known, known and not clipped and _can_fuse(optimizer), compiled, graphs)


def emulated(precision: str, device: torch.device) -> bool:
    """Whether the device only imitates the precision asked for, many times slower than float32."""
    return "bf16" in precision and device.type in ("cpu", "cuda") and not _fast_bfloat16(device)


def _missing(device: torch.device) -> str | None:
    """What compiled code on the device needs and is not there, in words."""
    if device.type == "cpu":
        language, place, names = "C++", "the CPU", [os.environ.get("CXX", "g++")]
    elif device.type == "cuda":
        language, place = "C", "a GPU"
        names = [os.environ["CC"]] if "CC" in os.environ else ["gcc", "clang", "cc"]
        if not find_spec("triton"):
            return f"the package triton on {place}"
    else:
        return None
    return None if any(map(shutil.which, names)) else f"the {language} compiler {names[0]} on {place}"


def _fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; elsewhere it is many times slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and compat.bfloat16_on_cpu()


def _can_fuse(optimizer: Any) -> bool:
    """Whether an optimizer has a fused step, and the user has not decided about it."""
    parameter = inspect.signature(optimizer).parameters.get("fused")
    return parameter is not None and parameter.default is None


@cache
def keep_memory() -> None:
    """Keep freed memory in this process, where the C library is glibc.

    Each step frees and takes tensors of megabytes, which glibc hands back to the system and fetches again
    page by page; that took a tenth of its CPU time. No figure depends on it.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt:
            mallopt(_M_MMAP_THRESHOLD, _LARGEST)
            mallopt(_M_TRIM_THRESHOLD, 1 << 30)
