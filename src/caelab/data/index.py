"""A table of a user's pictures: classes, splits, which belong together, and what is to be made of them."""

from __future__ import annotations

import csv
import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from caelab.data import layout, pictures
from caelab.data.contents import File
from caelab.errors import UserError
from caelab.terminal import nearest, one_line, tracked

COLUMNS = ("file", "label", "split", "group", "target")
"""What is read; other columns are a user's own."""

PARQUET = ".parquet"
"""Ending of a table that is no CSV file."""

_ALIKE = 0.8  # a column so alike one of these is a misspelling
_SPLITS = {name: place for place, names in enumerate(layout.SPLITS.values()) for name in names}


def columns(path: Path) -> Sequence[str]:
    """Names of the columns of a table.

    Raises:
        UserError: it cannot be read.
    """
    return _opened(path)[0]


def read(path: Path, folder: Path, files: Mapping[str, File]) -> list[dict[str, str]]:
    """Rows of a CSV file with a header, or of a Parquet file: of each picture what ``COLUMNS`` say.

    Pictures have their names on the disk, also where the table writes ``./a.png``, or accents in another way.

    Args:
        path: of the file.
        folder: below which its pictures are.
        files: what is there, by its name.

    Raises:
        UserError: it cannot be read, a column is missing or misspelt, or a picture is missing or there twice.
    """
    where, seen, known = f"dataset.index={path}", set[str](), _by_form(files)
    names, lines = _opened(path)
    _check_columns(names, where)
    if not lines:
        raise UserError(f"{where}: it has no rows")
    rows = []
    for place, row in lines:
        if None in row or None in row.values():
            raise UserError(f"{where}: {place} needs one value for each of the {len(names)} columns")
        for column in ("file", "target"):
            if column in row:
                row[column] = known.get(_normal(row[column]), row[column])
                _check_picture(row[column], files, folder, f"{where}: {place}")
        for column in ("label", "group"):
            if column in row and not row[column].strip():
                raise UserError(f"{where}: {place}: its {column} is empty")
        if row["file"] in seen:
            raise UserError(f"{where}: {place}: {row['file']} is listed twice")
        seen.add(row["file"])
        rows.append(row)
    return rows


def places(rows: Sequence[Mapping[str, str]], seed: int, where: str) -> list[int]:
    """Place in ``layout.SPLITS`` of each row: as its column says, or by a hash of its group, target or file.

    Raises:
        UserError: an unknown split, one without a picture, a group or picture in two of them, or too few
            groups.
    """
    groups = [row.get("group", row.get("target", row["file"])) for row in rows]
    if not rows or "split" not in rows[0]:
        single = sorted(set(groups))
        try:
            divided = dict(zip(single, layout.divide(single, seed), strict=True))
        except ValueError as error:
            raise UserError(f"{where}: {error}; a group counts as one") from None
        found = [divided[group] for group in groups]
    else:
        found = [_place(row["split"], f"{where}: {row['file']}") for row in rows]
        for place, name in enumerate(layout.SPLITS):
            if place not in found:
                raise UserError(f"{where}: no picture in split {name}")
    pictures = (
        (row[column], place)
        for row, place in zip(rows, found, strict=True)
        for column in ("file", "target")
        if column in row
    )
    _require_whole("picture", pictures, where)
    _require_whole("group", zip(groups, found, strict=True), where)
    return found


def require_alike(pairs: Sequence[tuple[str, str]], folder: Path, where: str) -> None:
    """Make sure that both pictures of each pair have one size; they are not decoded for it.

    Raises:
        UserError: they have not, or one cannot be read any more.
    """
    for pair in tracked(pairs, "sizes of pairs", len(pairs)) if pairs else ():
        one, other = (_size(folder / name) for name in pair)
        if one != other:
            raise UserError(
                f"{where}: {pair[0]} has {one} pixels, its target {pair[1]} has {other}; "
                "a pair needs one size"
            )


def _size(path: Path) -> str:
    try:
        height, width = pictures.size(path)
    # Pillow's readers raise almost anything on a damaged file
    except Exception as error:
        raise UserError(f"{path} can no longer be read: {one_line(error)}") from error
    return f"{height}x{width}"


def _opened(path: Path) -> tuple[Sequence[str], list[tuple[str, dict[str, Any]]]]:
    """Columns of a table, and the place and the texts of each row."""
    try:
        return _parquet(path) if path.suffix.lower() == PARQUET else _csv(path)
    except ModuleNotFoundError:
        raise UserError(f"dataset.index={path}: it needs pyarrow; pip install 'caelab[hf]'") from None
    except UnicodeDecodeError:
        more = "" if path.suffix.lower() == ".csv" else ", and Parquet ends in .parquet"
        raise UserError(f"dataset.index={path}: it is not UTF-8 text; save it as UTF-8{more}") from None
    except OSError as error:
        raise UserError(f"dataset.index={path}: {error.strerror or one_line(error)}") from None
    except (ValueError, csv.Error) as error:
        raise UserError(f"dataset.index={path}: cannot be read: {one_line(error)}") from None


def _csv(path: Path) -> tuple[Sequence[str], list[tuple[str, dict[str, Any]]]]:
    with path.open(newline="", encoding="utf-8-sig") as opened:
        table = csv.DictReader(opened)
        names = list(table.fieldnames or ())
        return names, [(f"line {table.line_num}", row) for row in table]


def _parquet(path: Path) -> tuple[Sequence[str], list[tuple[str, dict[str, Any]]]]:
    from pyarrow import parquet  # of an extra

    with path.open("rb") as opened:
        table = parquet.read_table(opened)
    known = table.select([name for name in table.column_names if name in COLUMNS])
    rows = (
        {name: None if value is None else str(value) for name, value in row.items()}
        for row in known.to_pylist()
    )
    return table.column_names, [(f"row {number}", row) for number, row in enumerate(rows, start=1)]


def _by_form(files: Iterable[str]) -> dict[str, str]:
    """Normal form of a file's name -> that name, where no other file has that form."""
    forms = {name: _normal(name) for name in files}
    shared = Counter(forms.values())
    return {form: name for name, form in forms.items() if shared[form] == 1}


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", posixpath.normpath(name))


def _check_picture(name: str, files: Mapping[str, File], folder: Path, where: str) -> None:
    if name not in files:
        raise UserError(f"{where}: {folder} has no {name}{nearest(name, list(files)[:10_000])}")
    if flaw := files[name].flaw:
        raise UserError(f"{where}: {name} cannot be read: {flaw}")


def _require_whole(what: str, placed: Iterator[tuple[str, int]], where: str) -> None:
    """Refuse what is in two splits."""
    first: dict[str, int] = {}
    for name, place in placed:
        if first.setdefault(name, place) != place:
            raise UserError(f"{where}: {what} {name} is in two splits; put it into one")


def _place(split: str, where: str) -> int:
    name = split.strip().lower()
    if name not in _SPLITS:
        raise UserError(f"{where}: split {split!r} is unknown{nearest(name, list(_SPLITS))}")
    return _SPLITS[name]


def _check_columns(names: Sequence[str], where: str) -> None:
    misspelt = {near: name for name in names if name not in COLUMNS for near in _near(name)}
    for column, name in misspelt.items():
        if column not in names:
            raise UserError(f"{where}: it has a column '{name}'; did you mean '{column}'?")
    if "file" not in names:
        found = ", ".join(names) or "none"
        more = "; separate them by commas" if len(names) == 1 and re.search("[;\t]", found) else ""
        raise UserError(f"{where}: it has no column 'file'; its columns are {found}{more}")


def _near(name: str) -> list[str]:
    return get_close_matches(name.lower(), COLUMNS, 1, _ALIKE)
