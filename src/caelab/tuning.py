"""What a study tunes on validation before it runs the best over the seeds: grids and spaces."""

import hashlib
import itertools
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caelab.errors import UserError
from caelab.variants import Variant, point_text
from caelab.words import written

if TYPE_CHECKING:
    from caelab.studies import Study

TRIAL = "CAELAB_TRIAL"
"""Environment variable of a run that is a trial: ``GRID``, or what ``caelab.search.attach`` takes."""
GRID = "grid"
PRUNERS = ("median", "hyperband")
_SEARCH_SEED = 20231  # of the points that a random search draws: the same in every sweep and report


@dataclass(frozen=True)
class Entry:
    """A row as a study's YAML describes it, or several: one for each point of its grid.

    Attributes:
        overrides: as on the command line.
        grid: key -> values.
        space: key -> choices, or a range ``{low:, high:}`` with ``log: true`` where its logarithm is searched
            evenly; a range between whole numbers has whole numbers. Only a row that is tuned has one.
        datasets: the only ones it is for; None is all of the study's.
    """

    overrides: Sequence[str] = ()
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    space: Mapping[str, Any] = field(default_factory=dict)
    datasets: Sequence[str] | None = None

    def points(self) -> list[dict[str, Any]]:
        """Every point of the grid; one empty point where there is none."""
        return [
            dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())
        ]


@dataclass(frozen=True)
class Tuning:
    """A search on validation PSNR whose best point is then run over the seeds.

    Attributes:
        entries: label -> what is searched: each point of its grid, or its space.
        epochs: of each trial.
        trials: points drawn at random from each grid, where None tries them all; or trials of each space.
        pruner: what ends the trials of a space early; None lets all of them end: see ``caelab.search``.
        seed: of the trials, none of those that are reported.
    """

    entries: Mapping[str, Entry]
    epochs: int
    trials: int | None = None
    pruner: str | None = "median"
    seed: int = 1000

    def points(self, label: str) -> list[dict[str, Any]]:
        """The points that are tried for the entry of that label."""
        every = self.entries[label].points()
        if self.trials is None or self.trials >= len(every):
            return every
        return random.Random(_SEARCH_SEED).sample(every, self.trials)

    def check(self, where: str) -> None:
        """Refuse a space that cannot be searched.

        Raises:
            UserError: no number of trials, an unknown pruner, or a space that is neither choices nor a range.
        """
        if self.pruner is not None and self.pruner not in PRUNERS:
            raise UserError(f"{where}: pruner={self.pruner}: there is {' and '.join(PRUNERS)}, or null")
        for label, entry in self.entries.items():
            if entry.space and (not isinstance(self.trials, int) or self.trials < 1):
                raise UserError(f"{where}.{label}: a space needs trials, a whole number, 1 or more")
            if entry.space and entry.grid:
                raise UserError(f"{where}.{label}: give a grid or a space; a space takes choices too")
            for key, values in entry.space.items():
                if not (_is_choices(values) or _is_range(values)):
                    raise UserError(
                        f"{where}.{label}: space.{key}={values}: give a list of choices, or low and high "
                        "with low < high, and log: true for a positive range"
                    )


def _is_choices(values: Any) -> bool:
    return isinstance(values, list) and bool(values)


def _is_range(values: Any) -> bool:
    if not isinstance(values, Mapping) or not {"low", "high"} <= values.keys() <= {"low", "high", "log"}:
        return False
    ends = [values["low"], values["high"]]
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in ends)
    log = values.get("log", False)
    return numbers and ends[0] < ends[1] and isinstance(log, bool) and (not log or ends[0] > 0)


def as_trial(job: Sequence[str], reference: str = GRID) -> tuple[str, ...]:
    """Overrides of a run that is a trial: it is chosen by, so it never reads the test split.

    Args:
        job: overrides of the run.
        reference: ``GRID``, or of a trial of a search what names it.
    """
    return (*job, f"+hydra.job.env_set.{TRIAL}={written(reference)}")


@dataclass(frozen=True)
class Search:
    """A row of a study on one dataset whose space is searched.

    Attributes:
        study: whose row it is.
        label: of the row.
        dataset: option of the dataset group.
    """

    study: "Study"
    label: str
    dataset: str

    @property
    def tune(self) -> Tuning:
        """The study's tuning."""
        assert self.study.tune
        return self.study.tune

    @property
    def space(self) -> Mapping[str, Any]:
        """Key -> choices or a range."""
        return self.tune.entries[self.label].space

    @property
    def name(self) -> str:
        """What tells it from any other search; more trials of the same make it the same."""
        identity = [self.trial({}).identity(self.tune.seed), dict(self.space), self.tune.pruner]
        digits = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        return f"{self.study.name}-{self.dataset}-{digits[:10]}"

    def trial(self, point: Mapping[str, Any]) -> Variant:
        """Return the variant at a point of the space, with the epochs of a trial."""
        label = f"{self.label}, {point_text(point)}"
        return self.study.variant(label, self.tune.entries[self.label], point, self.dataset, self.tune.epochs)

    def best(self, found: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """Return the best point of what it has found; None before as many trials are done as are asked for.

        What was found may be of fewer trials: those of the study's quick version, or of an earlier one.
        """
        if not found or not found["best"]:
            return None
        done = sum(trial["state"] != "failed" for trial in found["history"])
        point: Mapping[str, Any] = found["best"]["point"]
        return point if done >= (self.tune.trials or 0) and self._holds(point) else None

    def _holds(self, point: Mapping[str, Any]) -> bool:
        """Whether a point read from disk is of the space: any other text would become an override."""
        return point.keys() == self.space.keys() and all(
            value in self.space[key] if _is_choices(self.space[key]) else type(value) in (int, float)
            for key, value in point.items()
        )

    def folder(self, output: str | Path) -> Path:
        """Return where its trials are kept below the folder of all runs."""
        return Path(output, "searches", self.name)
