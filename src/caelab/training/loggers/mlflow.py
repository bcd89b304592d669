"""MLflow with pictures, and one run for all parts of a run."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import MLFlowLogger
from numpy.typing import NDArray

from caelab import durable

ID = "mlflow.id"
"""File in a run's directory: MLflow's id of the run."""


class MLflow(MLFlowLogger):
    """Lightning's logger, which also takes pictures, and goes on in the same run of MLflow.

    Args:
        save_dir: directory of the run.
        tracking_uri: of the store: a server, or a database such as ``sqlite:///mlflow.db``.
        experiment_name: what runs are compared in.
        run_name: of the run.
    """

    def __init__(self, save_dir: str, tracking_uri: str, experiment_name: str, run_name: str) -> None:
        self._file = Path(save_dir, ID)
        last = Path(save_dir, "checkpoints", "last.ckpt")
        self._going_on = self._file.exists() and last.exists()
        super().__init__(
            experiment_name=experiment_name,
            run_name=run_name,
            tracking_uri=tracking_uri,
            run_id=self._file.read_text() if self._going_on else None,
        )
        if not self._going_on:
            durable.write(self._file, str(self.run_id))

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Log the config, unless the run goes on: MLflow lets no parameter change, and `keep` may."""
        if not self._going_on:
            super().log_hyperparams(params, *args, **kwargs)

    def log_image(self, key: str, images: list[NDArray[np.uint8]], step: int | None = None) -> None:
        """Log pictures (H, W, C) in [0, 255] under one key."""
        for image in images:
            self.experiment.log_image(self.run_id, image, key=key, step=step)

    def conclude(self, summary: Mapping[str, Any], best: Path) -> None:
        """Log the summary's numbers, so that those of the best epoch come last, and its words as tags."""
        numbers = {key: value for key, value in summary.items() if isinstance(value, int | float)}
        self.log_metrics({key: float(value) for key, value in numbers.items()})
        for key in summary.keys() - numbers.keys():
            self.experiment.set_tag(self.run_id, key, summary[key])

    def close(self, failed: bool) -> None:
        """End the run in MLflow, as failed or finished."""
        self.finalize("failed" if failed else "success")
