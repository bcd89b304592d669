"""A table of a user's pictures: their classes, their splits, and which belong together."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from caelab.data import layout
from caelab.data.contents import File
from caelab.errors import UserError
from caelab.terminal import nearest, one_line

COLUMNS = ("file", "label", "split", "group")
"""What is read; other columns are a user's own."""

_ALIKE = 0.8  # a column so alike one of these is a misspelling
_SPLITS = {name: place for place, names in enumerate(layout.SPLITS.values()) for name in names}


def read(path: Path, folder: Path, files: Mapping[str, File]) -> list[dict[str, str]]:
    """Rows of a CSV file with a header: of each picture its ``COLUMNS``, as far as they are there.

    Args:
        path: of the file.
        folder: below which its pictures are.
        files: what is there, by its name.

    Raises:
        UserError: it cannot be read, a column is missing or misspelt, or a picture is missing or there twice.
    """
    where, seen = f"dataset.index={path}", set[str]()
    try:
        with path.open(newline="", encoding="utf-8-sig") as opened:
            table = csv.DictReader(opened)
            columns = list(table.fieldnames or ())
            lines = [(table.line_num, row) for row in table]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{where}: cannot be read: {one_line(error)}") from None
    _check_columns(columns, where)
    for number, row in lines:
        name = row["file"]
        if None in row or None in row.values():
            raise UserError(
                f"{where}: line {number} has not one value for each of the {len(columns)} columns"
            )
        if name not in files:
            raise UserError(
                f"{where}: line {number}: {folder} has no {name}{nearest(name, list(files)[:10_000])}"
            )
        if flaw := files[name].flaw:
            raise UserError(f"{where}: line {number}: {name} cannot be read: {flaw}")
        if name in seen:
            raise UserError(f"{where}: line {number}: {name} is there twice")
        seen.add(name)
    return [row for _, row in lines]


def places(rows: Sequence[Mapping[str, str]], seed: int, where: str) -> list[int]:
    """Place in ``layout.SPLITS`` of each row: as its column says, or by a hash of its group or file.

    Raises:
        UserError: an unknown split, one without a picture, a group in two of them, or too few groups.
    """
    groups = [row.get("group", row["file"]) for row in rows]
    if not rows or "split" not in rows[0]:
        single = sorted(set(groups))
        try:
            divided = dict(zip(single, layout.divide(single, seed), strict=True))
        except ValueError as error:
            raise UserError(f"{where}: {error}; a group counts as one") from None
        return [divided[group] for group in groups]
    found = [_place(row["split"], where) for row in rows]
    for place, name in enumerate(layout.SPLITS):
        if place not in found:
            raise UserError(f"{where}: no picture of split {name}")
    first: dict[str, int] = {}
    for group, place in zip(groups, found, strict=True):
        if first.setdefault(group, place) != place:
            raise UserError(f"{where}: group {group} is in two splits; one must have all of it")
    return found


def _place(split: str, where: str) -> int:
    name = split.strip().lower()
    if name not in _SPLITS:
        raise UserError(f"{where}: split {split!r} is unknown{nearest(name, list(_SPLITS))}")
    return _SPLITS[name]


def _check_columns(columns: Sequence[str], where: str) -> None:
    misspelt = {near: name for name in columns if name not in COLUMNS for near in _near(name)}
    for column, name in misspelt.items():
        if column not in columns:
            raise UserError(f"{where}: it has a column '{name}'; did you mean '{column}'?")
    if "file" not in columns:
        raise UserError(f"{where}: it has no column 'file'; its columns are {', '.join(columns) or 'none'}")


def _near(name: str) -> list[str]:
    return get_close_matches(name.lower(), COLUMNS, 1, _ALIKE)
