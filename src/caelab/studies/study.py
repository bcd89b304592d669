"""What a study is: rows on datasets, each a run over several seeds, some of them searched for first."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from caelab.config.grammar import written
from caelab.runs.record import SearchRecord
from caelab.studies.tuning import Entry, Tuning
from caelab.studies.variants import Variant, point_text

Score = Callable[[Variant], float | None]
"""What a trial's finished run reached on validation: the greater, the better; None where there is none."""


@dataclass(frozen=True)
class Study:
    """A study at one budget.

    Attributes:
        name: as in ``study=table2``.
        title: a heading.
        text: what it asks, and anything a reader must know.
        datasets: options of the dataset group; each is a table of its own.
        epochs: of each trained run whose row does not say it itself.
        recipe: overrides of every trained row, before its own.
        runs: label -> trained rows.
        floors: label -> rows fitted without training.
        tune: rows that are searched for first.
        seeds: runs a row, with seeds 0, 1, ...
        train_size: training images; None is all.
        batch_size: of each row that does not say it itself; None is the dataset's own.
        reference: label of the row that the others are compared with; None: all with all.
        axis: key of a grid that is the x axis of the study's figure.
        published: dataset -> label -> the report's figures (psnr in dB, ssim, loss).
        claims: what the report says of these rows; see ``caelab.report.claims``.
        after: analyses of each finished run, by name: see ``caelab.runs.analyses``.
        apart: whether ``study=all`` leaves it out: it takes many hours, or a GPU.
        common: overrides of every row, after its own; the user's own come here.
    """

    name: str
    title: str
    text: str
    datasets: Sequence[str]
    epochs: int
    recipe: Sequence[str] = ()
    runs: Mapping[str, Entry] = field(default_factory=dict)
    floors: Mapping[str, Entry] = field(default_factory=dict)
    tune: Tuning | None = None
    seeds: int = 3
    train_size: int | None = None
    batch_size: int | None = None
    reference: str | None = None
    axis: str | None = None
    published: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    claims: Sequence[Mapping[str, Any]] = ()
    after: Sequence[str] = ()
    apart: bool = False
    common: Sequence[str] = ()

    @property
    def entries(self) -> list[tuple[str, Entry]]:
        """Every label with its entry: of what is tuned, of other trained rows, and of floors."""
        parts = (self.tune.entries if self.tune else {}, self.runs, self.floors)
        return [one for part in parts for one in part.items()]

    def labels(self, dataset: str) -> list[str]:
        """Label of each row on that dataset; a row that is searched for has one before it is found."""
        tuned = self.tune.entries if self.tune else {}
        searched = (label for label, entry in tuned.items() if entry.on(dataset))
        return [*searched, *(row.label for row in self._untuned(dataset))]

    def trials(self, dataset: str) -> dict[str, list[Variant]]:
        """Label of each row that is searched for -> its trials on that dataset."""
        if self.tune is None:
            return {}
        return {
            label: [
                self.variant(f"{label}, {point_text(point)}", entry, point, dataset, self.tune.epochs)
                for point in self.tune.points(label)
            ]
            for label, entry in self.tune.entries.items()
            if not entry.space and entry.on(dataset)
        }

    def searches(self, dataset: str) -> list["Search"]:
        """The rows whose space is searched on that dataset."""
        entries = self.tune.entries if self.tune else {}
        return [
            Search(self, label, dataset)
            for label, entry in entries.items()
            if entry.space and entry.on(dataset)
        ]

    def variants(
        self, dataset: str, score: Score, searches: Mapping[str, SearchRecord] = MappingProxyType({})
    ) -> list[Variant]:
        """The rows on that dataset, floors last.

        Args:
            dataset: one of its datasets.
            score: of a trial. The best trial of each grid becomes a row, once all its trials are there.
            searches: name of a search -> what it found. The best trial of each search becomes a row, too.
        """
        rows = []
        for search in self.searches(dataset):
            point = search.best(searches.get(search.name))
            if point is not None:
                rows.append(self.variant(search.label, search.entry, point, dataset, self.epochs))
        for label, trials in self.trials(dataset).items():
            assert self.tune
            scores = [score(trial) for trial in trials]
            if None not in scores:
                best = trials[max(range(len(trials)), key=lambda i: scores[i] or 0.0)]
                entry = self.tune.entries[label]
                rows.append(self.variant(label, entry, best.settings, dataset, self.epochs))
        return rows + self._untuned(dataset)

    def _untuned(self, dataset: str) -> list[Variant]:
        return [
            self.variant(_label(label, point), entry, point, dataset, self.epochs, floor)
            for entries, floor in ((self.runs, False), (self.floors, True))
            for label, entry in entries.items()
            if entry.on(dataset)
            for point in entry.points()
        ]

    def variant(
        self,
        label: str,
        entry: Entry,
        point: Mapping[str, Any],
        dataset: str,
        epochs: int,
        floor: bool = False,
    ) -> Variant:
        """Return a row of the study at one point of its grid or space."""
        shared = {
            "trainer.max_epochs": None if floor else epochs,
            "dataset.train_size": self.train_size,
            "dataset.batch_size": self.batch_size,
        }
        own = (
            *([] if floor else self.recipe),
            *entry.overrides,
            *(f"{key}={written(value)}" for key, value in point.items()),
        )
        said = {override.partition("=")[0] for override in own}
        more = (f"{key}={value}" for key, value in shared.items() if value is not None and key not in said)
        return Variant(label, dataset, (f"dataset={dataset}", *own, *more, *self.common), dict(point), floor)


def _label(label: str, point: Mapping[str, Any]) -> str:
    return f"{label}, {point_text(point)}" if point else label


@dataclass(frozen=True)
class Search:
    """A row of a study on one dataset whose space is searched.

    Attributes:
        study: whose row it is.
        label: of the row.
        dataset: option of the dataset group.
    """

    study: Study
    label: str
    dataset: str

    @property
    def tune(self) -> Tuning:
        """The study's tuning."""
        assert self.study.tune
        return self.study.tune

    @property
    def entry(self) -> Entry:
        """The row as the study's YAML describes it."""
        return self.tune.entries[self.label]

    @property
    def name(self) -> str:
        """What tells it from any other search; more trials of the same make it the same."""
        identity = [self.trial({}).identity(self.tune.seed), dict(self.entry.space), self.tune.pruner]
        digits = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        return f"{self.study.name}-{self.dataset}-{digits[:10]}"

    def trial(self, point: Mapping[str, Any]) -> Variant:
        """Return the variant at a point of the space, with the epochs of a trial."""
        label = f"{self.label}, {point_text(point)}"
        return self.study.variant(label, self.entry, point, self.dataset, self.tune.epochs)

    def best(self, record: SearchRecord | None) -> Mapping[str, Any] | None:
        """Return the best point of what it has found; None before as many trials are done as are asked for.

        What was found may be of fewer trials: those of the study's quick version, or of an earlier one.
        """
        if not record or not record.best:
            return None
        done = sum(trial.state != "failed" for trial in record.history)
        point: Mapping[str, Any] = record.best["point"]
        return point if done >= (self.tune.trials or 0) and self.entry.holds(point) else None

    def folder(self, output: str | Path) -> Path:
        """Return where its trials are kept below the folder of all runs."""
        return Path(output, "searches", self.name)
