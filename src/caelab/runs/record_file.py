"""Small files of runs, which may be anybody's: read where all that the lab relies on is there.

They lie in the directory of each run, or those of many runs together in an archive beside such directories.
"""

import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

DAMAGE = (ValueError, OSError)
"""What reading a file of a run raises where it is damaged."""
LIMIT = 16 << 20
"""Bytes of a record, at most; those on record have 4,000."""
ARCHIVE = "runs.jsonl"
"""Name of an archive: JSON lines, one a run, ``{"run": name of its directory, file: content, ...}``.

The content of a JSON file is an object, that of any other file text. A file in the directory comes first."""
KEY = "key"
"""In the metadata of a dataclass's field: its key in a file, where that is not its name."""
_LARGEST = 1 << 63  # of whole numbers, as everything takes them
_DEPTH = 64  # of what stands in each other in a record


def text(path: Path) -> str:
    """Read a small file of a run.

    Raises:
        FileNotFoundError: there is none, in the archive neither.
        ValueError: it is no file, too large, or not UTF-8; or the archive is damaged.
        OSError: the disk refuses it.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        kept = archived(path.parent.parent).get(path.parent.name, {}).get(path.name)
        if kept is None:
            raise
        return kept
    if not stat.S_ISREG(mode):
        raise ValueError("it is not a file")
    # A pipe that has taken its place meanwhile would wait for somebody to write.
    with open(path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
        content = file.read(LIMIT + 1)
    if len(content) > LIMIT:
        raise ValueError(f"more than {LIMIT:,} bytes")
    return content.decode()


def archived(folder: Path) -> Mapping[str, Mapping[str, str]]:
    """Name of each run in the archive of a folder -> its files: name -> text. Empty where there is none.

    Raises:
        ValueError: it is damaged.
        OSError: the disk refuses it.
    """
    path = folder / ARCHIVE
    try:
        state = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    if not stat.S_ISREG(state.st_mode):
        raise ValueError("it is not a file")
    return _archive(path.absolute(), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=16)
def _archive(path: Path, *_: int) -> dict[str, dict[str, str]]:
    found = {}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            run, files = _line(line, f"line {number}")
            found[run] = files
    return found


def _line(line: str, where: str) -> tuple[str, dict[str, str]]:
    try:
        content = parse(line)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    run = content.pop("run", None)
    if not isinstance(run, str) or run in ("", "..") or run != os.path.basename(run):
        raise ValueError(f"{where}: run is {shown(run)}, not the name of a folder")
    return run, {name: one if isinstance(one, str) else json.dumps(one) for name, one in content.items()}


def files(run: Path) -> list[str]:
    """Names of the small files of a run: in its directory, and in the archive beside it."""
    own = os.listdir(run) if run.is_dir() else []
    return sorted({*own, *archived(run.parent).get(run.name, {})})


def parse(content: str) -> dict[str, Any]:
    """Read a JSON object, without NaN and Infinity.

    Raises:
        ValueError: it is damaged, none of that, or nested too deeply.
    """
    try:
        found = json.loads(content, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("no JSON object")
    if content.count("{") + content.count("[") > _DEPTH and _depth(found) > _DEPTH:
        raise ValueError("nested too deeply")
    return found


def typed(kind: Any, value: Any, where: str = "") -> Any:
    """Return a value of a file as the type that it is declared to be.

    Args:
        kind: a type; a union; ``dict[str, kind]``; ``list[kind]``; or a dataclass, which is made of an
            object: a field without a default must be there, and other keys are left out.
        value: what was read.
        where: of the value in the file.

    Raises:
        ValueError: it is of another kind, not finite, or lacks a key.
    """
    origin = get_origin(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        _require(value, dict, where)
        parts = members(kind)
        for one in parts:
            if one.must and one.key not in value:
                raise ValueError(f"no {where}.{one.key}".replace(" .", " "))
        there = [one for one in parts if one.key in value]
        return kind(**{one.name: typed(one.kind, value[one.key], f"{where}.{one.key}") for one in there})
    if origin is dict:
        _require(value, dict, where)
        inner = get_args(kind)[1]
        return value if inner is Any else {k: typed(inner, one, f"{where}.{k}") for k, one in value.items()}
    if origin is list:
        _require(value, list, where)
        return [typed(get_args(kind)[0], one, where) for one in value]
    if kind is not Any:
        _require(value, get_args(kind) if origin is UnionType else kind, where)
    return value


class Member(NamedTuple):
    """A field of a dataclass: its name, its key in a file, its type, and whether it must be there."""

    name: str
    key: str
    kind: Any
    must: bool


@cache
def members(kind: Any) -> list[Member]:
    """Return the fields of a dataclass."""
    hints = get_type_hints(kind)
    return [
        Member(
            one.name,
            one.metadata.get(KEY, one.name),
            hints[one.name],
            one.default is MISSING and one.default_factory is MISSING,
        )
        for one in fields(kind)
    ]


def _require(value: Any, kind: Any, where: str) -> None:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    right = isinstance(value, (*kinds, int) if float in kinds else kinds)
    if isinstance(value, bool):
        right = bool in kinds
    elif right and isinstance(value, int | float):
        right = math.isfinite(value) if isinstance(value, float) else abs(value) < _LARGEST
    if not right:
        raise ValueError(f"{shown(where.lstrip('.'))} is {shown(value)}")


def shown(value: Any) -> str:
    """Return some letters of a value, which may be anybody's, without control characters."""
    text = ascii(value)
    return text if len(text) < 40 else f"{text[:36]}..."


def _refuse(constant: str) -> None:
    raise ValueError(f"it holds {constant}")


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [inner for one in level for inner in _inner(one)]
    return depth


def _inner(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        return iter(value.values())
    return iter(value if isinstance(value, list) else ())
