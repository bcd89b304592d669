"""What a tracker such as Weights & Biases is told of a run: its names, its config and its summary."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from caelab.runs.record import BYPASSING, Complete, Record

_OF_THE_MACHINE = ("paths", "logger", "force")
_SHARED = ("dataset", "seed", "trainer", "keep", "hydra", *_OF_THE_MACHINE)  # by what a sweep compares
_TIMES = ("fit_seconds", "epochs", "images_per_second")


def variant(overrides: Sequence[str], model: str) -> str:
    """Name what a run compares: its overrides without dataset, seed, trainer and where things lie.

    Args:
        overrides: as on the command line.
        model: option of that group, the name of a run without any of them.
    """
    kept = [o for o in overrides if o.lstrip("+~").split("=")[0].split(".")[0] not in _SHARED]
    return " ".join(kept) or model


def names(record: Record) -> dict[str, Any]:
    """Name, group, job type and tags of a run, as ``conf/logger/wandb.yaml`` gives them."""
    choices = [str(record.choices[group]) for group in ("dataset", "model", "loss", "optimizer")]
    return {
        "name": "-".join([*choices, f"s{record.seed}"]),
        "group": record.sweep,
        "job_type": variant(record.overrides, str(record.choices["model"])),
        "tags": choices,
    }


def config(record: Record) -> dict[str, Any]:
    """Nested keys that runs are grouped and filtered by: the options chosen, and every setting.

    Args:
        record: of a run; what is known before it starts is enough.
    """
    folders = [*record.config.get("paths", {}).values()]
    settings = {key: node for key, node in record.config.items() if key not in _OF_THE_MACHINE}
    return {
        "fingerprint": record.fingerprint,
        "variant": variant(record.overrides, str(record.choices["model"])),
        "choices": record.choices,
        **_without(settings, folders),
    }


def _without(node: Mapping[str, Any], folders: Sequence[Any]) -> dict[str, Any]:
    """Leave out what names one of the folders of this machine."""
    return {
        key: _without(value, folders) if isinstance(value, Mapping) else value
        for key, value in node.items()
        if value not in folders
    }


def summary(record: Complete, floor: float | None = None) -> dict[str, Any]:
    """Figures of a trained run: those of the epoch that its record names, sizes, times, and its gain.

    Args:
        record: of the run; a trial has no figures of the test split.
        floor: test PSNR (dB) of PCA on as many numbers.
    """
    found = {**record.metrics, "fingerprint": record.fingerprint, "best_epoch": record.best_epoch}
    found |= {f"size/{key}": value for key, value in asdict(record.size).items()}
    times = {key: getattr(record.time, key) for key in _TIMES}
    found |= {f"time/{key}": value for key, value in times.items() if value is not None}
    reliance = record.metrics.get("test/latent_reliance")
    if reliance is not None:
        found |= {"test/latent_reliance": reliance, "bypassing": reliance < BYPASSING}
    if floor is not None:
        found |= {"pca/psnr": floor, "pca/gain": record.metrics["test/psnr"] - floor}
    return found
