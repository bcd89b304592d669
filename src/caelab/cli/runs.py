"""``caelab runs``: list, filter, group, sort and delete the runs on disk."""

import csv
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caelab import terminal, texts
from caelab.cli.arguments import examples, names
from caelab.errors import UserError
from caelab.runs import analyses, database, query
from caelab.runs.query import GROUPED, Found
from caelab.runs.record_file import ARCHIVE

if TYPE_CHECKING:
    import pandas as pd

_ROUNDED = {name: column.form for name, column in analyses.columns().items()}
_ROUNDED |= {name: form for name, (_, form) in GROUPED.items()}

_GROUP = (
    "one row per group of finished runs: their number, means of val_psnr, psnr and ssim, sample standard "
    "deviations (_sd) of the last two, mean seconds"
)
_FORMAT = "table, csv, latex, markdown or json (one object per line)"
_FAILED = "also list failed runs, with their error; a condition on status or error finds them anyway"
_CLEAN = (
    "instead of a list: remove, and name, what killed runs and sweeps left in the folders, and what the "
    "data folder keeps of pictures that are gone"
)
_DELETE = "ask, then delete the listed runs with everything in their folders"


def _table(found: Found) -> None:
    """Print one line a run, however narrow the terminal; rich would take 2 ms for each."""
    head, *body = [[*map(texts.one_line, row)] for row in [found.columns, *_cells(found)]]
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    sides = [str.rjust if right else str.ljust for right in _numeric(found)]
    for row in [head, ["-" * width for width in widths], *body]:
        cells = [side(cell, width) for cell, side, width in zip(row, sides, widths, strict=True)]
        print("  ".join(cells).rstrip())


def _csv(found: Found) -> None:
    rows = [[texts.visible(cell) if isinstance(cell, str) else cell for cell in row] for row in found.rows]
    csv.writer(sys.stdout, lineterminator="\n").writerows([map(texts.one_line, found.columns), *rows])


def _json(found: Found) -> None:
    for row in found.rows:
        print(json.dumps(dict(zip(found.columns, row, strict=True)), default=str))


def _latex(found: Found) -> None:
    from caelab.runs import tables  # Hydra's grammar

    print(tables.latex(_frame(found), _numeric(found)), end="")


def _markdown(found: Found) -> None:
    from caelab.runs import tables

    print(tables.markdown(_frame(found), _numeric(found)), end="")


def _frame(found: Found) -> "pd.DataFrame":
    return texts.frame(_cells(found), found.columns)


_FORMATS: dict[str, Callable[[Found], None]] = {
    "table": _table,
    "csv": _csv,
    "latex": _latex,
    "markdown": _markdown,
    "json": _json,
}


def _numeric(found: Found) -> list[bool]:
    """Whether each column holds numbers only."""
    columns = zip(*found.rows, strict=True)
    return [all(isinstance(value, int | float | None) for value in values) for values in columns]


def _cells(found: Found) -> list[list[str]]:
    return [
        [_cell(name, value) for name, value in zip(found.columns, row, strict=True)] for row in found.rows
    ]


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    form = _ROUNDED.get(name, "")
    return format(value, form) if form else str(value)


def add(app: typer.Typer) -> None:
    """Add the command of this module."""
    columns = "\b\nColumns:\n" + "\n".join(
        f"  {name:21}{one.meaning}" for name, one in analyses.columns().items()
    )
    shown = examples(
        """caelab runs --where "psnr > 26 and model = 'improved'" --sort parameters""",
        'caelab runs --where "optimizer.lr < 1e-3" --columns run,optimizer.lr,psnr --format csv',
        "caelab runs --group dataset,model --format latex",
        """caelab runs --where "started < current_date - 90 and status = 'failed'" --delete""",
    )
    app.command(epilog=f"{shown}\n\n{columns}")(runs)


def runs(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="FOLDER", help="folders with runs (default: multirun)")
    ] = None,
    where: Annotated[str, typer.Option(metavar="CONDITION", help="only runs for which this is true")] = "",
    group: Annotated[str, typer.Option(metavar="NAME,...", help=_GROUP)] = "",
    sort: Annotated[
        str, typer.Option(metavar="[-]NAME,...", help="sort by these; with a - in front, descending")
    ] = "",
    columns: Annotated[str, typer.Option(metavar="NAME,...", help="columns to show")] = "",
    limit: Annotated[int | None, typer.Option(metavar="N", help="at most N rows")] = None,
    format: Annotated[str, typer.Option(metavar="FORMAT", help=_FORMAT)] = "table",
    failed: Annotated[bool, typer.Option("--failed", help=_FAILED)] = False,
    clean: Annotated[bool, typer.Option("--clean", help=_CLEAN)] = False,
    delete: Annotated[bool, typer.Option("--delete", help=_DELETE)] = False,
    yes: Annotated[bool, typer.Option("--yes", help="delete without asking")] = False,
) -> None:
    """List, filter, group, sort and delete the runs on disk.

    Reads the records in the folders; the best validation PSNR comes first. CONDITION is DuckDB's SQL on the
    table runs; put text in single quotes. A name is one of the columns below, or any key of the config as
    caelab train takes it, such as optimizer.lr or model.latent; runs without that key have NULL there.
    Numbers are rounded in table, latex and markdown, and complete in csv and json.
    """
    roots = folders or [Path("multirun")]
    if format not in _FORMATS:
        raise UserError(
            f"--format {format}: there is no such format{terminal.nearest(format, list(_FORMATS))}"
        )
    listing: dict[str, Any] = {"--where": where, "--group": group, "--sort": sort, "--columns": columns}
    listing |= {"--limit": limit is not None, "--format": format != "table"}
    listing |= {"--failed": failed, "--delete": delete, "--yes": yes}
    if clean and (unused := [name for name, value in listing.items() if value]):
        raise UserError(f"--clean: does not choose runs; omit {', '.join(unused)}")
    if clean:
        return _clean(roots)
    if group and (columns or failed or delete):
        raise UserError("--group: has its own columns, of finished runs; omit --columns, --failed, --delete")
    if delete and columns:
        raise UserError("--delete: has its own columns; omit --columns")
    sizes = delete or "size" in f"{where} {sort} {columns}"
    table = database.load(roots, sizes)
    if group:
        found = query.summarise(table, names(group), where, names(sort), limit)
    else:
        shown = ["run", "status", "size"] if delete else names(columns)
        found = query.select(table, where, shown, names(sort), limit, failed)
    _FORMATS[format](found)
    if delete:
        _delete(found, yes)
    return None


def _delete(found: Found, yes: bool) -> None:
    """Delete runs, once the user agrees; of those that cannot be, the first is named."""
    from caelab.runs.run_dir import BusyError, remove

    status, size = (found.columns.index(name) for name in ("status", "size"))
    sizes = {Path(row[0]): row[size] for row in found.rows}
    if kept := [path for path in sizes if not path.is_dir()]:
        raise UserError(f"{kept[0]} lies in {kept[0].parent / ARCHIVE}, from which nothing is deleted")
    what = f"{len(sizes)} {'run' if len(sizes) == 1 else 'runs'}, {sum(sizes.values()):,.1f} MB"
    if not (yes or typer.confirm(f"delete {what}?")):
        raise UserError("nothing is deleted")
    failed = []
    for row in found.rows:
        try:
            remove(Path(row[0]), row[status])
        except (BusyError, OSError) as error:
            failed.append(terminal.explain(error))
    if failed:
        raise UserError(f"{len(failed)} of {len(sizes)} not deleted; {failed[0]}")
    terminal.say(f"deleted {what}")


def _clean(folders: Sequence[Path]) -> None:
    from caelab.composition import compose  # Hydra, which a list does without
    from caelab.data import unused
    from caelab.sweeps import leftovers

    count = 0
    for path, kind in leftovers.clear(folders):
        terminal.say(f"{terminal.shown(path)}: {kind}")
        count += 1
    for path, size in unused.clear(Path(compose.data_folder())).items():
        terminal.say(f"{path}: {size:,} bytes, cached from a folder of pictures that is gone or has changed")
        count += 1
    terminal.say(f"{count} cleared" if count else "nothing to clear")
