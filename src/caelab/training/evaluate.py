"""Score a finished run again, also on another dataset: ``caelab evaluate RUN [dataset=...]``."""

import hashlib
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from caelab import durable, texts
from caelab.composition import compose
from caelab.config import explain, folders, options
from caelab.config.build import instantiate
from caelab.config.check import check
from caelab.config.grammar import written
from caelab.config.refusals import limits
from caelab.data.datamodule import ImageDataModule
from caelab.errors import UserError
from caelab.inference import restore
from caelab.runs import results, trust
from caelab.runs.record import Complete
from caelab.training import describe
from caelab.training.scoring import score


def evaluate(run: Path, overrides: list[str], encoder_steps: int | None = None) -> dict[str, Any]:
    """Score a finished run's best checkpoint.

    Args:
        run: the run's directory.
        overrides: as on the command line of caelab train, of dataset, corruption and paths only.
        encoder_steps: of ``caelab.inference.trained.load``.

    Returns:
        ``{"dataset": ..., "data": {...}, "metrics": {"test/psnr": ..., ...}}``, and ``encoder_steps`` where
        they are given, also written to a ``file`` in ``evaluations/`` of the run's directory, which is named
        here, as are the ``choices`` of all groups.

    Raises:
        UserError: no finished run, unknown keys, or images of another shape or range than the network takes.
    """
    record = results.finished(run)
    with folders.seen():
        folders.announce()
        with explain.told():
            cfg, choices = _config(record, overrides)
    name = str(choices["dataset"])
    net = restore.load(run, encoder_steps)
    data = instantiate(cfg["dataset"], "dataset")
    if not any(override.lstrip("+").startswith("dataset") for override in overrides):
        data.expected = record.data.sha256
        data.limits = limits(record.config.get("trainer", {}))
    if data.shape != net.shape:
        raise UserError(
            f"dataset={name} has images of {_times(data.shape)}, the run takes {_times(net.shape)}"
        )
    corruption = instantiate(cfg["corruption"], "corruption")
    _require_range(record, data, overrides)
    metrics, images = score(net, data, restore.loss(record), corruption, cfg["metrics"])
    found = {"dataset": name, "corruption": cfg["corruption"], "data": images.plain(), "metrics": metrics}
    kind = "" if choices["corruption"] == "none" else f"-{choices['corruption']}"
    asked = sorted(override for override in overrides if not override.startswith("paths."))
    which = " ".join([images.sha256, *asked])
    digits = hashlib.sha256(which.encode()).hexdigest() if asked else images.sha256
    if encoder_steps is not None:
        found["encoder_steps"] = encoder_steps
        kind += f"-{encoder_steps}_steps"
    file = Path("evaluations", texts.one_name(f"{name}{kind}-{digits[:10]}.json"))
    if results.finished(run).finished != record.finished:
        raise UserError(f"{run}: it was trained again in the meantime; evaluate it again")
    (run / file).parent.mkdir(exist_ok=True)
    durable.write(run / file, json.dumps(found, indent=2, allow_nan=False) + "\n")
    return {**found, "choices": choices, "file": file}


def _require_range(record: Complete, data: ImageDataModule, overrides: list[str]) -> None:
    """Refuse values whose range is not the run's, such as 16 bits for 12, unless the range was typed."""
    if not record.data.between or any("dataset.value_range=" in override for override in overrides):
        return
    data.prepare_data()
    data.setup("test")
    own, given = record.data, describe.dataset(data)
    if given.dtype == own.dtype and given.between != own.between:
        low, high, least, most = (f"{end:.9g}" for end in (*own.between, *given.between))
        array = "" if given.name == "array" else ", which dataset=array takes"
        raise UserError(
            f"dataset={given.name} has {given.dtype} from {least} to {most}, the run takes {low} to {high}; "
            f"give 'dataset.value_range=[{low},{high}]'{array}"
        )


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in shape)


def _config(record: Complete, overrides: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the config that is asked for, and its choices: the run's own where nothing else is named."""
    for override in overrides:
        key = override.lstrip("+").partition("=")[0]
        if key.partition(".")[0] not in ("dataset", "corruption", "paths"):
            raise UserError(f"{override}: only dataset, corruption and paths.data can be changed here")
    place = restore.node(record, "dataset").get("data_dir", record.config["paths"]["data"])
    trust.check(place, "paths", f"run {record.fingerprint[:10]}")
    words = [f"paths.data={written(place)}", *overrides, "logger=none"]
    of_the_run = {
        group: restore.node(record, group)
        for group in ("dataset", "corruption")
        if not any(override.startswith(f"{group}=") for override in overrides)
    }
    chosen = {group: str(record.choices[group]) for group in of_the_run}
    known = {group: option for group, option in chosen.items() if option in options.options(group)}
    cfg, choices = compose.config([*(f"{group}={option}" for group, option in known.items()), *words])
    config = compose.plain(cfg)
    for group, node in of_the_run.items():
        config[group] = _changed(node, config[group], group, overrides)
    config["metrics"] = record.config.get("metrics", [])
    check(config, choices | chosen)
    return config, choices | chosen


def _changed(
    node: dict[str, Any], composed: dict[str, Any], group: str, overrides: list[str]
) -> dict[str, Any]:
    """Return a run's own node of a group, with what the user has typed, as it was composed."""
    typed = [override.lstrip("+").partition("=")[0] for override in overrides]
    keys = [key.removeprefix(f"{group}.") for key in typed if key.startswith(f"{group}.")]
    changed = deepcopy(node)
    for key in [*keys, *(["data_dir"] if "data_dir" in composed else [])]:
        *parents, leaf = key.split(".")
        source, target = composed, changed
        for parent in parents:
            source, target = source[parent], target.setdefault(parent, {})
        target[leaf] = source[leaf]
    return changed
