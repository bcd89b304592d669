"""From a finished run back to its trained network and its data."""

from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from caelab.config import places, source
from caelab.config.build import instantiate
from caelab.config.refusals import limits
from caelab.corruptions import Corruption
from caelab.data.datamodule import ImageDataModule
from caelab.errors import UserError
from caelab.inference import trained
from caelab.models.autoencoder import Autoencoder
from caelab.runs import trust
from caelab.runs.record import Complete

T = TypeVar("T")


def load(run: str | Path, encoder_steps: int | None = None) -> Autoencoder:
    """Return the network of a finished run, on the CPU: what the lab's own commands look into.

    Args:
        run: its directory.
        encoder_steps: of ``caelab.inference.trained.load``.
    """
    return trained.load(run, "cpu", encoder_steps=encoder_steps).network


def corruption(record: Complete) -> Corruption:
    """Build the corruption that a run was trained and measured with."""
    return _built(record, "corruption", Corruption)  # type: ignore[type-abstract]


def loss(record: Complete) -> nn.Module:
    """Build the loss that a run was trained with."""
    return _built(record, "loss", nn.Module)


def datamodule(record: Complete, **changed: Any) -> ImageDataModule:
    """Build the data that a run used, with other values of the keys in ``changed``; ``setup`` opens them.

    Where nothing is changed it also compares them with the record's: other data than the run had are refused.
    """
    data = _built(record, "dataset", ImageDataModule, changed, order_seed=record.seed)
    data.limits = limits(record.config.get("trainer", {}))
    if not changed:
        data.expected = record.data.sha256
    return data


def node(record: Complete, group: str) -> dict[str, Any]:
    """Return what a record says of a group, such as ``dataset``, whose paths are absolute if they are there.

    Raises:
        UserError: it names code that nobody here has vouched for: see ``caelab.runs.trust``.
    """
    found = record.config.get(group)
    where = f"run {record.fingerprint[:10]}"
    if not isinstance(found, dict) or "_target_" not in found:
        raise UserError(f"{where}: its record has no {group}._target_")
    if group == "dataset":
        found = found | places.there(record.places)
    trust.check(found, group, where)
    source.check(found, record.sources, where)
    return found


def _built(
    record: Complete, group: str, kind: type[T], changed: dict[str, Any] | None = None, **given: Any
) -> T:
    built = instantiate(node(record, group) | (changed or {}), group, **given)
    if not isinstance(built, kind):
        raise UserError(f"run {record.fingerprint[:10]}: its {group} is a {type(built).__name__}")
    return built
