"""What a run is known by: the keys of its config that can change its figures.

Imports nothing heavy, so that a finished run answers at once.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from caelab.metrics.measures import ALWAYS, SELECT

GROUPS = ("model", "bottleneck", "loss", "optimizer", "scheduler", "dataset", "corruption", "augment")
"""What a run is composed of; records from before schedulers, corruptions and the like lack those."""
_OF_A_STUDY = ("study", "seeds", "budget")  # which were keys of its runs, too
IRRELEVANT = (
    "hydra",
    "paths",
    "logger",
    "force",
    "keep",
    *_OF_A_STUDY,
    "trainer.enable_progress_bar",
    "dataset.archive",
)
"""Keys that say where and how a run is carried out or shown, and that cannot change its figures."""
PLACES = ("data_dir", "path", "root", "archive", "index")
"""Keys of a dataset that name a place."""
WATCHES = "watches"
"""Key of a callback that sees a run and changes none of its figures."""
CLEAN = {"_target_": "caelab.corruptions.Clean"}
"""Config of no corruption, which records from before corruptions lack."""

PLAIN = {"_target_": "caelab.bottlenecks.none.Plain", "_partial_": True}
"""Config of no bottleneck, which records from before bottlenecks lack."""

_SCHEMA = 1  # whatever the version of a record
# Keys that came after the first records, with the value that means what those did; it leaves no trace.
_LATER = {
    "speed": "exact",
    "compile": False,
    "flip": False,
    "ema": None,
    "metrics": [],
    "select": SELECT,
    "scheduler": {"_target_": "caelab.schedulers.Constant"},
    "trainer.strategy": "auto",
    "trainer.gradient_clip_val": None,
    "trainer.accumulate_grad_batches": 1,
    "trainer.limit_train_batches": None,
    "trainer.limit_val_batches": None,
    "trainer.limit_test_batches": None,
    "trainer.check_val_every_n_epoch": 1,
    "trainer.deterministic": False,
    "trainer.detect_anomaly": False,
    "trainer.profiler": None,
    "corruption": CLEAN,
    "bottleneck": PLAIN,
    "bottleneck.noisy": None,
    "augment": {"_target_": "caelab.augmentations.Plain"},
    "callbacks": {},
    "from": None,
    "dataset.root": None,
    "model.halvings": 3,
    "model.padding": None,
    "model.downsample": "stride",
}
# The same of single models and datasets, by their target.
_LATER_OF: dict[str, dict[str, Any]] = {
    "caelab.models.pca.PCA": {"model.refine": 0, "model.shrinkage": "none"},
    "caelab.data.folder.Folder": {"dataset.fit": "crop", "dataset.bits": 8, "dataset.index": None},
}


def fingerprint(config: Mapping[str, Any], sources: Mapping[str, str] | None = None) -> str:
    """Identify a run by what matters to its figures.

    Args:
        config: plain. Where a key refers to a folder of ``paths``, it holds the folder's name, such as
            ``data``; a folder of images stands for what lies in it, and a run that it starts from for its
            weights: see ``caelab.composition.compose.identity``.
        sources: digest of each class that is not the lab's.

    Returns:
        64 hexadecimal digits: the SHA-256 of a schema version, of the relevant part of the config, and of
        the sources.
    """
    parts = [_SCHEMA, _relevant(acting(config), later(config)), *([sources] if sources else [])]
    canonical = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


def network_node(config: Mapping[str, Any]) -> dict[str, Any]:
    """The node of a run's network, with its bottleneck in it where it has one."""
    bottleneck = config.get("bottleneck", PLAIN)
    return {**config["model"], **({} if bottleneck == PLAIN else {"bottleneck": bottleneck})}


def acting(config: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the callbacks that change no figure, and the measures that every run has."""
    callbacks = {
        name: node
        for name, node in config.get("callbacks", {}).items()
        if not (isinstance(node, Mapping) and node.get(WATCHES))
    }
    measured = {"metrics": _further(config["metrics"])} if "metrics" in config else {}
    return {**config, "callbacks": callbacks, **measured}


def _further(names: Any) -> Any:
    """Measures that not every run has, in one order; what is no list of names stays as it is."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return names
    return sorted({*names} - ALWAYS.keys())


def later(config: Mapping[str, Any]) -> dict[str, Any]:
    """Keys that are younger than some records of such a run, with the value that means what those did."""
    targets = (str(config.get(group, {}).get("_target_")) for group in ("model", "dataset"))
    return {**_LATER, **{key: value for one in targets for key, value in _LATER_OF.get(one, {}).items()}}


def _relevant(node: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leave out what is irrelevant, and the later keys that have their defaults."""
    relevant = {}
    for name, value in node.items():
        key = f"{prefix}{name}"
        if key not in IRRELEVANT and not (key in defaults and value == defaults[key]):
            inner = isinstance(value, Mapping)
            relevant[name] = _relevant(value, defaults, f"{key}.") if inner else value
    return relevant
