"""Studies as files: which there are in conf/study/ and the user's own folders, and how one is read."""

import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, replace
from typing import Any

from caelab import terminal
from caelab.composition import words
from caelab.config import grammar, options
from caelab.errors import UserError
from caelab.runs import analyses as registry
from caelab.studies.study import Study
from caelab.studies.tuning import Entry, Tuning

ALL = "all"
BUDGETS = ("full", "quick")
LOOSE = "runs"
"""What names the tables and figures of runs that are of no study."""
_SET = ("name", "common")  # by the file's own name and the command line
OPTIONS = ("seeds", "budget")
"""What is said of a whole study, beside its name: ``--seeds`` and ``--budget`` of its command."""


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_list(value: Any, of: Callable[[Any], bool] = _is_text) -> bool:
    return isinstance(value, list) and all(map(of, value))


def _is_map(value: Any, of: Callable[[Any], bool] = lambda one: True) -> bool:
    return isinstance(value, dict) and all(map(of, value.values()))


def _is_choices(value: Any) -> bool:
    return isinstance(value, list) and bool(value)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1


_KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("title", "text", "reference", "axis", "pruner"), (_is_text, "text")),
    "datasets": (
        lambda value: _is_list(value) and bool(value),
        "a list of datasets, such as [mnist, shapes]",
    ),
    **dict.fromkeys(("recipe", "overrides", "after", "where"), (_is_list, "a list of words, such as [a, b]")),
    **dict.fromkeys(
        ("epochs", "trials", "seeds", "train_size", "batch_size"), (_is_count, "a whole number, 1 or more")
    ),
    **dict.fromkeys(
        ("runs", "floors", "entries"), (_is_map, "labels with their rows, such as {base: [model=base]}")
    ),
    **dict.fromkeys(("tune", "quick"), (_is_map, "keys with values, such as {epochs: 2}")),
    "grid": (lambda value: _is_map(value, _is_choices), "keys with lists, such as {model.latent: [16, 64]}"),
    "space": (_is_map, "keys with choices or ranges, such as {model.latent: [16, 64]}"),
    "published": (
        lambda value: _is_map(value, lambda one: _is_map(one, _is_map)),
        "figures of rows by dataset, such as {mnist: {base: {psnr: 24.1}}}",
    ),
    "claims": (
        lambda value: _is_list(value, _is_map),
        "a list of maps, such as [{text: a beats b, better: [a], than: [b]}]",
    ),
    "apart": (lambda value: isinstance(value, bool), "true or false"),
}
"""Key of a study, of its tuning, of an entry or of a claim -> whether a value is of its kind, and what is."""


def names() -> list[str]:
    """Every study, in alphabetical order, without ``all``, which stands for them."""
    return [name for name in options.files("study") if name != ALL]


def command(names: Sequence[str], own: Mapping[str, str], overrides: Sequence[str]) -> str:
    """Return the command that carries studies out.

    Args:
        names: of the studies.
        own: ``seeds`` and ``budget``, where they are set; any other key is of no matter.
        overrides: of every run.
    """
    options = [text for key in OPTIONS if key in own for text in (f"--{key}", own[key])]
    return shlex.join(["caelab", "study", *names, *options, *overrides])


def load(
    name: str, budget: str = "full", seeds: int | str | None = None, overrides: Sequence[str] = ()
) -> Study:
    """Read a study at a budget.

    Args:
        name: file in conf/study/ without its ending.
        budget: ``full``, or ``quick``: with what the file's ``quick`` replaces.
        seeds: in place of the study's own.
        overrides: the user's own, which hold for every run; ``dataset=`` chooses its datasets, several with
            commas.

    Raises:
        UserError: an unknown study or budget, the name of loose runs, a file that is none, or an override of
            what the study varies.
    """
    if name not in names():
        raise UserError(f"study={name}: there is no such study{terminal.nearest(name, names())}")
    if budget not in BUDGETS:
        raise UserError(f"budget={budget}: there is no such budget{terminal.nearest(budget, list(BUDGETS))}")
    if name == LOOSE:
        raise UserError(f"study={name}: is reserved for tables of runs without a study; rename its file")
    here, values = f"study={name}", grammar.read(options.files("study")[name])
    quick = values.pop("quick", {})
    _require_kinds({"quick": quick}, here)
    own = [one.name for one in fields(Study) if one.name not in _SET]
    _require_known(values, own, here)
    _require_known(quick, own, f"{here}: quick")
    if budget == "quick":
        values |= {"seeds": 1} | quick
    if seeds is not None:
        if not str(seeds).isdecimal() or int(seeds) < 1:
            raise UserError(f"seeds={seeds}: must be a whole number, 1 or more")
        values["seeds"] = int(seeds)
    datasets, common = _split(words.read(overrides))
    known = list(options.options("dataset"))
    for dataset in datasets:
        if dataset not in known:
            raise UserError(f"dataset={dataset}: there is no such dataset{terminal.nearest(dataset, known)}")
    if datasets:
        values["datasets"] = datasets
    study: Study = _made(Study, {"name": name, **values, "common": common}, here)
    runs, floors = (_entries(getattr(study, part), f"{here}: {part}") for part in ("runs", "floors"))
    for label, entry in (*runs.items(), *floors.items()):
        if entry.space:
            raise UserError(f"{here}: {label}: only rows of tune have a space; give a grid")
    study = replace(study, runs=runs, floors=floors)
    if study.tune is not None:
        tune: Tuning = _made(Tuning, values["tune"], f"{here}: tune")
        tune = replace(tune, entries=_entries(tune.entries, f"{here}: tune"))
        tune.check(f"{here}: tune")
        study = replace(study, tune=tune)
    _refuse_varied(study, common)
    _refuse_unknown(study, known, budget)
    for analysis in study.after:
        registry.find(analysis, f"study={name}: after")
    return study


def _split(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Datasets that the user chose, and the user's other overrides."""
    chosen = [o.partition("=")[2] for o in overrides if o.startswith("dataset=")]
    rest = [o for o in overrides if not o.startswith("dataset=")]
    return (chosen[-1].split(",") if chosen else []), rest


def _entries(plain: Mapping[str, Any], where: str) -> dict[str, Entry]:
    return {
        str(label): _made(
            Entry, given if isinstance(given, dict) else {"overrides": given}, f"{where}.{label}"
        )
        for label, given in plain.items()
    }


def _made(kind: type[Any], values: Mapping[str, Any], where: str) -> Any:
    _require_known(values, [one.name for one in fields(kind)], where)
    for one in fields(kind):
        if one.name not in values and one.default is one.default_factory is MISSING:
            raise UserError(f"{where}: {one.name} is missing; give {one.name}: VALUE")
    optional = {one.name for one in fields(kind) if one.default is None}
    _require_kinds(
        {key: value for key, value in values.items() if value is not None or key not in optional}, where
    )
    return kind(**values)


def _require_known(values: Mapping[str, Any], known: list[str], where: str) -> None:
    """Refuse a key that there is not."""
    for key in values:
        if key not in known:
            raise UserError(f"{where}: a study has no key {key!r}{terminal.nearest(str(key), known)}")


def _require_kinds(values: Mapping[str, Any], where: str) -> None:
    """Refuse a value that is not of the kind that its key takes."""
    for key, value in values.items():
        fits, right = _KINDS.get(key, (bool, ""))
        if right and not fits(value):
            given = "empty" if value is None else repr(value)
            raise UserError(f"{where}: {key} is {given}; it must be {right}")


def _refuse_varied(study: Study, common: Sequence[str]) -> None:
    """Refuse what would make rows equal or runs of one row many: the study's own keys, seeds, and sweeps."""
    entries = [entry for _, entry in study.entries]
    varied = {o.partition("=")[0] for entry in entries for o in entry.overrides}
    varied |= {key for entry in entries for key in (*entry.grid, *entry.space)} | {"seed"}
    for override in grammar.parse(common):
        if override.is_sweep_override():
            raise UserError(f"{override.input_line}: a study is a sweep already; give one value")
        if override.key_or_group in varied:
            hint = "--seeds N sets how many" if override.key_or_group == "seed" else "leave it out"
            raise UserError(f"{override.input_line}: study={study.name} varies this key; {hint}")


def _refuse_unknown(study: Study, datasets: list[str], budget: str) -> None:
    """Refuse a label of two rows, an axis without numbers, and what names no dataset, row or grid there is.

    Rows of a small budget may lack the reference and the axis, which are of the full one.
    """
    here = f"study={study.name}"
    labels = {dataset: study.labels(dataset) for dataset in datasets}
    rows = sorted({label for each in labels.values() for label in each})
    axes = sorted({key for _, entry in study.entries for key in (*entry.grid, *entry.space)})
    said: list[tuple[str, Sequence[str], list[str]]] = [
        ("datasets", study.datasets, datasets),
        *((f"{label}: datasets", entry.datasets or (), datasets) for label, entry in study.entries),
    ]
    if budget == "full":
        said.append(("reference", (study.reference,) if study.reference else (), rows))
        said.append(("axis", (study.axis,) if study.axis else (), axes))
        said.append(("published", [*study.published], datasets))
        said += [(f"published: {of}", [*figures], rows) for of, figures in study.published.items()]
    for claim in study.claims:
        of = f"claim {claim.get('text', '')!r}"
        _require_kinds(claim, f"{here}: {of}")
        said.append((f"{of}: where", claim.get("where", ()), datasets))
    for key, named, known in said:
        for word in named:
            if word not in known:
                raise UserError(f"{here}: {key}: there is no {word!r}{terminal.nearest(word, known)}")
    for _, entry in study.entries:
        values = {**entry.grid, **entry.space}.get(study.axis or "")
        for value in values if isinstance(values, list) else ():  # a range is of numbers
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise UserError(f"{here}: axis: {study.axis} has the value {value!r}; an axis takes numbers")
    for dataset in study.datasets:
        for label, count in Counter(labels[dataset]).items():
            if count > 1:
                raise UserError(f"{here}: {count} rows are called {label!r}; give each a label of its own")
