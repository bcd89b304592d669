"""``metrics.csv``: a row an epoch, which survives a resume."""

import csv
import io
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from caelab import durable


class CSV(Logger):
    """One row an epoch in ``metrics.csv``.

    Unlike Lightning's own, it keeps the epochs before a resume, and a row that an interrupted process left
    for an epoch that is trained again is replaced.

    Args:
        save_dir: directory of the run.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__()
        self.path = Path(save_dir, "metrics.csv")
        self._rows: dict[int, dict[str, Any]] | None = None
        self._next: dict[str, float] = {}  # of no epoch, as some callbacks log: part of the next row

    @property
    def name(self) -> str:
        """Name of the logger."""
        return "csv"

    @property
    def version(self) -> str:
        """One version a run."""
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Leave the config to ``result.json``."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Put ``metrics`` into the row of their epoch, and write the file anew, atomically.

        The test split's figures belong to no epoch; they stand in ``result.json``.
        """
        metrics = {key: value for key, value in metrics.items() if not key.startswith("test/")}
        if metrics.keys() <= {"epoch"}:
            return
        self._next |= metrics
        if "epoch" not in metrics:
            return
        metrics, self._next = self._next, {}
        epoch = int(metrics["epoch"])
        if self._rows is None:
            self._rows = {n: row for n, row in self._read().items() if n < epoch}
        row = self._rows.setdefault(epoch, {"epoch": epoch, "step": step})
        row |= {key: value for key, value in metrics.items() if key != "epoch"}
        columns = list(dict.fromkeys(key for row in self._rows.values() for key in row))
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, columns)
        writer.writeheader()
        writer.writerows(self._rows.values())
        durable.write(self.path, table.getvalue())

    def _read(self) -> dict[int, dict[str, Any]]:
        if not self.path.exists():
            return {}
        with self.path.open(newline="") as file:
            return {int(row["epoch"]): row for row in csv.DictReader(file)}
