"""From a finished run back to its trained network and its data."""

from pathlib import Path
from typing import Any

from caelab import compose, results, trained
from caelab.corruptions import Corruption
from caelab.data.datamodule import ImageDataModule
from caelab.models.autoencoder import Autoencoder
from caelab.results import Record


def load(run: str | Path) -> Autoencoder:
    """Return the network of ``caelab.trained.load``, on the CPU: what the lab's own commands look into."""
    return trained.load(run, "cpu").network


def corruption(record: Record) -> Corruption:
    """Build the corruption that a run was trained and measured with; records older than it had none."""
    built = compose.build(record["config"].get("corruption", results.CLEAN), "corruption")
    assert isinstance(built, Corruption)
    return built


def datamodule(record: Record, **changed: Any) -> ImageDataModule:
    """Build the data that a run used, with other values of the keys in ``changed``; ``setup`` opens them."""
    data = compose.build(record["config"]["dataset"] | changed, "dataset", order_seed=record["seed"])
    assert isinstance(data, ImageDataModule)
    return data
