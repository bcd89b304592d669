"""Lightning's Trainer as a run uses it: the user's callbacks beside the lab's, one process unless asked."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only

from caelab import terminal
from caelab.config import refusals
from caelab.config.build import instantiate
from caelab.config.fingerprint import WATCHES
from caelab.data.datamodule import ImageDataModule
from caelab.errors import UserError
from caelab.training.job_log import LOGGERS

_ELSEWHERE = ("callbacks", "limit_val_batches", "limit_test_batches")  # built by the run, and by its data
_MISTAKES = ("Early stopping conditioned on metric", "Found more than one stateful callback")

_ALONE = "Expected more than 1 value per channel when training"


def build(config: dict[str, Any], device: torch.device, **given: Any) -> Trainer:
    """Build the trainer of a run.

    Args:
        config: the config's ``trainer``, checked.
        device: where it trains.
        given: arguments that the run supplies.

    Raises:
        UserError: Lightning refuses an argument.
    """
    several = not alone(config["devices"], device)
    chosen = {key: value for key, value in config.items() if key not in _ELSEWHERE}
    settled = {
        "sync_batchnorm": several and device.type == "cuda",
        "deterministic": False,  # what a job before it in this process has set must not stay
        "benchmark": False,
    }
    # whatever cluster it looks like, a run of one process is one
    given |= {} if several else {"plugins": LightningEnvironment()}
    with _mistyped(), told(f" (trainer.accelerator={config['accelerator']}; auto takes what is there)"):
        trainer: Trainer = instantiate(
            settled | chosen,
            "trainer",
            enable_model_summary=False,
            num_sanity_val_steps=0,
            **given,
        )
    # each batch as it is: the module casts what the network is given, and compares with the images themselves
    trainer.precision_plugin.convert_input = lambda data: data  # type: ignore[method-assign]
    return trainer


@contextmanager
def _mistyped() -> Iterator[None]:
    """Turn what Lightning raises of a value of a wrong kind into one line."""
    try:
        yield
    except TypeError as error:
        raise UserError(f"trainer: {terminal.one_line(error)}") from None


def alone(devices: Any, device: torch.device) -> bool:
    """Whether ``trainer.devices`` asks for one process."""
    if devices in ("auto", -1, "-1"):
        return device.type != "cuda" or torch.cuda.device_count() == 1
    return len(devices) == 1 if isinstance(devices, list) else str(devices) == "1"


def leads(devices: Any, device: torch.device) -> bool:
    """Whether this process leads its run, and is not one that the first started for another device.

    A run of one process leads itself, also where a scheduler has given it a number among others.
    """
    if alone(devices, device):
        rank_zero_only.rank = 0  # type: ignore[attr-defined]
    return not getattr(rank_zero_only, "rank", 0)


def callbacks(config: Mapping[str, Any]) -> list[Callback]:
    """Build the user's callbacks: those of the group, then those of ``trainer.callbacks``.

    What only watches is left to the process that leads a run, which alone has loggers.

    Raises:
        UserError: one of them cannot be built, or is no callback of Lightning.
    """
    follows = getattr(rank_zero_only, "rank", 0) > 0
    nodes = refusals.callbacks(config).items()
    return [callback(node, key) for key, node in nodes if not (follows and node.get(WATCHES))]


def callback(node: Mapping[str, Any], key: str) -> Callback:
    """Build one of the user's callbacks.

    Args:
        node: its config.
        key: where that stands, for messages.

    Raises:
        UserError: it cannot be built, or is no callback of Lightning.
    """
    try:
        built = instantiate({name: value for name, value in node.items() if name != WATCHES}, key)
    except (TypeError, MisconfigurationException) as error:
        raise UserError(f"{key}: {terminal.one_line(error)}") from None
    if not isinstance(built, Callback):
        raise UserError(f"{key}: {node['_target_']} is not a callback of lightning.pytorch")
    return built


def images_an_epoch(trainer: Trainer, data: ImageDataModule) -> int:
    """Training images that are shown in each epoch, which ``trainer.limit_train_batches`` may cut short."""
    images, batch, limit = len(data.splits["train"]), data.batch_size, trainer.limit_train_batches
    if isinstance(limit, int):
        return min(images, limit * batch)
    return min(images, int(limit * -(-images // batch)) * batch)


@contextmanager
def told(more: str = "") -> Iterator[None]:
    """Turn what Lightning says of the trainer's arguments into one line.

    Args:
        more: what that line ends in.
    """
    try:
        yield
    except MisconfigurationException as error:
        raise UserError(f"trainer: {terminal.one_line(error)}{more}") from None
    except RuntimeError as error:  # Lightning has no type of its own for these
        if not str(error).startswith(_MISTAKES):
            raise
        raise UserError(f"callbacks: {terminal.one_line(error)}") from None
    except ValueError as error:  # of batch normalisation
        if not str(error).startswith(_ALONE):
            raise
        raise UserError(
            "dataset.batch_size: the last batch is a single image, and a layer cannot normalise its one "
            "pixel; give another batch_size or train_size"
        ) from None


def share_log() -> None:
    """Let Lightning's messages reach the job's log file, and warnings too, instead of the screen."""
    logging.captureWarnings(True)
    warnings.filterwarnings("ignore", "The `srun` command is available")  # advice for runs that span nodes
    for name in LOGGERS:
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
