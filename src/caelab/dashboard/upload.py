"""Runs that were trained without W&B, sent there from their records: curves, figures and pictures."""

import hashlib
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from caelab import durable
from caelab.composition import compose
from caelab.data.scale import unit
from caelab.plotting.figures import ALL
from caelab.report.rows import Run
from caelab.runs import results, tracking
from caelab.training import floor, pictures
from caelab.training.loggers.wandb import ID, WandB


def there(entity: str, project: str) -> dict[str, datetime]:
    """Fingerprints of the runs that lie whole in a project of W&B -> when the last of each was begun there.

    None where there is no such project.
    """
    import wandb

    try:
        runs = wandb.Api().runs(f"{entity}/{project}", per_page=1000, lazy=False)
        # one that was left in the middle is sent again
        whole = [run for run in runs if run.state == "finished"]
        begun = {run.config.get("fingerprint"): run.created_at for run in whole}  # the oldest come first
        return {one: datetime.fromisoformat(at).replace(tzinfo=UTC) for one, at in begun.items() if one}
    except ValueError:  # which W&B raises of a project that there is not
        return {}


def send(run: Run, mode: str, entity: str | None, project: str) -> None:
    """Send a finished run to W&B, and note so in its directory.

    Args:
        run: the run.
        mode: ``online``, or ``offline``, which leaves below its directory what ``wandb sync`` sends.
        entity: whose project it is; None is the user's own.
        project: where the run appears.
    """
    record, place = run.record, str(run.path.absolute())
    training = hashlib.sha256(f"{record.fingerprint} {record.finished}".encode()).hexdigest()
    logger = WandB(place, mode, project, entity, run_id=training[:16], **tracking.names(record))
    done = False
    try:
        logger.log_hyperparams(tracking.config(record))
        for row, step in _rows(run):
            logger.log_metrics(row, step)
        _show(run, logger)
        known = floor.kept(record, Path(compose.data_folder()))
        logger.conclude(tracking.summary(record, known), run.path / results.ARTIFACTS["best"])
        done = True
    finally:
        logger.close(failed=not done)
    (run.path / ID).parent.mkdir(exist_ok=True)  # which W&B makes elsewhere where WANDB_DIR says so
    durable.write(run.path / ID, str(logger.version))


def _rows(run: Run) -> Iterator[tuple[dict[str, float], int]]:
    """Figures of each epoch with the steps taken by then, and those of the test split."""
    columns = run.curves
    for number, epoch in enumerate(columns.get("epoch", [])):
        row = {key: values[number] for key, values in columns.items() if not math.isnan(values[number])}
        step = int(row.pop("step", 0))
        yield row | {"epoch": int(epoch)}, step
    record = run.record
    test = {key: value for key, value in record.metrics.items() if key.startswith("test/")}
    yield test | {"epoch": record.time.epochs}, int(record.time.steps)


def _show(run: Run, logger: Any) -> None:
    images, picture = (run.path / results.ARTIFACTS[name] for name in ("images", "reconstructions"))
    if images.exists() and picture.exists():
        with np.load(images) as arrays:
            names = (name for name in arrays.files if name != ALL)
            kept = {name: unit(torch.from_numpy(arrays[name])) for name in names}
        pictures.show_tested([logger], picture, kept)
