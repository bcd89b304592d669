"""Where, with what and by which code a run is carried out, in each of its parts."""

import json
import os
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import nn

from caelab import terminal
from caelab.config import CONF, source
from caelab.errors import installed
from caelab.training.speed import Speed
from caelab.version import __version__

_PACKAGE = Path(__file__).parents[1]
_BUILT = _PACKAGE / "commit.json"  # of a package that hatch_build.py has built
_PARTS, _IMAGES = "environments", "images"  # keys of a checkpoint
# What may change the figures of a run that goes on.
_ACTS = ("code", "python", "torch", "lightning", "device", "devices", "threads", "speed")
_LIBRARIES = "libraries"  # the key of a part; they act, too, where both parts tell their versions


class Environments(Callback):
    """Keeps in each checkpoint where its run was carried out so far, and says at a resume what has changed.

    Args:
        config: of the run, plain.
        speed: how its arithmetic is carried out.
        images: their identity, as ``ImageDataModule.sha256``.

    Attributes:
        present: what the record says of this process.
        earlier: the same of the processes before it, without repetitions in a row.
    """

    def __init__(self, config: dict[str, Any], speed: Speed, images: str) -> None:
        self.config, self.speed, self.images = config, speed, images
        self.present: dict[str, Any] = {}
        self.earlier: list[dict[str, Any]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Look around."""
        self.present = self.present or environment(trainer, pl_module, self.speed, self.config)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the parts of the run so far, and what it is trained on."""
        checkpoint |= {_PARTS: [*self.earlier, self.present], _IMAGES: self.images}

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take up the parts before."""
        self.follow(checkpoint.get(_PARTS, []))

    def others(self, checkpoint: dict[str, Any]) -> list[str]:
        """What a part of the run had that this one has not: of "code" and "images"; empty where nothing.

        Checkpoints older than 0.15 do not tell their images.
        """
        codes = {part.get("code") for part in checkpoint.get(_PARTS, [])}
        same = {
            "code": codes <= {source.acting(self.config)},
            "images": checkpoint.get(_IMAGES, self.images) == self.images,
        }
        return [key for key, is_so in same.items() if not is_so]

    def follow(self, parts: list[dict[str, Any]]) -> None:
        """Take up the parts before this one, and say what differs from the last of them."""
        self.earlier = list(parts)
        if not self.earlier:
            return
        if self.earlier[-1] == self.present:
            self.earlier.pop()
        elif changed := changes(self.earlier[-1], self.present):
            terminal.say(f"  changed since then: {changed}; an uninterrupted run may have other figures")


def changes(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Say what may change the figures from one part of a run to the next; empty where nothing does."""
    before, now = (part | part.get(_LIBRARIES, {}) for part in (before, now))
    both = sorted(before.get(_LIBRARIES, {}).keys() & now.get(_LIBRARIES, {}))
    differing = [key for key in (*_ACTS, *both) if before.get(key) != now.get(key)]
    return ", ".join(
        "code (of caelab, or yours)" if key == "code" else f"{key} {now.get(key)} (was {before.get(key)})"
        for key in differing
    )


def environment(trainer: Trainer, module: nn.Module, speed: Speed, config: dict[str, Any]) -> dict[str, Any]:
    """Versions, device, threads, code, and how the arithmetic is carried out."""
    return {
        "caelab": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "lightning": lightning.__version__,
        _LIBRARIES: _libraries(module),
        "device": device(trainer),
        "threads": torch.get_num_threads(),
        "devices": trainer.world_size,
        "precision": str(trainer.precision),
        "speed": str(speed),
        "code": source.acting(config),
        **_commit(),
    }


def _libraries(module: nn.Module) -> dict[str, str]:
    """Version of each library, beside torch, that a part of the module is of."""
    of = {type(part).__module__.partition(".")[0] for part in module.modules()} - {"caelab", "torch"}
    return {name: version(name) for name in sorted(of) if installed(name)}


def device(trainer: Trainer) -> str:
    """Name of the device that the trainer uses."""
    root = trainer.strategy.root_device
    return torch.cuda.get_device_name(root) if root.type == "cuda" else root.type


@cache
def _commit() -> dict[str, Any]:
    """Commit of the code, and whether files differed from it: as the build wrote it down, or of the checkout.

    Empty where neither tells; the digest of the code is on the record, whatever runs.
    """
    if _BUILT.exists():
        return dict(json.loads(_BUILT.read_text()))
    inside = Path(CONF).parent != _PACKAGE
    commit = _git("rev-parse", "HEAD") if inside else None
    return {"commit": commit, "dirty": bool(_git("status", "--porcelain", "-uno"))} if commit else {}


def _git(*words: str) -> str | None:
    command = ["git", "-C", CONF, *words]
    alone = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}  # others may work in the checkout
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=alone)
    except FileNotFoundError:
        return None
    return done.stdout.strip() or None
