"""The folders that options are read from: the lab's own, and those of its user."""

import os
import sys
from collections.abc import Iterator, Sequence
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


def every() -> list[Path]:
    """Every folder of options: the lab's first, then those of ``own``."""
    return [Path(config.CONF), *own()]


def own() -> list[Path]:
    """The user's folders, absolute: of ``CAELAB_CONF``, of installed packages, and ``./conf``.

    Raises:
        UserError: one that is not there.
    """
    extra = [path for path in os.environ.get(VARIABLE, "").split(os.pathsep) if path]
    return _own([_folder(path, VARIABLE) for path in extra])


def _own(extra: Sequence[Path]) -> list[Path]:
    beside = [path for path in (Path("conf").resolve(), *_installed()) if _has_a_group(path)]
    return [path for path in dict.fromkeys([*extra, *beside]) if path != Path(config.CONF).resolve()]


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
        UserError: one that is not there, or an option that two of them have.
    """
    folders = list(dict.fromkeys([*(_folder(path, FLAG) for path in extra), *own()]))
    _refuse_twins(folders)
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = os.pathsep.join(map(str, folders))
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def _refuse_twins(folders: Sequence[Path]) -> None:
    known: dict[Path, Path] = {}
    for folder in (Path(config.CONF), *folders):
        for group in (path for path in Path(config.CONF).iterdir() if path.is_dir()):
            for leaf in sorted((folder / group.name).rglob("*.yaml")):
                option = leaf.relative_to(folder)
                if option in known:
                    whose = "the lab" if known[option] == Path(config.CONF) else terminal.shown(known[option])
                    name = f"{option.parent}={leaf.stem}"
                    raise UserError(f"{terminal.shown(leaf)}: {whose} has {name} already; rename the file")
                known[option] = folder


def announce() -> None:
    """Name the user's folders in one line, if there are any."""
    if folders := own():
        terminal.say(f"options beside the lab's: {', '.join(map(terminal.shown, folders))}")


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
