"""Checkpoints as files: written whole, and the one to go on from."""

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from caelab import durable, terminal
from caelab.errors import UserError
from caelab.inference.trained import checkpoint


class CheckpointFile(TorchCheckpointIO):
    """Writes a checkpoint beside its place, where Lightning goes through the system's temporary folder."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write it whole or not at all.

        Raises:
            OSError: what the disk refuses.
        """
        whole = io.BytesIO()  # into a file torch writes itself, and tells a full disk as a bug
        torch.save(checkpoint, whole)
        Path(path).parent.mkdir(exist_ok=True)
        with durable.file(Path(path)) as file:
            file.write(whole.getbuffer())


def to_resume(last: Path, best: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return path and content of the checkpoint that a run goes on from; None where it has none.

    That is the last one. Where it is damaged the best one takes its place, and repeats the epochs between;
    so it does where it is the newer one, since a kill came before the last one. Where the last one relies on
    a best one that is lost, the run has to start anew.

    Raises:
        UserError: both are damaged.
        OSError: one may not be read, which is no damage.
    """
    if not last.exists():
        return None
    for path in (last, best):
        if path.exists():
            path.open("rb").close()
    chosen = _whole(best)
    try:
        found = checkpoint(last)
    except UserError:
        if chosen is None:
            raise
        terminal.say(f"  {terminal.shown(last)} is damaged; {best.name} takes its place")
        return best, chosen
    if chosen is None and _best(found).get("epoch"):
        terminal.say(f"  {terminal.shown(best)} is lost; the run starts again from the beginning")
        return None
    if chosen is not None and _best(chosen) != _best(found):  # whose figures are of other weights
        return best, chosen
    return last, found


def _best(content: dict[str, Any]) -> dict[str, Any]:
    """Epoch and figures of the best epoch, as a checkpoint knows it."""
    return dict(content["callbacks"].get("Checkpoints", {}))


def _whole(path: Path) -> dict[str, Any] | None:
    try:
        return checkpoint(path)
    except UserError:
        return None
