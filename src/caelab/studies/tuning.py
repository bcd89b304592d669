"""What a study tunes on validation before it runs the best over the seeds: grids and spaces."""

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from caelab.errors import UserError

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

    def on(self, dataset: str) -> bool:
        """Whether it is for that dataset."""
        return self.datasets is None or dataset in self.datasets

    def points(self) -> list[dict[str, Any]]:
        """Every point of the grid; one empty point where there is none."""
        return [
            dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())
        ]

    def holds(self, point: Mapping[str, Any]) -> bool:
        """Whether a point read from disk is of the space: any other text would become an override."""
        return point.keys() == self.space.keys() and all(
            value in self.space[key] if _is_choices(self.space[key]) else type(value) in (int, float)
            for key, value in point.items()
        )


@dataclass(frozen=True)
class Tuning:
    """A search on validation whose best point is then run over the seeds.

    Attributes:
        entries: label -> what is searched: each point of its grid, or its space.
        epochs: of each trial.
        trials: points drawn at random from each grid, where None tries them all; or trials of each space.
        pruner: what ends the trials of a space early; None lets all of them end.
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
            raise UserError(f"{where}: pruner={self.pruner}: must be {' or '.join(PRUNERS)}, or null")
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
