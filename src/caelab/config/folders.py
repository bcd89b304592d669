"""The folders that options are read from: the lab's own, and those of its user."""

import json
import os
import sys
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from caelab import config, terminal
from caelab.config import installed
from caelab.errors import UserError

VARIABLE = "CAELAB_CONF"
ENTRY_POINTS = "caelab.conf"
"""Group of the entry points by which an installed package names a package that holds YAML groups."""
FLAG = "--config-dir"
PASSED_ON = "CAELAB_FOLDERS"
"""Variable by which processes that the lab starts know its folders: JSON, since names may have colons."""


def every() -> list[Path]:
    """Every folder of options: the lab's first, then those of ``own``."""
    return [Path(config.CONF), *own()]


def own() -> list[Path]:
    """The user's folders, absolute: of ``CAELAB_CONF``, of installed packages, and ``./conf``.

    Raises:
        UserError: one that is not there.
    """
    if passed_on := os.environ.get(PASSED_ON):
        return [Path(folder) for folder in json.loads(passed_on)]
    beside = Path("conf").resolve()
    folders = dict.fromkeys([*_asked(), *([beside] if _has_a_group(beside) else [])])
    return [path for path in folders if path != Path(config.CONF).resolve()]


def _asked() -> list[Path]:
    """Those that somebody has named, unlike ``./conf``, which may be another project's."""
    named = [path for path in os.environ.get(VARIABLE, "").split(os.pathsep) if path]
    return [*(_folder(path, VARIABLE) for path in named), *filter(_has_a_group, _installed())]


def _folder(path: str, where: str) -> Path:
    folder = Path(path).expanduser().resolve()
    if not folder.is_dir():
        raise UserError(f"{where}: there is no folder {path}")
    return folder


def _has_a_group(folder: Path) -> bool:
    """Whether a folder has one of the lab's groups, and is not that of the lab's own source."""
    if (folder.parent / "src" / "caelab").is_dir():
        return False
    return any(path.is_dir() and (folder / path.name).is_dir() for path in Path(config.CONF).iterdir())


@cache
def _installed() -> tuple[Path, ...]:
    """Folders that installed packages register; finding them imports nothing."""
    folders = []
    for point in installed.points(ENTRY_POINTS):
        first, *rest = point.value.split(".")
        package = find_spec(first)
        folders += [
            Path(place, *rest).resolve() for place in (package and package.submodule_search_locations or ())
        ]
    return tuple(folders)


def of_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split the words of a command line into folders that ``--config-dir`` names, and the others.

    Raises:
        UserError: the flag has no folder.
    """
    extra, others, left = [], [], iter(words)
    for word in left:
        flag, equals, value = word.partition("=")
        if flag not in (FLAG, "-cd"):
            others.append(word)
        elif folder := value if equals else next(left, ""):
            extra.append(folder)
        else:
            raise UserError(f"{flag}: give a folder, as in {FLAG} FOLDER")
    return extra, others


@contextmanager
def seen(extra: Sequence[str] = ()) -> Iterator[None]:
    """Let this process, and every one that it starts from wherever, see the same folders of the user.

    Args:
        extra: folders beside those of ``own``.

    Raises:
        UserError: one that is not there, or, but for ``./conf``, one with an option that an earlier one has.
    """
    before = os.environ.get(PASSED_ON)
    named = [_folder(path, FLAG) for path in extra]
    folders = list(dict.fromkeys([*named, *own()]))
    _refuse_twins(folders, named if before else [*named, *_asked()])
    os.environ[PASSED_ON] = json.dumps(list(map(str, folders)))
    try:
        yield
    finally:
        if before is None:
            del os.environ[PASSED_ON]
        else:
            os.environ[PASSED_ON] = before


def _refuse_twins(folders: Sequence[Path], asked: Container[Path]) -> None:
    for folder, line in _twins(folders):
        if folder in asked:
            raise UserError(f"{line}; rename the file")


def _twins(folders: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Each folder with an option that an earlier one has, and a line that says so."""
    known: dict[Path, Path] = {}
    for folder in (Path(config.CONF), *folders):
        for group in (path for path in Path(config.CONF).iterdir() if path.is_dir()):
            for leaf in sorted((folder / group.name).rglob("*.yaml")):
                option = leaf.relative_to(folder)
                if option in known:
                    whose = "the lab" if known[option] == Path(config.CONF) else terminal.shown(known[option])
                    yield folder, f"{terminal.shown(leaf)}: {whose} has {option.parent}={leaf.stem} already"
                known.setdefault(option, folder)


def announce() -> None:
    """Name the user's folders in one line, if there are any, and once what is not taken from them."""
    if folders := own():
        terminal.say(f"options beside the lab's: {', '.join(map(terminal.shown, folders))}")
        _announce_twins(tuple(folders))


@cache
def _announce_twins(folders: Sequence[Path]) -> None:
    if lines := [line for _, line in _twins(folders)]:
        others = f" (nor {len(lines) - 1} more)" if lines[1:] else ""
        terminal.note(f"{lines[0]}, so the file is not used{others}; rename it to use it")


@contextmanager
def importable() -> Iterator[None]:
    """Let classes in the working directory be named, as ``python -m`` does."""
    here = os.getcwd()
    added = not sys.flags.safe_path and not {here, ""} & {*sys.path}
    if added:
        sys.path.insert(0, here)
    try:
        yield
    finally:
        if added and here in sys.path:
            sys.path.remove(here)
