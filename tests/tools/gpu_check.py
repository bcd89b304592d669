"""What only a GPU can show, in twelve minutes: ``make gpu-check``.

Parts in order of worth, each a process of its own with its own limit of time. What each says goes to
``gpu-check/NAME.txt``, and after each part ``gpu-check/gpu_check.json`` has command, status and seconds of
all so far. Nothing is fetched: what ``paths.data`` lacks is named first. Without a GPU a line says so, and
the exit status is 0.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch

from caelab import durable, terminal
from caelab.bench.measure import machine
from caelab.composition import compose
from caelab.config.build import instantiate
from caelab.data.cache import CACHE
from caelab.data.cifar10 import NAMES

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 720.0
"""Of all parts together."""

_LAB = ("-m", "caelab")
_FEW = ("dataset=cifar10", "dataset.train_size=10000")
_SWEEP = (
    *_LAB,
    "sweep",
    "model=base",
    *_FEW,
    "trainer.max_epochs=4",
    f"seed={','.join(map(str, range(16)))}",
)
_SPEED_RUN = ("experiment=auto_decoder", "trainer.check_val_every_n_epoch=1")


class Part(NamedTuple):
    """A command of Python's, and the seconds that it may take."""

    name: str
    seconds: float
    words: Sequence[str]


PARTS = (
    Part(
        "tests",
        90,
        ("-m", "pytest", "-q", "-m", "gpu", str(ROOT / "tests/inference"), str(ROOT / "tests/training")),
    ),
    Part("bench", 200, (*_LAB, "bench", "--rounds", "1", *_FEW, "trainer.max_epochs=4")),
    Part("table2", 60, (*_LAB, "study", "table2", "--budget", "quick", "dataset=cifar10")),
    Part("side-by-side", 80, (*_SWEEP, "hydra/launcher=joblib", "paths.output=side-by-side")),
    Part("one-by-one", 110, (*_SWEEP, "paths.output=one-by-one")),
    Part("speed-run", 100, (*_LAB, "bench", "--to", "28,28.5,29", "--rounds", "1", *_SPEED_RUN)),
    Part(
        "large",
        80,
        (*_LAB, "train", "experiment=residual_large", "trainer.max_epochs=2", "dataset.train_size=10000"),
    ),
)


def main(folder: Path = Path("gpu-check"), parts: Sequence[Part] = PARTS) -> int:
    """Carry out the parts one after the other, and return the exit status."""
    if not torch.cuda.is_available():
        terminal.say("gpu-check: there is no GPU here, so nothing is checked")
        return 0
    if lacking := missing():
        for path in lacking:
            terminal.error(f"gpu-check: missing: {path}")
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    done: list[dict[str, Any]] = []
    began = time.monotonic()
    for part in parts:
        done.append(carry_out(part, folder, SECONDS - (time.monotonic() - began)))
        terminal.say(f"{part.name}: {done[-1]['status']}, {done[-1]['seconds']:.0f} s")
        found = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine(), "parts": done}
        durable.write(folder / "gpu_check.json", json.dumps(found, indent=2) + "\n")
    return int(any(part["status"] != "done" for part in done))


def missing() -> list[Path]:
    """Files of CIFAR-10 that the folder of data lacks, where nothing is there to make them of."""
    config = compose.plain(compose.config(["dataset=cifar10"])[0])
    data = instantiate(config["dataset"], "dataset")
    if data.here():
        return []
    return [data.folder / CACHE / f"{name}.npy" for name in NAMES]


def carry_out(part: Part, folder: Path, left: float) -> dict[str, Any]:
    """Carry out a part within its limit and what is left, and end all of its processes."""
    began = time.monotonic()
    environment = os.environ | {"WANDB_MODE": "offline", "HF_HUB_OFFLINE": "1"}
    with (folder / f"{part.name}.txt").open("w") as said:
        command = [sys.executable, *part.words]
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(max(0.0, min(part.seconds, left)))
            status = "done" if code == 0 else f"failed with status {code}"
        except subprocess.TimeoutExpired:
            status = "out of time"
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    seconds = time.monotonic() - began
    return {"name": part.name, "command": list(part.words), "status": status, "seconds": seconds}


if __name__ == "__main__":
    sys.exit(main())
