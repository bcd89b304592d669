"""TensorBoard with pictures: one slider over the steps at which they were taken."""

from typing import Any

import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray


class TensorBoard(TensorBoardLogger):
    """Lightning's logger, which also takes pictures and tables."""

    def log_image(self, key: str, images: list[NDArray[np.uint8]], step: int | None = None) -> None:
        """Log pictures (H, W, C) in [0, 255] under one tag."""
        for image in images:
            self.experiment.add_image(key, image, step, dataformats="HWC")

    def log_table(self, key: str, columns: list[str], data: list[list[Any]]) -> None:
        """Log a table as text, without the pictures in it."""
        kept = [place for place, cell in enumerate(data[0]) if not isinstance(cell, np.ndarray)]
        rows = [columns, ["---"] * len(columns), *data]
        lines = ("| " + " | ".join(_text(row[place]) for place in kept) + " |" for row in rows)
        self.experiment.add_text(key, "\n".join(lines))


def _text(cell: Any) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)
