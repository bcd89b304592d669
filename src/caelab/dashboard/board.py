"""What a dashboard shows: runs that W&B knows, in sections, and the keys that they have there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from caelab.composition import compose
from caelab.report.rows import Run, Section
from caelab.runs import results, tracking
from caelab.runs.labels import labels
from caelab.training import floor, pictures
from caelab.training.loggers.wandb import ID

_MOST = 6  # settings that a sweep is drawn against


@dataclass(frozen=True)
class Part:
    """A study or sweep on one dataset, with the runs of it that W&B knows.

    Attributes:
        section: with these runs alone.
        verdicts: on what the study claims, in words, of all its runs.
    """

    section: Section
    verdicts: Sequence[str] = ()

    @cached_property
    def runs(self) -> list[Run]:
        """Its runs, each once."""
        return list({run.path: run for row in self.section.rows for run in row.runs.values()}.values())


@dataclass(frozen=True)
class Board:
    """All that a dashboard shows.

    Attributes:
        title: of the workspace and of the report.
        parts: studies and sweeps.
    """

    title: str
    parts: Sequence[Part]

    @cached_property
    def runs(self) -> list[Run]:
        """Every run once."""
        return list({run.path: run for part in self.parts for run in part.runs}.values())


@dataclass(frozen=True)
class Keys:
    """Keys of runs in W&B.

    Attributes:
        history: of curves and pictures.
        summary: of figures.
        numbers: settings in which the runs differ, as in the config there, that are numbers.
        choices: likewise, groups of options.
    """

    history: frozenset[str]
    summary: frozenset[str]
    numbers: tuple[str, ...]
    choices: tuple[str, ...]


def in_wandb(run: Run) -> bool:
    """Whether a run was trained with W&B, or was sent there since it was trained."""
    note = run.path / ID
    return _live(run) or (note.exists() and is_of(run, datetime.fromtimestamp(note.stat().st_mtime, UTC)))


def is_of(run: Run, sent: datetime | None) -> bool:
    """Whether what was sent at a time (None: never) is of this training of a run, and of none before."""
    return sent is not None and sent >= datetime.fromisoformat(run.record.finished)


def _live(run: Run) -> bool:
    node = run.record.config.get("logger", {}).get("wandb")
    return node is not None and node.get("mode") != "disabled"


def known(section: Section) -> Section:
    """Leave out the runs of a section that W&B lacks."""
    rows = [
        replace(row, runs={seed: run for seed, run in row.runs.items() if in_wandb(run)})
        for row in section.rows
    ]
    return replace(section, rows=[row for row in rows if row.runs])


def keys(runs: Sequence[Run]) -> Keys:
    """Collect what at least one of the runs has."""
    data = Path(compose.data_folder())
    history = {"epoch", *(key for run in runs for key in run.curves)} - {"step"}
    summary: set[str] = set()
    for run in runs:
        history |= _media(run)
        summary |= tracking.summary(run.record, floor.kept(run.record, data)).keys()
    varied = labels([run.record for run in runs])[0] if runs else {}
    numbers = [key for key in varied if "." in key and _is_number(key, runs)]
    choices = [key for key in varied if key in runs[0].record.choices and key != "dataset"]
    return Keys(frozenset(history), frozenset(summary), tuple(numbers[:_MOST]), tuple(choices))


def _media(run: Run) -> set[str]:
    live = _live(run)
    drawn = live or (run.path / results.ARTIFACTS["images"]).exists()
    return {*([pictures.DURING] if live else []), *([pictures.AFTER, pictures.TABLE] if drawn else [])}


def _is_number(key: str, runs: Sequence[Run]) -> bool:
    values = [run.record.settings.get(key) for run in runs]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return len(set(numbers)) > 1
