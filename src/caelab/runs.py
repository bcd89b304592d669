"""List, filter, group and sort the runs on disk: ``python -m caelab.runs``, also ``caelab-runs``."""

import argparse
import csv
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from caelab import mistakes, query, screen, texts
from caelab.database import COLUMNS, load
from caelab.errors import UserError
from caelab.query import GROUPED, Found

_USAGE = """caelab-runs [FOLDER ...] [--where CONDITION] [--group NAME,...] [--sort [-]NAME,...]
                   [--columns NAME,...] [--limit N] [--format FORMAT] [--failed]
       caelab-runs --clean [FOLDER ...]

Lists the runs whose records lie below the folders (default: multirun), best validation PSNR first.

  caelab-runs --where "psnr > 26 and model = 'improved'" --sort parameters
  caelab-runs --where "optimizer.lr < 1e-3" --columns run,optimizer.lr,psnr --format csv
  caelab-runs --group dataset,model --format latex
  caelab-runs --where "started > current_date - 7" --failed

CONDITION is SQL as DuckDB speaks it, over the table runs; text takes single quotes. A name is one of the
columns below, or any key of the config as on the command line of caelab-train, such as optimizer.lr or
model.latent; runs without that key have NULL there. Numbers are rounded in table, latex and markdown, and
complete in csv and json.
"""

_ROUNDED = {name: column.form for name, column in (COLUMNS | GROUPED).items()}


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
    rows = [map(texts.latex, row) for row in [found.columns, *_cells(found)]]
    head, *body = map(" & ".join, rows)
    align = "".join("r" if right else "l" for right in _numeric(found))
    print(rf"\begin{{tabular}}{{{align}}}", r"\toprule", rf"{head} \\", r"\midrule", sep="\n")
    print(*(rf"{row} \\" for row in body), r"\bottomrule", r"\end{tabular}", sep="\n")


def _markdown(found: Found) -> None:
    head, *body = [[*map(texts.markdown, row)] for row in [found.columns, *_cells(found)]]
    rule = ["---:" if right else "---" for right in _numeric(found)]
    for row in [head, rule, *body]:
        print(f"| {' | '.join(row)} |")


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


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _parser() -> argparse.ArgumentParser:
    columns = "\n".join(f"  {name:19}{column.meaning}" for name, column in COLUMNS.items())
    parser = argparse.ArgumentParser(
        prog="caelab-runs",
        usage=_USAGE,
        epilog=f"columns:\n{columns}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="*", type=Path, default=[Path("multirun")], metavar="FOLDER")
    parser.add_argument("--where", default="", metavar="CONDITION", help="only runs for which it holds")
    parser.add_argument(
        "--group",
        type=_names,
        metavar="NAME,...",
        help="one row a group of finished runs: how many, means of val_psnr, psnr and ssim, sample standard "
        "deviations (_sd) of the last two, mean seconds",
    )
    parser.add_argument(
        "--sort", type=_names, default=[], metavar="[-]NAME,...", help="a - in front: falling"
    )
    parser.add_argument("--columns", type=_names, default=[], metavar="NAME,...", help="what to show")
    parser.add_argument("--limit", type=int, metavar="N", help="at most N rows")
    parser.add_argument("--format", choices=_FORMATS, default="table", help="json: one object a line")
    parser.add_argument(
        "--failed",
        action="store_true",
        help="failed runs too, with their error; a condition on status or error sees them without it",
    )
    parser.add_argument(
        "--clean",
        action="store_true",
        help="instead of a list: remove what killed runs and sweeps left below the folders, and what the "
        "data folder keeps of pictures that are gone; say what",
    )
    return parser


def _clean(folders: Sequence[Path]) -> None:
    from caelab import compose, leftovers  # Hydra, which a list does without
    from caelab.data import unused

    count = 0
    for path, kind in leftovers.clear(folders):
        screen.say(f"{screen.shown(path)}: {kind}")
        count += 1
    for path, size in unused.clear(Path(compose.data_folder())).items():
        screen.say(f"{path}: {size:,} bytes, kept of a folder of pictures that is gone or has changed")
        count += 1
    screen.say(f"{count} cleared" if count else "nothing to clear")


def _joined(arguments: Sequence[str]) -> list[str]:
    """``--sort -psnr`` as ``--sort=-psnr``: argparse would take -psnr for an option."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] == "--sort":
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _find(given: argparse.Namespace) -> Found:
    if given.group is None:
        runs = load(given.folders)
        return query.select(runs, given.where, given.columns, given.sort, given.limit, given.failed)
    if given.columns or given.failed:
        raise UserError("--group: has its own columns, of finished runs; omit --columns and --failed")
    return query.summarise(load(given.folders), given.group, given.where, given.sort, given.limit)


def main() -> None:
    """Entry point: exit status 0 when there was a run to show."""
    given = _parser().parse_intermixed_args(_joined(sys.argv[1:]))
    with mistakes.told():
        if given.clean:
            return _clean(given.folders)
        found = _find(given)
    try:
        _FORMATS[given.format](found)
        sys.stdout.flush()
    except BrokenPipeError:  # head has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
