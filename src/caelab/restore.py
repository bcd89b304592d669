"""From a finished run back to its trained network and its data."""

from pathlib import Path
from typing import Any

import torch

from caelab import compose, results
from caelab.corruptions import Corruption
from caelab.data.datamodule import ImageDataModule
from caelab.errors import UserError
from caelab.models.autoencoder import Autoencoder
from caelab.results import Record


def checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)  # type: ignore[no-any-return]
    except FileNotFoundError:
        raise UserError(f"{path} is missing; train the run anew with force=true") from None
    except Exception as error:
        reason = type(error).__name__
        raise UserError(
            f"{path} is damaged ({reason}); remove it, or train the run anew with force=true"
        ) from None


def load(run: str | Path) -> Autoencoder:
    """Load the trained network of a finished run: its best checkpoint, on the CPU, in eval mode.

    Args:
        run: the run's directory.

    Returns:
        The network, with ``encode``, ``decode`` and ``reconstruct``.

    Raises:
        UserError: there is no finished run, or its checkpoint is missing or damaged.
    """
    record = results.finished(run)
    net = compose.build(record["config"]["model"], "model", shape=tuple(record["data"]["shape"]))
    assert isinstance(net, Autoencoder)
    state = checkpoint(Path(run, record["artifacts"]["best"]))["state_dict"]
    net.load_state_dict({k.removeprefix("net."): v for k, v in state.items() if k.startswith("net.")})
    return net.eval()


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
