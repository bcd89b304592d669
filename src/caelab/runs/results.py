"""The run record: what a run leaves behind, how it is recognised, read, written and found again.

Reads and writes plain JSON and imports nothing heavy, so that a finished run answers at once.
"""

import json
import os
import shlex
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from caelab import durable
from caelab.config.fingerprint import GROUPS, IRRELEVANT, acting, later
from caelab.config.job import Job
from caelab.errors import UserError
from caelab.runs import record_file

SCHEMA = 1
RECORD = "result.json"
PREVIOUS = "previous"
"""Folder of a run directory: the run that a forced one takes the place of."""
SEARCH = "search.json"
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

TRAINED = ("finished", "trial")
"""Status of a run that was trained to its end; only a trial is not tested, since a study chooses by it."""
BYPASSING = 0.5
"""Latent reliance below which a run is marked as bypassing its latent."""

_PCA = {"model._target_": "caelab.models.pca.PCA", "model.shrinkage": "none", "model.refine": 0}
# What an analysis shares with the record of the training that it looked into.
_TIE = ("fingerprint", "finished")

Record = dict[str, Any]


def start(job: Job) -> Record:
    """Begin the record of a run with what is known before it: what it is, and when it began."""
    moved = {key: path for key, path in job.places.items() if path != job.config["dataset"][key]}
    return {
        "schema": SCHEMA,
        "fingerprint": job.identity,
        "status": "failed",
        "error": "not finished",
        "started": now(),
        "finished": now(),
        "overrides": job.overrides,
        "sweep": os.environ.get("CAELAB_SWEEP"),
        "choices": {key: job.choices[key] for key in GROUPS if key in job.choices},
        "config": job.config,
        **({"places": moved} if moved else {}),
        **({"from": job.origin} if job.origin else {}),
        **({"sources": job.sources} if job.sources else {}),
        "seed": job.config["seed"],
    }


def model(record: Record) -> dict[str, Any]:
    """Config of a run's network as it was trained: fitted to few images it may have fewer numbers than asked.

    One that learns by gradients keeps its latent.
    """
    config: dict[str, Any] = record["config"]["model"]
    asked, latent = config.get("latent"), record["size"]["latent"]
    fewer = untrained(record) and isinstance(asked, int) and latent < asked
    return config | {"latent": latent} if fewer else config


def untrained(record: Record) -> bool:
    """Whether a finished run took no gradient step, so that a seed changes little or nothing."""
    return not record["time"]["epochs"]


def floor(record: Record) -> str:
    """Name of the floor that a run is, such as ``PCA``; empty for others. Records older than 0.4 lack it."""
    name: str = record.get("floor", "")
    return name or ("PCA" if _PCA.items() <= settings(record).items() else "")


def settings(record: Record) -> dict[str, Any]:
    """Key, as on the command line -> value, of every setting of a run that can change its figures.

    A key that is younger than the record has the value that means what the run did. Places are left out.
    Empty for a run that was never composed.
    """
    config = record.get("config") or {}
    folders = [*config.get("paths", {}).values()]
    found = dict(_leaves(later(config))) | dict(_leaves(acting(config))) if config else {}
    if "from" in record:
        found["from"] = record["from"]["run"]
    return {
        key: value
        for key, value in found.items()
        if value not in folders and not f"{key}.".startswith(tuple(f"{one}." for one in IRRELEVANT))
    }


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def now() -> str:
    """Return the time as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write(run_dir: Path, record: Record) -> None:
    """Write ``result.json`` atomically: it is whole or it is not there.

    Raises:
        ValueError: the record holds NaN or infinity.
    """
    _write(run_dir / RECORD, record)


def _write(path: Path, found: dict[str, Any]) -> None:
    durable.write(path, json.dumps(found, indent=2, allow_nan=False) + "\n")


def read(run: str | Path) -> Record | None:
    """Read the record of a run directory; None where there is none.

    Raises:
        UserError: the file is damaged, of another schema, or no record of a run.
    """
    path = Path(run) / RECORD
    try:
        return record_file.read(path, SCHEMA)
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
    return record["status"] in (TRAINED if trial else ("finished",)) and not lost


def settled(run_dir: Path, identity: str, trial: bool = False) -> Record | None:
    """Return the record of a run that finished in ``run_dir`` with this fingerprint, if there is one.

    Args:
        run_dir: of the run.
        identity: fingerprint.
        trial: whether it need not have been tested.
    """
    record = read(run_dir)
    done = record is not None and record["fingerprint"] == identity and complete(run_dir, record, trial)
    return record if done else None


def finished(run: str | Path) -> Record:
    """Read the record of a run that must be finished.

    Raises:
        UserError: there is no record, or it says that the run failed, or that it is a trial.
    """
    record = read(run)
    if record is None:
        hint = "the run is not finished" if Path(run).is_dir() else "no such directory"
        raise UserError(f"{run}: no {RECORD} there ({hint}); give the directory of a finished run")
    if record["status"] != "finished":
        raise UserError(f"{run}: {unfinished(record)}")
    return record


def unfinished(record: Record) -> str:
    """Say why a run is not finished, and what finishes it."""
    if record["status"] == "trial":
        command = shlex.join(["caelab-train", *record["overrides"]])
        return f"that run is a trial, which no test image was shown; this has it tested: {command}"
    what = "failed" if record["status"] == "failed" else "ended early"
    return f"that run {what} ({record['error']}); start it again first"


def write_search(folder: Path, found: Record) -> None:
    """Write what a search of a study has found as ``search.json``, atomically."""
    _write(folder / SEARCH, {"schema": SCHEMA, **found})


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
    _write(run_dir / f"{name}.json", {"schema": SCHEMA, **{key: record[key] for key in _TIE}, **analysis})


def analysis(run_dir: Path, name: str, record: Record) -> dict[str, Any] | None:
    """Read ``<name>.json`` of a run; None where it is missing, damaged, or of another training."""
    found = _analysis(run_dir / f"{name}.json")
    tie = {"schema": SCHEMA, **{key: record.get(key) for key in _TIE}}
    return found if found is not None and tie.items() <= found.items() else None


def is_analysis(path: Path) -> bool:
    """Whether a file holds an analysis of a run, whichever."""
    return _analysis(path) is not None


def _analysis(path: Path) -> dict[str, Any] | None:
    try:
        found = record_file.parse(record_file.text(path))
        record_file.check(found, {"figures": {"": record_file.NUMBER}, **dict.fromkeys(_TIE, str)})
    except record_file.DAMAGE:
        return None
    return found


def analyses(run_dir: Path, record: Record) -> dict[str, float]:
    """Figures of all analyses of a run: those that hold for this very training of it."""
    names = sorted(path.stem for path in run_dir.glob("*.json") if path.name != RECORD)
    found = [one for name in names if (one := analysis(run_dir, name, record)) is not None]
    return {key: value for one in found for key, value in one["figures"].items()}


def figures(run_dir: Path, record: Record) -> dict[str, float]:
    """Every figure of a finished run: its metrics, and those of its analyses.

    ``test/latent_reliance`` is there too where an older record leaves it to be concluded: from an audit, or
    because nothing goes around the latent.
    """
    found = record["metrics"] | analyses(run_dir, record)
    reliance = found.get("audit/latent_reliance", latent_reliance(record))
    return {**({} if reliance is None else {"test/latent_reliance": reliance}), **found}


def latent_reliance(record: Record) -> float | None:
    """Latent reliance of a finished run, in [0, 1], as far as its record tells; None where it does not.

    Records from before it was measured, and before corruptions, tell it of models without skips only: there
    it is 1, unless the code is empty.
    """
    size = record.get("size", {})
    honest = 0 < size.get("latent", 0) == size.get("effective_code")
    concluded = 1.0 if honest and "corruption" not in record.get("config", {}) else None
    found: float | None = record["metrics"].get("test/latent_reliance", concluded)
    return found
