"""Studies: named sets of runs, read from conf/study/, that a sweep carries out and a report draws."""

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from caelab import after, compose, results
from caelab.errors import UserError

if TYPE_CHECKING:  # it brings torch
    from caelab.data.datamodule import ImageDataModule

ALL = "all"
BUDGETS = ("full", "quick")
_SEARCH_SEED = 20231  # of the points that a random search draws: the same in every sweep and report


@cache
def _options(overrides: tuple[str, ...]) -> DictConfig:
    return compose.config([*overrides, "logger=none"])[0]


@cache
def _composed(overrides: tuple[str, ...]) -> DictConfig:
    """Compose a variant once for all of its seeds; what it logs to is no part of what it is.

    Composing takes Hydra a tenth of a second, so variants of the same options share that, and only get their
    values here.
    """
    parsed = OverridesParser.create().parse_overrides([o for o in overrides if not o.startswith("logger")])
    values = [o for o in parsed if "." in o.key_or_group and not (o.is_add() or o.is_delete())]
    cfg = _options(tuple(str(o.input_line) for o in parsed if o not in values)).copy()
    OmegaConf.set_struct(cfg, True)
    for override in values:
        try:
            OmegaConf.update(cfg, override.key_or_group, override.value())
        except OmegaConfBaseException:
            return compose.config([*overrides, "logger=none"])[0]  # which says what is wrong
    OmegaConf.set_struct(cfg, False)
    return cfg


@dataclass(frozen=True)
class Variant:
    """One row of a study on one dataset: everything but the seed.

    Attributes:
        label: its name, unique in the study and dataset.
        dataset: option of the dataset group.
        overrides: all of its overrides but the seed, in the order in which they hold.
        settings: the point of the row's grid: ``{"model.latent": 64}``.
        floor: whether it is fitted without training, so that a seed changes nothing.
    """

    label: str
    dataset: str
    overrides: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    floor: bool = False

    def at(self, seed: int) -> tuple[str, ...]:
        """Overrides of its run with this seed."""
        return (*self.overrides, f"seed={seed}")

    def identity(self, seed: int) -> str:
        """Fingerprint of its run with this seed."""
        cfg = self.config.copy()
        cfg.seed = seed
        return results.fingerprint(cfg)

    @property
    def config(self) -> DictConfig:
        """The job config of its run with the default seed, unchecked."""
        return _composed(self.overrides)

    def data(self) -> "ImageDataModule":
        """Build its dataset, whose arrays are opened later."""
        built: ImageDataModule = compose.build(compose.plain(self.config.dataset), "dataset")
        return built


Score = Callable[[Variant], float | None]
"""Validation PSNR (dB) of a trial's finished run; None where there is none."""


@dataclass(frozen=True)
class Entry:
    """A row as a study's YAML describes it, or several: one for each point of its grid.

    Attributes:
        overrides: as on the command line.
        grid: key -> values.
        datasets: the only ones it is for; None is all of the study's.
    """

    overrides: Sequence[str] = ()
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
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
        entries: label -> what is searched: each point of its grid.
        epochs: of each trial.
        trials: points drawn at random from each grid; None tries them all.
        seed: of the trials, none of those that are reported.
    """

    entries: Mapping[str, Entry]
    epochs: int
    trials: int | None = None
    seed: int = 1000

    def points(self, label: str) -> list[dict[str, Any]]:
        """The points that are tried for the entry of that label."""
        every = self.entries[label].points()
        if self.trials is None or self.trials >= len(every):
            return every
        return random.Random(_SEARCH_SEED).sample(every, self.trials)


@dataclass(frozen=True)
class Study:
    """A study at one budget.

    Attributes:
        name: as in ``study=table2``.
        title: a heading.
        text: what it asks, and anything a reader must know.
        datasets: options of the dataset group; each is a table of its own.
        epochs: of each trained run whose row does not say it itself.
        runs: label -> trained rows.
        floors: label -> rows fitted without training.
        tune: rows that are searched for first.
        seeds: runs a row, with seeds 0, 1, ...
        train_size: training images; None is all.
        reference: label of the row that the others are compared with; None: all with all.
        axis: key of a grid that is the x axis of the study's figure.
        published: dataset -> label -> the report's figures (psnr in dB, ssim, loss).
        claims: what the report says of these rows; see ``caelab.report.claims``.
        after: analyses of each finished run, by name: see ``caelab.after``.
        common: overrides of every row, after its own; the user's own come here.
    """

    name: str
    title: str
    text: str
    datasets: Sequence[str]
    epochs: int
    runs: Mapping[str, Entry] = field(default_factory=dict)
    floors: Mapping[str, Entry] = field(default_factory=dict)
    tune: Tuning | None = None
    seeds: int = 3
    train_size: int | None = None
    reference: str | None = None
    axis: str | None = None
    published: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    claims: Sequence[Mapping[str, Any]] = ()
    after: Sequence[str] = ()
    common: Sequence[str] = ()

    def trials(self, dataset: str) -> dict[str, list[Variant]]:
        """Label of each row that is searched for -> its trials on that dataset."""
        if self.tune is None:
            return {}
        return {
            label: [
                self._variant(f"{label}, {_point(point)}", entry, point, dataset, self.tune.epochs)
                for point in self.tune.points(label)
            ]
            for label, entry in self.tune.entries.items()
        }

    def variants(self, dataset: str, score: Score) -> list[Variant]:
        """The rows on that dataset, floors last.

        Args:
            dataset: one of its datasets.
            score: of a trial. The best trial of each search becomes a row, once all its trials are there.
        """
        rows = []
        for label, trials in self.trials(dataset).items():
            assert self.tune
            scores = [score(trial) for trial in trials]
            if None not in scores:
                best = trials[max(range(len(trials)), key=lambda i: scores[i] or 0.0)]
                entry = self.tune.entries[label]
                rows.append(self._variant(label, entry, best.settings, dataset, self.epochs))
        for entries, floor in ((self.runs, False), (self.floors, True)):
            for label, entry in entries.items():
                if entry.datasets is None or dataset in entry.datasets:
                    rows += [
                        self._variant(_label(label, point), entry, point, dataset, self.epochs, floor)
                        for point in entry.points()
                    ]
        return rows

    def _variant(
        self,
        label: str,
        entry: Entry,
        point: Mapping[str, Any],
        dataset: str,
        epochs: int,
        floor: bool = False,
    ) -> Variant:
        size = [] if self.train_size is None else [f"dataset.train_size={self.train_size}"]
        own = any(o.startswith("trainer.max_epochs=") for o in entry.overrides)
        overrides = (
            f"dataset={dataset}",
            *entry.overrides,
            *(f"{key}={compose.written(value)}" for key, value in point.items()),
            *([] if floor or own else [f"trainer.max_epochs={epochs}"]),
            *size,
            *self.common,
        )
        return Variant(label, dataset, overrides, dict(point), floor)


def _point(point: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={compose.written(value)}" for key, value in point.items())


def _label(label: str, point: Mapping[str, Any]) -> str:
    return f"{label}, {_point(point)}" if point else label


def names() -> list[str]:
    """Every study, in alphabetical order, without ``all``, which stands for them."""
    return sorted(path.stem for path in Path(compose.CONF, "study").glob("*.yaml") if path.stem != ALL)


def load(name: str, budget: str = "full", seeds: int | None = None, overrides: Sequence[str] = ()) -> Study:
    """Read a study at a budget.

    Args:
        name: file in conf/study/ without its ending.
        budget: ``full``, or ``quick``: with what the file's ``quick`` replaces.
        seeds: in place of the study's own.
        overrides: the user's own, which hold for every run; ``dataset=`` chooses its datasets, several with
            commas.

    Raises:
        UserError: an unknown study or budget, a file that is none, or an override of what the study varies.
    """
    if name not in names():
        raise UserError(f"study={name}: there is no such study{compose.nearest(name, names())}")
    if budget not in BUDGETS:
        raise UserError(f"budget={budget}: there is no such budget{compose.nearest(budget, list(BUDGETS))}")
    plain = OmegaConf.to_container(OmegaConf.load(Path(compose.CONF, "study", f"{name}.yaml")), resolve=True)
    assert isinstance(plain, dict)
    values: dict[str, Any] = {str(key): value for key, value in plain.items()}
    quick = values.pop("quick", {})
    if budget == "quick":
        values |= {"seeds": 1} | quick
    if seeds is not None:
        if not isinstance(seeds, int) or seeds < 1:
            raise UserError(f"seeds={seeds}: must be a whole number, 1 or more")
        values["seeds"] = seeds
    datasets, common = _split(overrides)
    if datasets:
        values["datasets"] = datasets
    for part in ("runs", "floors"):
        values[part] = _entries(values.get(part, {}), f"study={name}: {part}")
    if values.get("tune"):
        tune = values["tune"] | {"entries": _entries(values["tune"]["entries"], f"study={name}: tune")}
        values["tune"] = _made(Tuning, tune, f"study={name}: tune")
    study: Study = _made(Study, {"name": name, **values, "common": common}, f"study={name}")
    _refuse_varied(study, common)
    for analysis in study.after:
        after.find(analysis, f"study={name}: after")
    return study


def _split(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Datasets that the user chose, and the user's other overrides."""
    chosen = [o.partition("=")[2] for o in overrides if o.startswith("dataset=")]
    rest = [o for o in overrides if not o.startswith("dataset=")]
    return (chosen[-1].split(",") if chosen else []), rest


def _entries(plain: Mapping[str, Any], where: str) -> dict[str, Entry]:
    return {
        str(label): _made(
            Entry, {"overrides": given} if isinstance(given, list) else given, f"{where}.{label}"
        )
        for label, given in plain.items()
    }


def _made(kind: type[Any], values: Mapping[str, Any], where: str) -> Any:
    known = [one.name for one in fields(kind)]
    for key in values:
        if key not in known:
            raise UserError(f"{where}: there is no {key!r} in a study{compose.nearest(str(key), known)}")
    return kind(**values)


def _refuse_varied(study: Study, common: Sequence[str]) -> None:
    """Refuse what would make rows equal or runs of one row many: the study's own keys, seeds, and sweeps."""
    tuned = study.tune.entries.values() if study.tune else ()
    entries = [*study.runs.values(), *study.floors.values(), *tuned]
    varied = {o.partition("=")[0] for entry in entries for o in entry.overrides}
    varied |= {key for entry in entries for key in entry.grid} | {"seed"}
    try:
        parsed = OverridesParser.create().parse_overrides(list(common))
    except OverrideParseException as error:
        raise UserError(f"{error.override}: not an override; give KEY=VALUE") from None
    for override in parsed:
        if override.is_sweep_override():
            raise UserError(f"{override.input_line}: a study is a sweep already; give one value")
        if override.key_or_group in varied:
            hint = "seeds=N sets how many" if override.key_or_group == "seed" else "leave it out"
            raise UserError(f"{override.input_line}: study={study.name} varies that itself; {hint}")
