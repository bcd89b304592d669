"""Records as files, which may be anybody's: read where all is there, of its kind, that the lab relies on."""

import json
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DAMAGE = (ValueError, OSError)
"""What reading a file of a run raises where it is damaged."""
LIMIT = 16 << 20
"""Bytes of a record, at most; those on record have 4,000."""
_LARGEST = 1 << 63  # of whole numbers, as everything takes them
_DEPTH = 64  # of what stands in each other in a record

NUMBER = (int, float)
TEXT_OR_NONE = (str, type(None))
NUMBER_OR_NONE = (*NUMBER, type(None))

_OF_ANY = {
    "fingerprint": str,
    "status": str,
    "overrides": [str],
    "choices": dict.fromkeys(("model", "loss", "optimizer", "dataset", ""), TEXT_OR_NONE),
    "config": {"model": dict, "dataset?": dict},
    "seed": int,
    "started?": str,
    "finished?": str,
    "sweep?": TEXT_OR_NONE,
}
_MADE_BY = ("caelab", "torch", "device", "precision")
_SIZES = ("parameters", "latent", "effective_code", "flops_per_image", "input_numbers")
_OF_A_FINISHED = {
    "finished": str,
    "best_epoch": int,
    "metrics": dict.fromkeys(("val/psnr", "test/psnr", "test/ssim", ""), NUMBER),
    "size": dict.fromkeys(_SIZES, int),
    "time": dict.fromkeys(("epochs", "fit_seconds", "test_seconds"), NUMBER) | {"": NUMBER_OR_NONE},
    "data": {"name": str, "sha256": str, "shape": list, **dict.fromkeys(("train", "val", "test"), int)},
    "environment": dict.fromkeys(_MADE_BY, str) | {"threads": int},
    "artifacts": {"": str},
}
KINDS = {
    "finished": _OF_ANY | _OF_A_FINISHED,
    "trial": _OF_ANY | _OF_A_FINISHED | {"metrics": {"val/psnr": NUMBER, "": NUMBER}},
    "failed": _OF_ANY | {"error": str},
    "pruned": _OF_ANY | {"error": str},
}
"""Status of a run -> what its record holds, of all that the lab relies on."""
SEARCH = {
    **dict.fromkeys(("name", "study", "label", "dataset"), str),
    "space": dict,
    "epochs": NUMBER_OR_NONE,
    "trials": int,
    "history": [{"number": int, "state": str, "point": dict, "psnr": NUMBER_OR_NONE, "epochs": NUMBER}],
    "best": (dict, type(None)),
    "importance": {"": NUMBER},
}
"""What a search has found."""


def text(path: Path) -> str:
    """Read a small file of a run.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is no file, too large, or not UTF-8.
        OSError: the disk refuses it.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("it is no file")
    # A pipe that has taken its place meanwhile would wait for somebody to write.
    with open(path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
        content = file.read(LIMIT + 1)
    if len(content) > LIMIT:
        raise ValueError(f"more than {LIMIT:,} bytes")
    return content.decode()


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


def read(path: Path, schema: int) -> dict[str, Any] | None:
    """Read the record of a run; None where there is none.

    Raises:
        ValueError: it is damaged, or no such record.
        OSError: the disk refuses it.
    """
    try:
        return record(text(path), schema)
    except (FileNotFoundError, NotADirectoryError):
        return None


def record(content: str, schema: int) -> dict[str, Any]:
    """Read the record of a run: all that the lab relies on is there, and of its kind.

    Raises:
        ValueError: it is damaged, or no such record.
    """
    found = parse(content)
    if found.get("schema") != schema:
        raise ValueError(f"schema {_shown(found.get('schema'))}, this caelab reads {schema}")
    status = found.get("status")
    if not isinstance(status, str) or status not in KINDS:
        raise ValueError(f"status {_shown(status)}")
    check(found, KINDS[status])
    return found


def check(value: Any, kind: Any, where: str = "") -> None:
    """Make sure that a value is of its kind.

    Args:
        value: what was read.
        kind: a type or several; ``[kind]`` for a list; for an object key -> kind, where a key that ends in
            ``?`` may be missing, and ``""`` stands for all others.
        where: of the value in the record.

    Raises:
        ValueError: it is of another kind, not finite, or lacks a key.
    """
    if isinstance(kind, dict):
        _require(value, dict, where)
        for key, inner in kind.items():
            name = key.rstrip("?")
            if name in value:
                check(value[name], inner, f"{where}.{name}")
            elif key == name and name:
                raise ValueError(f"no {where}.{name}".replace(" .", " "))
        for key in value.keys() - {key.rstrip("?") for key in kind} if "" in kind else ():
            check(value[key], kind[""], f"{where}.{key}")
    elif isinstance(kind, list):
        _require(value, list, where)
        for inner in value:
            check(inner, kind[0], where)
    else:
        _require(value, kind, where)


def _require(value: Any, kind: Any, where: str) -> None:
    right = isinstance(value, kind) and not isinstance(value, bool)
    if right and isinstance(value, int | float):
        right = math.isfinite(value) if isinstance(value, float) else abs(value) < _LARGEST
    if not right:
        raise ValueError(f"{_shown(where.lstrip('.'))} is {_shown(value)}")


def _shown(value: Any) -> str:
    """Some letters of a value, which may be anybody's, without control characters."""
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
