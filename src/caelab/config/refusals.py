"""Arguments of Lightning's Trainer that a run does not take, each with the reason; all others act.

Imports nothing heavy, so that a mistake is told before torch is there.
"""

from collections.abc import Mapping
from typing import Any

from caelab.errors import UserError
from caelab.terminal import nearest

_EPOCHS = "a run counts whole epochs and resumes after one; use trainer.max_epochs"
_OWN = "caelab does that itself"

REFUSED = {
    "barebones": "a run is measured and its checkpoints are kept",
    "default_root_dir": "a run is written below paths.output",
    "enable_autolog_hparams": "loggers are given the whole config",
    "enable_checkpointing": "a run keeps its best and its last checkpoint",
    "enable_model_summary": "the run's record holds the sizes of the model",
    "fast_dev_run": "every run leaves a record; use debug=fast",
    "limit_predict_batches": "a run predicts nothing",
    "logger": "loggers have a group of their own; use logger=wandb",
    "max_steps": _EPOCHS,
    "max_time": "a run counts whole epochs; use callbacks=timer",
    "min_steps": "a run counts whole epochs; use trainer.min_epochs",
    "model_registry": "caelab export writes a model to share",
    "num_nodes": "a run trains on one machine; hydra/launcher=submitit_slurm spreads a sweep over several",
    "num_sanity_val_steps": "figures of the untrained network would count as the run's first",
    "overfit_batches": "each epoch has a new order of images; use debug=overfit, or dataset.train_size",
    "plugins": f"{_OWN}; use trainer.precision and trainer.strategy",
    "reload_dataloaders_every_n_epochs": "images lie in memory, in a new order each epoch",
    "use_distributed_sampler": f"{_OWN}: each image goes to one device",
    "val_check_interval": "figures and checkpoint are those of the same moment, the end of an epoch; "
    "use trainer.check_val_every_n_epoch",
}

_SWITCHES = ("benchmark", "deterministic", "enable_progress_bar", "inference_mode", "sync_batchnorm")
_LEAST = {"min_epochs": 1, "log_every_n_steps": 0}  # of those that are whole numbers

STRATEGIES = ["auto", "ddp", "ddp_find_unused_parameters_true", "single_device"]
"""Those whose first process holds the whole network and leads the run."""


def told(key: str) -> str:
    """One line about a refused argument."""
    return f"trainer.{key}: cannot be set, since {REFUSED[key]}"


def check(trainer: dict[str, Any]) -> None:
    """Refuse what a run would take from its config and not do.

    Args:
        trainer: the config's ``trainer``.

    Raises:
        UserError: one of ``REFUSED``, or a value that leaves nothing to train or to choose from.
    """
    for key in REFUSED:
        if key in trainer:
            raise UserError(told(key))
    strategy = trainer.get("strategy", "auto")
    if strategy not in STRATEGIES:
        raise UserError(f"trainer.strategy={strategy}: not supported{nearest(str(strategy), STRATEGIES)}")
    for split in ("train", "val", "test"):
        _check_limit(f"limit_{split}_batches", trainer)
    for key in _SWITCHES:
        more = {"deterministic": "warn"}.get(key)
        if not isinstance(value := trainer.get(key), bool | None) and value != more:
            raise UserError(f"trainer.{key}={value}: must be true or false{f' or {more}' if more else ''}")
    for key, least in _LEAST.items():
        if (value := trainer.get(key)) is not None and (type(value) is not int or value < least):
            raise UserError(f"trainer.{key}={value}: must be a whole number, {least} or more")
    clip = trainer.get("gradient_clip_val")
    if clip is not None and (isinstance(clip, bool) or not isinstance(clip, int | float) or not clip >= 0):
        raise UserError(f"trainer.gradient_clip_val={clip}: must be a number, 0 or more, or null")
    batches = trainer.get("accumulate_grad_batches", 1)
    if type(batches) is not int or batches < 1:
        raise UserError(f"trainer.accumulate_grad_batches={batches}: must be a number of batches, 1 or more")
    every, epochs = trainer.get("check_val_every_n_epoch", 1), trainer["max_epochs"]
    if type(every) is not int or not 1 <= every <= epochs:
        raise UserError(
            f"trainer.check_val_every_n_epoch={every}: must be within 1..{epochs} (trainer.max_epochs), "
            "or no checkpoint could be chosen"
        )
    for node in _listed(trainer):
        if not isinstance(node, dict) or "_target_" not in node:
            raise UserError(
                f"trainer.callbacks: {node} is not a callback; give a list such as "
                "[{_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: val/psnr, mode: max}]"
            )


def _check_limit(key: str, trainer: Mapping[str, Any]) -> None:
    limit = trainer.get(key)
    share = isinstance(limit, float) and 0 < limit <= 1
    if limit is not None and not share and (type(limit) is not int or limit < 1):
        raise UserError(
            f"trainer.{key}={limit}: must be a number of batches, 1 or more, or a share above 0.0, up to 1.0"
        )


def callbacks(config: Mapping[str, Any]) -> dict[str, Any]:
    """Key -> config node of each of the user's callbacks: of the group, then of ``trainer.callbacks``.

    Raises:
        UserError: one of the group is no config.
    """
    group = {f"callbacks.{name}": node for name, node in config["callbacks"].items()}
    for key, node in group.items():
        if not isinstance(node, dict):
            raise UserError(f"{key}={node}: give its class, as in +{key}._target_=package.Class")
    return group | {f"trainer.callbacks[{n}]": node for n, node in enumerate(_listed(config["trainer"]))}


def _listed(trainer: Mapping[str, Any]) -> list[Any]:
    """``trainer.callbacks``, which may be a list, one alone, or none."""
    listed = trainer.get("callbacks") or []
    return listed if isinstance(listed, list) else [listed]


def limits(config: Mapping[str, Any]) -> dict[str, int | float]:
    """Name of a split -> batches or share of it, where ``trainer`` says that these stand for all of it."""
    of = {split: config.get(f"limit_{split}_batches") for split in ("val", "test")}
    return {split: limit for split, limit in of.items() if limit is not None}
