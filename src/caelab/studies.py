"""Studies: named sets of runs, read from conf/study/, that a sweep carries out and a report draws."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from omegaconf import OmegaConf

from caelab import after, mistakes, options, words
from caelab.errors import UserError
from caelab.results import Record
from caelab.tuning import Entry, Search, Tuning
from caelab.variants import Variant, point_text
from caelab.words import written

ALL = "all"
BUDGETS = ("full", "quick")


Score = Callable[[Variant], float | None]
"""Validation PSNR (dB) of a trial's finished run; None where there is none."""


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
        after: analyses of each finished run, by name: see ``caelab.after``.
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
            if not entry.space
        }

    def searches(self, dataset: str) -> list[Search]:
        """The rows whose space is searched on that dataset."""
        entries = self.tune.entries if self.tune else {}
        return [Search(self, label, dataset) for label, entry in entries.items() if entry.space]

    def variants(
        self, dataset: str, score: Score, searched: Mapping[str, Record] = MappingProxyType({})
    ) -> list[Variant]:
        """The rows on that dataset, floors last.

        Args:
            dataset: one of its datasets.
            score: of a trial. The best trial of each grid becomes a row, once all its trials are there.
            searched: name of a search -> what it found. The best trial of each search becomes a row, too.
        """
        rows = []
        for search in self.searches(dataset):
            point = search.best(searched.get(search.name))
            if point is not None:
                entry = search.tune.entries[search.label]
                rows.append(self.variant(search.label, entry, point, dataset, self.epochs))
        for label, trials in self.trials(dataset).items():
            assert self.tune
            scores = [score(trial) for trial in trials]
            if None not in scores:
                best = trials[max(range(len(trials)), key=lambda i: scores[i] or 0.0)]
                entry = self.tune.entries[label]
                rows.append(self.variant(label, entry, best.settings, dataset, self.epochs))
        for entries, floor in ((self.runs, False), (self.floors, True)):
            for label, entry in entries.items():
                if entry.datasets is None or dataset in entry.datasets:
                    rows += [
                        self.variant(_label(label, point), entry, point, dataset, self.epochs, floor)
                        for point in entry.points()
                    ]
        return rows

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


def names() -> list[str]:
    """Every study, in alphabetical order, without ``all``, which stands for them."""
    return sorted(path.stem for path in Path(options.CONF, "study").glob("*.yaml") if path.stem != ALL)


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
        raise UserError(f"study={name}: there is no such study{mistakes.nearest(name, names())}")
    if budget not in BUDGETS:
        raise UserError(f"budget={budget}: there is no such budget{mistakes.nearest(budget, list(BUDGETS))}")
    plain = OmegaConf.to_container(OmegaConf.load(Path(options.CONF, "study", f"{name}.yaml")), resolve=True)
    assert isinstance(plain, dict)
    values: dict[str, Any] = {str(key): value for key, value in plain.items()}
    quick = values.pop("quick", {})
    if budget == "quick":
        values |= {"seeds": 1} | quick
    if seeds is not None:
        if not isinstance(seeds, int) or seeds < 1:
            raise UserError(f"seeds={seeds}: must be a whole number, 1 or more")
        values["seeds"] = seeds
    datasets, common = _split(words.read(overrides))
    known = list(options.options("dataset"))
    for dataset in datasets:
        if dataset not in known:
            raise UserError(f"dataset={dataset}: there is no such dataset{mistakes.nearest(dataset, known)}")
    if datasets:
        values["datasets"] = datasets
    for part in ("runs", "floors"):
        values[part] = _entries(values.get(part, {}), f"study={name}: {part}")
        for label, entry in values[part].items():
            if entry.space:
                raise UserError(f"study={name}: {part}.{label}: only rows of tune have a space; give a grid")
    if values.get("tune"):
        tune = values["tune"] | {"entries": _entries(values["tune"]["entries"], f"study={name}: tune")}
        values["tune"] = _made(Tuning, tune, f"study={name}: tune")
        values["tune"].check(f"study={name}: tune")
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
            raise UserError(f"{where}: there is no {key!r} in a study{mistakes.nearest(str(key), known)}")
    return kind(**values)


def _refuse_varied(study: Study, common: Sequence[str]) -> None:
    """Refuse what would make rows equal or runs of one row many: the study's own keys, seeds, and sweeps."""
    tuned = study.tune.entries.values() if study.tune else ()
    entries = [*study.runs.values(), *study.floors.values(), *tuned]
    varied = {o.partition("=")[0] for entry in entries for o in entry.overrides}
    varied |= {key for entry in entries for key in (*entry.grid, *entry.space)} | {"seed"}
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
