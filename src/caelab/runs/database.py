"""The runs on disk as a table of a database in memory.

The records are read as they lie, at every call: there is no index that could be out of date.
"""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caelab import terminal
from caelab.errors import UserError
from caelab.runs import records, results
from caelab.runs.analyses import columns
from caelab.runs.columns import Column
from caelab.runs.record import Complete, Record, leaves

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Row = dict[str, Any]


def load(folders: Sequence[Path], sizes: bool = False) -> "DuckDBPyConnection":
    """Read every run record below the folders, but not those that a forced run has set aside.

    A damaged record is named on stderr and left out.

    Args:
        folders: below which the records lie.
        sizes: whether to measure what the runs take on disk, which the column ``size`` needs.

    Returns:
        A database in memory that can reach no file. Its table ``runs`` has the ``columns()`` and one for each
        key of the configs, named as on the command line.

    Raises:
        UserError: no such folder, no record below any of them, or DuckDB is not installed.
    """
    runs = _read(folders)
    try:
        import duckdb
    except ImportError:
        raise UserError("caelab runs: duckdb is not installed; pip install 'caelab[runs]'") from None
    if not runs:
        raise UserError(
            f"{', '.join(map(str, folders))}: no run below; give a folder that caelab train wrote to"
        )
    known = columns()
    rows = [_row(path, *run, known, sizes) for path, run in runs.items()]
    settings = dict.fromkeys(key for record, _ in runs.values() for key, _ in leaves(record.config))
    kinds = {name: column.kind for name, column in known.items()}
    named = {name: [row[name] for row in rows] for name in known}
    for key in settings:
        if key not in known and re.fullmatch(r"[\w.]+", key):
            values = [row.get(key) for row in rows]
            kinds[key] = _kind(values)
            named[key] = [_text(value) for value in values] if kinds[key] == "VARCHAR" else values
    table = duckdb.connect(config={"enable_external_access": "false", "lock_configuration": "true"})
    cells = ", ".join(
        f'CAST(unnest(${number}::{"VARCHAR" if kind == "TIMESTAMP" else kind}[]) AS {kind}) AS "{name}"'
        for number, (name, kind) in enumerate(kinds.items(), start=1)
    )
    table.execute(f"CREATE TABLE runs AS SELECT {cells}", list(named.values()))
    return table


def _row(path: str, record: Record, figures: dict[str, float], known: dict[str, Column], sizes: bool) -> Row:
    """Every value of a run by the name of its column."""
    own = {"run": path, "size": _megabytes(path) if sizes else None}
    told = {name: own.get(name, column.value(record, figures)) for name, column in known.items()}
    return {name: _encodable(value) for name, value in (dict(leaves(record.config)) | told).items()}


def _encodable(value: Any) -> Any:
    """A value, as text with ? in the place of what is no text, as in the path of a folder."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def _kind(values: Sequence[Any]) -> str:
    """Type in SQL of the values of a setting; text where they are of several."""
    kinds = {type(value) for value in values} - {type(None)}
    for most, kind in (({bool}, "BOOLEAN"), ({int}, "BIGINT"), ({int, float}, "DOUBLE")):
        if kinds and kinds <= most:
            return kind
    return "VARCHAR"


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _read(folders: Sequence[Path]) -> dict[str, tuple[Record, dict[str, float]]]:
    """Run directory -> its record, and all of its figures."""
    runs: dict[str, tuple[Record, dict[str, float]]] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                f"{folder}: no such folder; give one that caelab train wrote to, such as multirun"
            )
        for path, record in records.find(terminal.shown(folder)):
            figures = results.figures(path, record) if isinstance(record, Complete) else {}
            runs[os.path.normpath(path)] = record, figures
    return runs


def _megabytes(folder: str) -> float:
    """What the files in a folder take, without those that are elsewhere and only linked."""
    paths = (os.path.join(path, name) for path, _, files in os.walk(folder) for name in files)
    return sum(os.lstat(path).st_size for path in paths) / 1e6
