"""What an analysis of a finished run is, and which there are.

An analysis is a package: one of ``caelab.analysis``, one that an installed package registers as an entry
point of the group ``caelab.analysis``, or one beside a folder of options of the user's own. Its ``__init__``
declares ``ANALYSIS`` and imports nothing heavy, so that commands and lists are quick. Its module of the same
name measures and shows:

- ``measure(subject, **options) -> Result``, of a ``runner.Subject``; it draws the picture as well;
- ``show(run, result)``: lines and tables for the screen;
- ``compare(results)``, where several runs together have something to show: run -> result, to the same.

Commands, ``after:`` in studies, the columns of ``caelab runs`` and what ``force=true`` sets aside follow from
that declaration.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from caelab import terminal
from caelab.config import folders, installed
from caelab.errors import UserError
from caelab.runs.columns import COLUMNS, Column
from caelab.terminal import nearest

ENTRY_POINTS = "caelab.analysis"
"""Group of the entry points by which an installed package names a package that holds an analysis."""

Result = dict[str, Any]
"""What an analysis leaves as ``<name>.json``: ``figures`` (flat: key -> number), ``seconds``, and details."""


@dataclass(frozen=True)
class Option:
    """An option of an analysis: ``--name VALUE`` of its command, a keyword of its function.

    Attributes:
        default: its value where it is not set.
        help: what it is.
        metavar: what stands for its value; empty for a switch.
        read: turns text, as on the command line, into a value, but for a switch; raises ValueError for an
            invalid one.
        single: whether it is for one run only.
    """

    default: Any
    help: str
    metavar: str = ""
    read: Callable[[str], Any] = str
    single: bool = False


def as_text(value: Any) -> str:
    """Write a value as on the command line: ``2,4,8``."""
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return what reads a whole number from ``least`` to ``most``."""
    limits = f"at least {least:,}" if most is None else f"from {least} to {most:,}"

    def read(text: str) -> int:
        number = int(text) if text.removeprefix("-").isdecimal() else None
        if number is None or number < least or (most is not None and number > most):
            raise ValueError(f"must be a whole number, {limits}")
        return number

    return read


@dataclass(frozen=True)
class Analysis:
    """An analysis of a finished run.

    Attributes:
        package: dotted name of its package, which ends in its own name.
        help: the question that it answers, in a line; and below, what it does and writes.
        examples: command lines, without the command's name.
        files: what it leaves in the run's directory beside ``<name>.json``; the first one is to be looked at.
        columns: name -> column of the list of runs.
        options: name -> option.
    """

    package: str
    help: str
    examples: tuple[str, ...]
    files: tuple[str, ...]
    columns: Mapping[str, Column] = field(default_factory=dict)
    options: Mapping[str, Option] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The last part of the package's name."""
        return self.package.rpartition(".")[2]

    @property
    def question(self) -> str:
        """The first line of its help."""
        return self.help.partition("\n")[0]

    @property
    def module(self) -> Any:
        """The module that measures and shows; it brings torch."""
        return import_module(f"{self.package}.{self.name}")

    def __call__(self, run: str | Path, *, again: bool = True, **options: Any) -> Result:
        """Analyse the best checkpoint of a finished run: see ``caelab.analysis.runner.analyse``."""
        arguments = self.arguments(options)
        runner = import_module("caelab.analysis.runner")  # it brings torch
        result: Result = runner.analyse(self, Path(run), arguments, again)
        return result

    def arguments(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the value of every option; those that are set may be text, as on the command line.

        Raises:
            UserError: no such option, or an invalid value.
        """
        for name in options:
            if name not in self.options:
                raise UserError(f"{self.name}: no such option --{name}{nearest(name, list(self.options))}")
        return {name: self._value(name, options.get(name)) for name in self.options}

    def _value(self, name: str, value: Any) -> Any:
        """Read the value of an option; None is its default."""
        if value is None:
            return self.options[name].default
        if isinstance(value, bool):
            return value
        try:
            return self.options[name].read(as_text(value))
        except ValueError as error:
            raise UserError(f"--{name} {as_text(value)}: {error}") from None


def packages() -> Iterator[str]:
    """Yield the dotted name of each package that may hold an analysis, the lab's first."""
    for module in iter_modules(import_module("caelab.analysis").__path__):
        if module.ispkg:
            yield f"caelab.analysis.{module.name}"
    yield from (point.module for point in installed.points(ENTRY_POINTS))
    path = {Path(place).resolve() for place in sys.path}
    yield from (package.name for package in beside_options() if package.parent in path)


def beside_options() -> list[Path]:
    """Packages with an analysis beside the user's folders of options, importable or not."""
    try:
        places = [folder.parent for folder in folders.own()]
    except UserError:  # which commands that compose a run tell
        return []
    files = (file for place in dict.fromkeys(places) for file in sorted(place.glob("*/__init__.py")))
    return [
        file.parent for file in files if "ANALYSIS = " in file.read_text(encoding="utf-8", errors="replace")
    ]


def analyses() -> dict[str, Analysis]:
    """Name -> analysis, sorted by name."""
    known: dict[str, Analysis] = {}
    for package in packages():
        one = _declared(package)
        if one and known.setdefault(one.name, one) is not one:
            _left_out(package, f"there is an analysis {one.name} already")
    return dict(sorted(known.items()))


def _declared(package: str) -> Analysis | None:
    """Analysis of a package; one that is not the lab's may be broken, which stops no command."""
    try:
        one = getattr(import_module(package), "ANALYSIS", None)
    except Exception as error:
        if package.startswith("caelab."):
            raise
        _left_out(package, terminal.one_line(error))
        return None
    return one if isinstance(one, Analysis) else None


@cache
def _left_out(package: str, reason: str) -> None:
    terminal.note(f"the analysis in {package} is left out: {reason}")


def find(name: str, where: str) -> Analysis:
    """Return the analysis of that name.

    Args:
        name: of the analysis.
        where: what names it, for the message.

    Raises:
        UserError: there is none.
    """
    known = analyses()
    if name not in known:
        raise UserError(f"{where}: there is no analysis {name!r}{nearest(name, list(known))}")
    return known[name]


def files() -> set[str]:
    """Names of all that analyses leave in a run's directory: files, and folders with what is in them."""
    return {Path(file).parts[0] for one in analyses().values() for file in (f"{one.name}.json", *one.files)}


def columns() -> dict[str, Column]:
    """Name -> column of everything that is listed of runs: those of any run, and those of analyses."""
    return COLUMNS | {name: one for analysis in analyses().values() for name, one in analysis.columns.items()}
