"""The runs on disk by what they are, and what a trial among them reached."""

import math
from collections.abc import Mapping
from pathlib import Path

from caelab.runs import records
from caelab.runs.record import Complete, Record
from caelab.studies.study import Score, Study
from caelab.studies.variants import Variant

Index = Mapping[str, tuple[Path, Record]]
"""Fingerprint -> directory and record of a run, finished or failed."""


def index(*roots: str | Path) -> dict[str, tuple[Path, Record]]:
    """Every run below the directories, by its fingerprint; of equal runs a finished one, or else a trial."""
    runs: dict[str, tuple[Path, Record]] = {}
    for root in roots:
        for path, record in records.find(root):
            other = runs.get(record.fingerprint)
            if other is None or _worth(record) >= _worth(other[1]):
                runs[record.fingerprint] = (path, record)
    return runs


def _worth(record: Record) -> int:
    return ("trial", "finished").index(record.status) if isinstance(record, Complete) else -1


def score(study: Study, runs: Index) -> Score:
    """What a trial reached on validation, from the runs on disk: the greater, the better."""

    def read(trial: Variant) -> float | None:
        assert study.tune
        run = runs.get(trial.identity(study.tune.seed)) if runs else None  # composing takes long
        if run is None or run[1].status == "pruned":  # by another study's search
            return None
        record = run[1]
        return record.score(record.select) if isinstance(record, Complete) else -math.inf  # too high a rate

    return read
