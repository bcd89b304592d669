"""What a report speaks of: the rows of a study, each a variant with its finished runs over seeds."""

import csv
import json
import math
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caelab.metrics.measures import score
from caelab.runs import record_file, records, results
from caelab.runs.labels import display
from caelab.runs.record import BYPASSING, Complete, SearchRecord, chosen_by
from caelab.terminal import one_line
from caelab.texts import file_name

SHOWN = 40
"""Trained rows of a section that figures show, at most; its CSV has them all."""
LISTED = 500
"""Trained rows that the table of an HTML page lists, at most."""
_FLOORS = 20  # floors, likewise

STILL_IMPROVING = 0.1
"""Gain of validation PSNR (dB) in the last fifth of the epochs above which a run has not converged."""


@dataclass(frozen=True)
class Run:
    """A finished run: its directory and its record."""

    path: Path
    record: Complete

    @cached_property
    def curves(self) -> dict[str, list[float]]:
        """Column of ``metrics.csv`` (``epoch``, ``train/loss``, ``val/psnr``) -> its value in each row.

        NaN where it has none, as at an epoch without validation. Empty where the run kept no file; a damaged
        one is named and left out.
        """
        path = self.path / str(self.record.artifacts.get("curves", "metrics.csv"))
        try:
            rows = list(csv.DictReader(record_file.text(path).splitlines(), restkey="", restval=""))
            return {key: [float(row[key] or "nan") for row in rows] for key in (rows[0] if rows else ())}
        except FileNotFoundError:
            return {}
        except (*record_file.DAMAGE, TypeError, csv.Error) as error:
            records.left_out(path, "file of curves", one_line(error))
            return {}

    def curve(self, key: str) -> dict[float, float]:
        """Epoch, from 0 -> value of a column of ``curves``, at the epochs that have one."""
        rows = zip(self.curves.get("epoch", ()), self.curves.get(key, ()), strict=False)
        return {epoch: value for epoch, value in rows if not math.isnan(epoch + value)}

    @cached_property
    def start(self) -> str:
        """What its weights started from, but for the seed: its network's settings, own code, training images.

        Equal for runs that begin with the same weights at the same seed. Other networks and bottlenecks draw
        others, and so does what goes on from another run.
        """
        settings, data = self.record.settings, self.record.data
        network = {
            key: value for key, value in settings.items() if key.startswith(("model.", "bottleneck.", "from"))
        }
        code = {name: digest for name, digest in self.record.sources.items() if name in network.values()}
        images = [data.name, data.train, data.val, data.sha256, self.record.classes]
        return json.dumps([network, code, self.record.origin, images], sort_keys=True)

    @cached_property
    def figures(self) -> dict[str, float]:
        """Key -> figure: the record's metrics, and what analyses of the run found."""
        return results.figures(self.path, self.record)

    @property
    def gain(self) -> float:
        """Validation PSNR (dB) that the last fifth of the epochs, or the last one, added; 0 where unknown.

        Between two validations it is taken to rise evenly.
        """
        psnr = self.curve("val/psnr")
        if not psnr:
            return 0.0
        last, best = max(self.curves["epoch"]), np.maximum.accumulate(list(psnr.values()))
        early = last - max(1, (last + 1) // 5)
        return float(best[-1] - np.interp(early, list(psnr), best))


@dataclass(frozen=True)
class Row:
    """One variant of a study on one dataset.

    Attributes:
        label: its name in tables and figures, unique in its section.
        dataset: option of the dataset group.
        floor: whether it is fitted without training (PCA, the mean image).
        settings: what the study varies, by config key: ``{"model.latent": 64}``.
        runs: finished runs by seed; a floor has one, whatever its seed.
        missing: seed -> why there is no finished run.
        published: the report's figures for it: ``psnr`` (dB), ``ssim``, ``loss``; empty where it has none.
    """

    label: str
    dataset: str
    floor: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    runs: Mapping[int, Run] = field(default_factory=dict)
    missing: Mapping[int, str] = field(default_factory=dict)
    published: Mapping[str, float] = field(default_factory=dict)

    def values(self, metric: str) -> dict[int, float]:
        """Seed -> figure, for a key such as ``test/psnr`` or ``audit/latent_reliance``; only where it is."""
        found = {seed: run.figures.get(metric) for seed, run in sorted(self.runs.items())}
        return {seed: float(value) for seed, value in found.items() if value is not None}

    def curve(self, key: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """Epochs from 1, (E,), at which all N runs with that curve have a value, and their values, (N, E)."""
        runs = [found for run in self.runs.values() if (found := run.curve(key))]
        epochs = sorted(set.intersection(*map(set, runs))) if runs else []
        return np.array(epochs) + 1, np.array([[run[epoch] for epoch in epochs] for run in runs])

    def starts(self, metric: str) -> dict[Hashable, float]:
        """Seed and ``Run.start`` -> figure; two rows have the same keys where their runs begin alike."""
        return {(seed, self.runs[seed].start): value for seed, value in self.values(metric).items()}

    def mean(self, part: str, key: str) -> float | None:
        """Mean over the runs of a place in their records, like ``size`` and ``parameters``; None without."""
        found = [getattr(getattr(run.record, part), key) for run in self.runs.values()]
        return fmean(found) if found and None not in found else None

    @property
    def select(self) -> str:
        """Key of the figure that its runs' checkpoints were chosen by."""
        return chosen_by(run.record for run in self.runs.values())

    def score(self, key: str) -> float:
        """Mean of a validation figure over the runs, negated where less is better; -inf without runs."""
        values = self.values(key).values()
        return score(key, fmean(values)) if values else -math.inf

    @property
    def gain(self) -> float:
        """Mean over the runs of what the last fifth of their epochs added to validation PSNR (dB)."""
        return fmean(run.gain for run in self.runs.values()) if self.runs else 0.0

    @property
    def bypassing(self) -> bool:
        """Whether the runs' pictures go around the latent, as far as it is known."""
        found = self.values("test/latent_reliance").values()
        return bool(found) and fmean(found) < BYPASSING

    @property
    def honest(self) -> bool:
        """Whether the runs' pictures are known to come through the latent: nothing else carries them."""
        found = self.values("test/latent_reliance").values()
        return bool(found) and fmean(found) >= BYPASSING

    @property
    def improving(self) -> bool:
        """Whether the runs had visibly not converged when they ended."""
        return not self.floor and self.gain > STILL_IMPROVING


@dataclass(frozen=True)
class Section:
    """A study on one dataset.

    Attributes:
        study: name of the study, as in ``study=table2``.
        title: its heading.
        text: what it asks, in a sentence or two.
        dataset: option of the dataset group.
        rows: its variants, in the study's order; floors last.
        reference: label of the row that the others are compared with; None: all with all.
        axis: the setting that is the x axis of its figure, such as ``model.latent``; None draws bars.
        claims: what the published report says of it: see ``caelab.report.claims``.
        searches: label of a row whose space was searched -> what the search found.
        loose: whether its runs are of no study, so that another report's files of its name are of others.
        trial_seed: that the trials of its study have; None where it has none.
    """

    study: str
    title: str
    text: str
    dataset: str
    rows: Sequence[Row]
    reference: str | None = None
    axis: str | None = None
    claims: Sequence[Mapping[str, Any]] = ()
    searches: Mapping[str, SearchRecord] = field(default_factory=dict)
    loose: bool = False
    trial_seed: int | None = None

    @property
    def name(self) -> str:
        """Name of its files, and its anchor in a page."""
        return file_name(f"{self.study}-{self.dataset}")

    @property
    def begun(self) -> bool:
        """Whether there is a run of its own: many studies share a floor."""
        return any(row.runs for row in [row for row in self.rows if not row.floor] or self.rows)

    def shown(self, most: int = SHOWN) -> "Section":
        """What of it a page shows: all, or of very many rows the best ones on validation, best first."""
        trained = [row for row in self.rows if not row.floor]
        floors = [row for row in self.rows if row.floor]
        if len(trained) <= most and len(floors) <= _FLOORS:
            return self
        best = [row for rows, size in ((trained, most), (floors, _FLOORS)) for row in best_first(rows)[:size]]
        title = f"{self.title}, best {len(best)} of {len(self.rows):,} rows"
        text = f"{self.text} All {len(self.rows):,} rows stand in tables/{self.name}.csv."
        return replace(self, rows=best, title=title, text=text)

    def row(self, label: str) -> Row | None:
        """Return the row of that label."""
        return next((row for row in self.rows if row.label == label), None)


def best_first(rows: Sequence[Row]) -> list[Row]:
    """Rows by what chose the checkpoints of all, or else by validation PSNR; those without runs last."""
    key = ordered_by(rows)
    return sorted(rows, key=lambda row: -row.score(key))


def ordered_by(rows: Sequence[Row]) -> str:
    """Key of the validation figure that rows are put in order by: see ``chosen_by``."""
    return chosen_by(run.record for row in rows for run in row.runs.values())


def by_choice(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Key -> the trained rows whose checkpoints it chose, where that is not the same for all of them."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.runs and not row.floor:
            found.setdefault(row.select, []).append(row)
    return found if len(found) > 1 else {}


def series(row: Row, axis: str) -> str:
    """Name of the rows that differ from this one in the section's axis alone."""
    return re.sub(rf", {re.escape(axis)}=[^,]*", "", row.label)


def titled(what: str, section: Section) -> str:
    """Title of a figure, such as a paper can use: what it shows, and the dataset."""
    return f"{what}, {display(section.dataset)}"


def heading(section: Section) -> str:
    """Title of a section: the study's, and the dataset."""
    return f"{section.title} ({display(section.dataset)})"
