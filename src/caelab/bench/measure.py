"""Rounds of contestants, each in a process of its own, and the ratios between them."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from caelab import terminal
from caelab.errors import UserError

STARTED = "CAELAB_BENCH_STARTED"  # environment variable: when the process was started, in s since 1970
OUTPUT = "CAELAB_BENCH_OUTPUT"  # environment variable: a folder for what a contestant writes

Rounds = list[dict[str, dict[str, Any]]]
"""One dict a round: contestant -> its figures."""

RATIOS = [
    ("exact", "bare", 0.98, 0.90),
    ("auto", "script", 1.6, 20),
    ("auto", "lightning", 1.7, 20),
    ("auto", "limit", 0.95, 0.85),
    ("auto", "pythae", None, None),
]
"""Of images a second: which, to which, and the goals, if any, on two cores and on a data-centre GPU."""


def carry_out(name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Run one contestant in a process of its own.

    Raises:
        UserError: it failed; with the last line that it said.
    """
    with tempfile.TemporaryDirectory() as output:
        environment = {
            **os.environ,
            OUTPUT: output,
            STARTED: str(time.time()),
        }
        command = [sys.executable, "-m", "caelab.bench.contestants", name, *overrides]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        said = done.stderr.strip().rpartition("\n")[2].removeprefix("caelab: ")
        raise UserError(f"{name} {' '.join(overrides)} failed: {said}")
    figures: dict[str, Any] = json.loads(done.stdout.strip().rpartition("\n")[2])
    return figures


def rounds(names: Sequence[str], overrides: Sequence[str], count: int, what: str) -> Rounds:
    """Let the contestants take turns; each round starts with another one, since a machine's speed drifts."""
    found: Rounds = []
    for number in range(count):
        one = {}
        for place in range(len(names)):
            name = names[(place + number) % len(names)]
            one[name] = carry_out(name, overrides)
            speed = one[name].get("images_per_second")
            shown = f"{speed:,.0f} images/s" if speed else "done"
            terminal.say(
                f"{what}, round {number + 1} of {count}, {place + 1} of {len(names)}: {name} {shown}"
            )
        found.append(one)
    return found


def speeds(found: Rounds, name: str, key: str = "images_per_second") -> list[float]:
    """Images a second of a contestant in each round; ``lightning`` is the better of its settings."""
    members = [one for one in found[0] if one == name or one.startswith(f"{name}-")]
    return [max(float(one[member][key]) for member in members) for one in found]


def ratio(found: Rounds, a: str, b: str, key: str = "images_per_second") -> list[float]:
    """Ratio of the images a second of ``a`` to those of ``b``, round by round."""
    return [x / y for x, y in zip(speeds(found, a, key), speeds(found, b, key), strict=True)]


def spread(values: Sequence[float], form: str) -> str:
    """Median with the lowest and the highest value."""
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def machine() -> dict[str, Any]:
    """Return processor, cores, device and versions."""
    import platform

    import lightning
    import torch

    names = [
        line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")
    ]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "lightning": lightning.__version__,
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []
