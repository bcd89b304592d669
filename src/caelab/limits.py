"""What this process may use of its machine: cores and memory."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

_SLURM = "SLURM_CPUS_PER_TASK"


def share() -> tuple[int, str]:
    """Cores that this process was given, and a line that says so where the machine has more."""
    whole = os.cpu_count() or 1
    cores, by = whole, ""
    for limit, name in (_affinity(), "affinity"), (quota(), "the cgroup's quota"), (_slurm(), _SLURM):
        if limit is not None and limit < cores:
            cores, by = limit, name
    return cores, f"{cores} of this machine's {whole} cores, by {by}" if by else ""


def memory(root: Path = Path("/")) -> int:
    """Bytes that this process may use: of the machine, or the least that one of its control groups leaves.

    Args:
        root: of the file system.
    """
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for group, first in _groups("memory", root):
        words = _words(group / ("memory.limit_in_bytes" if first else "memory.max"))
        limits += [int(word) for word in words if word.isdigit()]
    return min(limits)


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
    for group, first in _groups("cpu", root):
        both = [_words(group / name) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
        time = sum(both, []) if first else _words(group / "cpu.max")
        if len(time) == 2 and time[0] not in ("max", "-1"):
            limits.append(max(1, math.ceil(int(time[0]) / int(time[1]))))
    return min(limits, default=None)


def _groups(controller: str, root: Path) -> Iterator[tuple[Path, bool]]:
    """Folders of the control groups that limit this process, and whether they are of version 1."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts) + 1):  # a container may show its own group as the first
            yield root.joinpath("sys/fs/cgroup", controllers, *parts[:depth]), bool(controllers)


def _words(file: Path) -> list[str]:
    return [word for line in _lines(file) for word in line.split()]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
