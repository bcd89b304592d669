"""What a run leaves behind: how its record is begun and recognised, and the figures of its analyses.

Imports nothing heavy, so that a finished run answers at once.
"""

import json
import os
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from caelab import durable
from caelab.config.fingerprint import GROUPS
from caelab.config.job import Job
from caelab.errors import UserError
from caelab.runs import record_file
from caelab.runs.record import RECORD, SCHEMA, Complete, Record, is_finished, load

PREVIOUS = "previous"
"""Folder of a run directory: the run that a forced one takes the place of."""
ARTIFACTS = {
    "best": "checkpoints/best.ckpt",
    "last": "checkpoints/last.ckpt",
    "reconstructions": "reconstructions.png",
    "images": "reconstructions.npz",
    "curves": "metrics.csv",
    "log": "train.log",
    "config": ".hydra/config.yaml",
}
"""Name of what a run leaves -> its path in the run directory."""
FOLDERS = ("evaluations", "export", "tensorboard")
"""What else is made in a run directory, but by analyses; W&B's folder may hold what is not uploaded yet."""


@dataclass(frozen=True)
class _Tied:
    """What the file of any analysis holds: the training that it is of, and figures."""

    fingerprint: str
    finished: str
    figures: dict[str, float]


def start(job: Job) -> Record:
    """Begin the record of a run with what is known before it: what it is, and when it began."""
    return Record(
        status="failed",
        error="not finished",
        fingerprint=job.identity,
        started=now(),
        finished=now(),
        overrides=job.overrides,
        sweep=os.environ.get("CAELAB_SWEEP"),
        choices={key: job.choices[key] for key in GROUPS if key in job.choices},
        config=job.config,
        places={key: path for key, path in job.places.items() if path != job.config["dataset"][key]},
        origin=job.origin or {},
        sources=job.sources,
        seed=job.config["seed"],
    )


def now() -> str:
    """Return the time as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read(run: str | Path) -> Record | None:
    """Read the record of a run directory; None where there is none.

    Raises:
        UserError: the file is damaged, of another schema, or no record of a run.
    """
    path = Path(run) / RECORD
    try:
        return load(path)
    except record_file.DAMAGE as error:
        raise UserError(f"{path} is not a readable run record ({error}); remove it to train again") from None


def complete(run_dir: Path, record: Record, trial: bool = False) -> bool:
    """Whether a run is finished and its checkpoint did not get lost on the way to the disk.

    A power cut leaves it empty. Where it is missing somebody has removed it, and the record stands.

    Args:
        run_dir: of the run.
        record: of the run.
        trial: whether it need not have been tested.
    """
    best = run_dir / ARTIFACTS["best"]
    lost = best.is_file() and not best.stat().st_size
    return (is_finished(record) or (trial and isinstance(record, Complete))) and not lost


def settled(run_dir: Path, identity: str, trial: bool = False) -> Complete | None:
    """Return the record of a run that finished in ``run_dir`` with this fingerprint, if there is one.

    Args:
        run_dir: of the run.
        identity: fingerprint.
        trial: whether it need not have been tested.
    """
    record = read(run_dir)
    if not isinstance(record, Complete) or record.fingerprint != identity:
        return None
    return record if complete(run_dir, record, trial) else None


def finished(run: str | Path) -> Complete:
    """Read the record of a run that must be finished.

    Raises:
        UserError: there is no record, or it says that the run failed, or that it is a trial.
    """
    record = read(run)
    if record is None:
        hint = "the run is not finished" if Path(run).is_dir() else "no such directory"
        raise UserError(f"{run}: no {RECORD} there ({hint}); give the directory of a finished run")
    if not is_finished(record):
        raise UserError(f"{run}: {unfinished(record)}")
    return record


def unfinished(record: Record) -> str:
    """Say why a run is not finished, and what finishes it."""
    if record.status == "trial":
        command = shlex.join(["caelab", "train", *record.overrides])
        return f"that run is a trial, not yet tested; to test it: {command}"
    what = "failed" if record.status == "failed" else "ended early"
    return f"that run {what} ({record.error}); train it again first"


def write_analysis(run_dir: Path, name: str, record: Record, analysis: dict[str, Any]) -> None:
    """Write what an analysis found in a finished run as ``<name>.json``, atomically.

    Args:
        run_dir: the run's directory.
        name: of the analysis, such as ``audit``.
        record: the run's record, which the file is tied to: no later training takes it for its own.
        analysis: ``figures`` (flat: key -> number), and any details.

    Raises:
        ValueError: it holds NaN or infinity.
    """
    content = {"schema": SCHEMA, "fingerprint": record.fingerprint, "finished": record.finished, **analysis}
    durable.write(run_dir / f"{name}.json", json.dumps(content, indent=2, allow_nan=False) + "\n")


def analysis(run_dir: Path, name: str, record: Record) -> dict[str, Any] | None:
    """Read ``<name>.json`` of a run; None where it is missing, damaged, or of another training."""
    found = _analysis(run_dir / f"{name}.json")
    tie = {"schema": SCHEMA, "fingerprint": record.fingerprint, "finished": record.finished}
    return found if found is not None and tie.items() <= found.items() else None


def is_analysis(path: Path) -> bool:
    """Whether a file holds an analysis of a run, whichever."""
    return _analysis(path) is not None


def _analysis(path: Path) -> dict[str, Any] | None:
    try:
        found = record_file.parse(record_file.text(path))
        record_file.typed(_Tied, found)
    except record_file.DAMAGE:
        return None
    return found


def analyses(run_dir: Path, record: Record) -> dict[str, float]:
    """Figures of all analyses of a run: those that hold for this very training of it."""
    names = (Path(name) for name in record_file.files(run_dir) if name != RECORD)
    jsons = [name.stem for name in names if name.suffix == ".json"]
    found = [one for name in jsons if (one := analysis(run_dir, name, record)) is not None]
    return {key: value for one in found for key, value in one["figures"].items()}


def figures(run_dir: Path, record: Complete) -> dict[str, float]:
    """Every figure of a run: its metrics, and those of its analyses.

    ``test/latent_reliance`` is there too where an audit alone has measured it.
    """
    found = analyses(run_dir, record)
    audited = found.get("audit/latent_reliance")
    return ({} if audited is None else {"test/latent_reliance": audited}) | record.metrics | found
