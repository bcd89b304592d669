"""What this machine has room for."""

import math
import os
from functools import cache
from pathlib import Path

from caelab import terminal

RUNS_PER_GPU = 4  # small networks leave most of a GPU idle; what one takes is for the user to say
_SLURM = "SLURM_CPUS_PER_TASK"


def devices(accelerator: str) -> list[str]:
    """CUDA devices that runs may use, as CUDA_VISIBLE_DEVICES names them; none where they train elsewhere."""
    if accelerator not in ("auto", "gpu", "cuda"):
        return []
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        named = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
        return [name.strip() for name in named if name.strip() not in ("", "-1")]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def at_once(accelerator: str) -> int:
    """How many runs this machine has room for: ``RUNS_PER_GPU`` a GPU, else as many as cores.

    One thread a run is the fastest way to many runs; with OMP_NUM_THREADS set, it is that many threads a run.
    """
    runs = max(1, share()[0] // (asked() or 1))
    gpus = len(devices(accelerator))
    return min(runs, RUNS_PER_GPU * gpus) if gpus else runs


def asked() -> int | None:
    """Threads that the user asks for by OMP_NUM_THREADS, of whose list the first counts; None without."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdigit() and int(first) else None


def share() -> tuple[int, str]:
    """Cores that this process was given, and a line that says so where the machine has more."""
    whole = os.cpu_count() or 1
    cores, by = whole, ""
    for limit, name in (_affinity(), "affinity"), (quota(), "the cgroup's quota"), (_slurm(), _SLURM):
        if limit is not None and limit < cores:
            cores, by = limit, name
    return cores, f"{cores} of this machine's {whole} cores, by {by}" if by else ""


@cache
def limit_threads() -> None:
    """Let torch take as many threads as cores were given, unless OMP_NUM_THREADS says how many. Says so."""
    import torch

    cores, line = share()
    if asked() or not line:
        return
    if cores < torch.get_num_threads():
        torch.set_num_threads(cores)
    terminal.say(line)


def _affinity() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _slurm() -> int | None:
    cores = os.environ.get(_SLURM, "")
    return int(cores) if cores.isdigit() and int(cores) else None


def quota(root: Path = Path("/")) -> int | None:
    """Cores' worth of time that control groups, of version 1 or 2, leave this process; None: all of it.

    Args:
        root: of the file system.

    Returns:
        At least 1; a part of a core counts as one.
    """
    limits = []
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts) + 1):  # a container may show its own group as the first
            group = root.joinpath("sys/fs/cgroup", controllers, *parts[:depth])
            both = [_words(group / name) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
            time = sum(both, []) if controllers else _words(group / "cpu.max")
            if len(time) == 2 and time[0] not in ("max", "-1"):
                limits.append(max(1, math.ceil(int(time[0]) / int(time[1]))))
    return min(limits, default=None)


def _words(file: Path) -> list[str]:
    return [word for line in _lines(file) for word in line.split()]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
