"""Studies as files: which there are in conf/study/ and the user's own folders, and how one is read."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
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
OPTIONS = ("seeds", "budget")
"""What is said of a whole study, beside its name: ``--seeds`` and ``--budget`` of its command."""


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
        UserError: an unknown study or budget, a file that is none, or an override of what the study varies.
    """
    if name not in names():
        raise UserError(f"study={name}: there is no such study{terminal.nearest(name, names())}")
    if budget not in BUDGETS:
        raise UserError(f"budget={budget}: there is no such budget{terminal.nearest(budget, list(BUDGETS))}")
    values = grammar.read(options.files("study")[name])
    quick = values.pop("quick", {})
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
            Entry, {"overrides": given} if isinstance(given, list) else given, f"{where}.{label}"
        )
        for label, given in plain.items()
    }


def _made(kind: type[Any], values: Mapping[str, Any], where: str) -> Any:
    known = [one.name for one in fields(kind)]
    for key in values:
        if key not in known:
            raise UserError(f"{where}: there is no {key!r} in a study{terminal.nearest(str(key), known)}")
    for one in fields(kind):
        if one.name not in values and one.default is one.default_factory is MISSING:
            raise UserError(f"{where}: {one.name} is missing; give {one.name}: VALUE")
    return kind(**values)


def _refuse_varied(study: Study, common: Sequence[str]) -> None:
    """Refuse what would make rows equal or runs of one row many: the study's own keys, seeds, and sweeps."""
    tuned = study.tune.entries.values() if study.tune else ()
    entries = [*study.runs.values(), *study.floors.values(), *tuned]
    varied = {o.partition("=")[0] for entry in entries for o in entry.overrides}
    varied |= {key for entry in entries for key in (*entry.grid, *entry.space)} | {"seed"}
    for override in grammar.parse(common):
        if override.is_sweep_override():
            raise UserError(f"{override.input_line}: a study is a sweep already; give one value")
        if override.key_or_group in varied:
            hint = "--seeds N sets how many" if override.key_or_group == "seed" else "leave it out"
            raise UserError(f"{override.input_line}: study={study.name} varies that itself; {hint}")
