"""Questions to the table of runs: which ones, in what order, and what a group of them says."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from caelab import terminal
from caelab.errors import UserError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

_SHOWN = ["dataset", "model", "loss", "optimizer", "seed", "val_psnr", "psnr", "ssim"]
_SHOWN += ["parameters", "latent", "latent_reliance", "epochs", "seconds", "run"]

GROUPED = {
    "runs": ("count(psnr)", ","),
    "val_psnr": ("avg(val_psnr)", ".2f"),
    "psnr": ("avg(psnr)", ".2f"),
    "psnr_sd": ("stddev_samp(psnr)", ".2f"),
    "ssim": ("avg(ssim)", ".3f"),
    "ssim_sd": ("stddev_samp(ssim)", ".3f"),
    "seconds": ("avg(seconds)", ",.0f"),
}
"""Name of each figure of a group of runs -> what it is in SQL, and its format where people read it."""

_BEST_FIRST = ["-val_psnr"]  # no choice of a run rests on its test figures
_OTHER_IMAGES = "different test images, whose figures cannot be compared"

# Quoted text, a quoted name, or (group 1) a dotted name that is not a method call.
_DOTTED = re.compile(r"""'(?:[^']|'')*'|"[^"]*"|(?<![\w.])([A-Za-z_]\w*+(?:\.\w+)++)(?!\s*\()""")


class Found(NamedTuple):
    """What a query found.

    Attributes:
        columns: name of each column.
        rows: a value for each column; None where the run has none.
    """

    columns: list[str]
    rows: list[tuple[Any, ...]]


def select(
    runs: "DuckDBPyConnection",
    where: str = "",
    columns: Sequence[str] = (),
    sort: Sequence[str] = (),
    limit: int | None = None,
    failed: bool = False,
) -> Found:
    """Pick runs, one row each.

    Args:
        runs: as ``load`` returns it.
        where: condition in SQL; empty: all.
        columns: names of columns; empty: a few, and the error with ``failed``.
        sort: names of columns, a ``-`` in front for falling; empty: best validation PSNR first. Ties go by
            directory, and runs without a value come last.
        limit: how many rows at most.
        failed: whether failed runs are shown too, also where ``where`` does not ask for them.

    Raises:
        UserError: no such column, a condition that DuckDB refuses, or no run to show.
    """
    names = runs.table("runs").columns
    shown = list(columns) or [*_SHOWN, *(["error"] if failed else [])]
    _check("--columns", shown, names)
    everything = failed or re.search(r"\b(status|error)\b", where)
    with _refusals(where, names):
        found = _filtered(runs, where, "true" if everything else "status = 'finished'")
        if _apart(found.filter("status = 'finished'"), _images(names), "dataset"):
            terminal.note(f"runs of one dataset are on {_OTHER_IMAGES}: --columns run,psnr,test_images,...")
        found = found.order(_order(sort or _BEST_FIRST, names, ["run"]))
        return _fetch(found.project(", ".join(f'"{name}"' for name in shown)), limit, runs)


def summarise(
    runs: "DuckDBPyConnection",
    group: Sequence[str],
    where: str = "",
    sort: Sequence[str] = (),
    limit: int | None = None,
) -> Found:
    """Sum finished runs up, one row a group.

    Args:
        runs: as ``load`` returns it.
        group: names of the columns that the runs of a group share.
        where: condition in SQL on the runs; empty: all.
        sort: names of columns of the result, a ``-`` in front for falling; empty: best on validation first.
        limit: how many rows at most.

    Returns:
        The columns of ``group``, then those of ``GROUPED``. One run has no standard deviation.

    Raises:
        UserError: no such column, a condition that DuckDB refuses, or no run to show.
    """
    names = runs.table("runs").columns
    _check("--group", group, names)
    keys = ", ".join(f'"{name}"' for name in group)
    with _refusals(where, names):
        found = _filtered(runs, where, "status = 'finished'")
        if _apart(found, ["dataset"], keys):
            terminal.note(
                "a group holds several datasets, whose figures cannot be compared: --group dataset,..."
            )
        elif _apart(found, _images(names), keys):
            terminal.note(
                f"a group holds runs on {_OTHER_IMAGES}: --group {','.join([*group, 'data_sha256'])},..."
            )
        figures = ", ".join(f'{sql} AS "{name}"' for name, (sql, _) in GROUPED.items())
        found = found.aggregate(f"{keys}, {figures}", keys)
        return _fetch(found.order(_order(sort or _BEST_FIRST, found.columns, group)), limit, runs)


def _images(names: Sequence[str]) -> list[str]:
    """What the test images of a run follow from, in SQL.

    Of data that are drawn the checksum is of the training images too, so there it is their settings.
    """
    keys = ("dataset.classes", "dataset.seed", "dataset.image_size", "dataset.test_size")
    checksum = "data_sha256"
    if "dataset.test_size" in names:
        checksum = 'if("dataset.test_size" IS NULL, data_sha256, NULL)'
    return ["dataset", "test_images", checksum, *(f'"{key}"' for key in keys if key in names)]


def _apart(found: "DuckDBPyRelation", images: Sequence[str], keys: str) -> bool:
    """Whether runs that share the keys differ in what is named."""
    sets = found.aggregate(f"count(DISTINCT row({', '.join(images)})) AS n", keys)
    return bool(sets.filter("n > 1").fetchone())


def _filtered(runs: "DuckDBPyConnection", where: str, status: str) -> "DuckDBPyRelation":
    found = runs.table("runs").filter(status)
    names = set(found.columns)

    def quoted(match: re.Match[str]) -> str:
        return f'"{match[1]}"' if match[1] in names else match[0]

    # Unquoted, DuckDB takes optimizer.lr for column lr of a table optimizer.
    return found.filter(_DOTTED.sub(quoted, where)) if where.strip() else found


def _order(sort: Sequence[str], names: Sequence[str], ties: Sequence[str]) -> str:
    _check("--sort", [name.removeprefix("-") for name in sort], names)
    keys = [f'"{name.removeprefix("-")}" {"DESC" if name.startswith("-") else "ASC"}' for name in sort]
    return ", ".join(f"{key} NULLS LAST" for key in [*keys, *(f'"{name}"' for name in ties)])


def _fetch(found: "DuckDBPyRelation", limit: int | None, runs: "DuckDBPyConnection") -> Found:
    if limit is not None and limit < 1:
        raise UserError(f"--limit {limit}: must be at least 1")
    rows = (found if limit is None else found.limit(limit)).fetchall()
    if not rows:
        known = runs.table("runs")
        failed, trials = (len(known.filter(f"status = '{status}'")) for status in ("failed", "trial"))
        more = f", and {trials} are trials (--where \"status = 'trial'\")" if trials else ""
        raise UserError(
            f"no such run among {len(known)}, of which {failed} failed (--failed shows those too){more}"
        )
    return Found(found.columns, rows)


def _check(option: str, given: Sequence[str], names: Sequence[str]) -> None:
    for name in given:
        if name not in names:
            raise UserError(f"{option}: there is no column '{name}'{_hint(name, names)}")


def _hint(name: str, names: Sequence[str]) -> str:
    return terminal.nearest(name, [other for other in names if ("." in other) == ("." in name)])


@contextmanager
def _refusals(where: str, names: Sequence[str]) -> Iterator[None]:
    """Tell in one line what DuckDB finds wrong with a condition."""
    import duckdb

    try:
        yield
    except duckdb.BinderException as error:
        unknown = re.search(r"""(?:Referenced \w+|field) ["']([^"']+)["']""", str(error))
        if not unknown:
            raise UserError(f"--where: {terminal.one_line(error)}") from None
        dotted = [name for name in _DOTTED.findall(where) if unknown[1] in name.split(".")]
        name = next((name for name in dotted if name not in names), unknown[1])
        said = f"--where: there is no column '{name}' (text takes single quotes)"
        raise UserError(f"{said}{_hint(name, names)}") from None
    except duckdb.Error as error:
        raise UserError(f"--where: {terminal.one_line(error)}") from None
