"""The runs on disk as a table of a database in memory.

The records are read as they lie, at every call: there is no index that could be out of date.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from caelab import terminal
from caelab.errors import UserError
from caelab.runs import analyses as registry
from caelab.runs import record_file, records, results
from caelab.runs.results import RECORD, SCHEMA

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class Column(NamedTuple):
    """A column of the list.

    Attributes:
        sql: where it stands in a record ``r``, or in the ``figures`` of a run's analyses.
        meaning: what it is, with its unit.
        form: format of its numbers where people read them; empty: as they are.
    """

    sql: str
    meaning: str
    form: str = ""


COLUMNS = {
    "run": Column("run", "directory, relative to the working directory"),
    "status": Column("r.status", "finished, failed, trial (not tested), or pruned by a search"),
    "dataset": Column("r.choices.dataset", "option of the group dataset"),
    "model": Column("r.choices.model", "option of the group model"),
    "loss": Column("r.choices.loss", "option of the group loss"),
    "optimizer": Column("r.choices.optimizer", "option of the group optimizer"),
    "seed": Column("r.seed", "seed of the run"),
    "psnr": Column('r.metrics."test/psnr"', "test PSNR in dB, mean over images", ".2f"),
    "psnr_pooled": Column('r.metrics."test/psnr_pooled"', "test PSNR in dB of the pooled MSE", ".2f"),
    "ssim": Column('r.metrics."test/ssim"', "test SSIM, at most 1", ".3f"),
    "mse": Column('r.metrics."test/mse"', "test mean squared error, pixels in [0, 1]", ".5f"),
    "l1": Column('r.metrics."test/l1"', "test mean absolute error, pixels in [0, 1]", ".4f"),
    "published_psnr": Column('r.metrics."published/psnr"', "PSNR in dB, one image a class", ".2f"),
    "published_ssim": Column('r.metrics."published/ssim"', "SSIM, one image a class", ".3f"),
    "val_psnr": Column('r.metrics."val/psnr"', "validation PSNR in dB of the chosen checkpoint", ".2f"),
    "parameters": Column("r.size.parameters", "parameters of the network", ","),
    "latent": Column("r.size.latent", "numbers in the latent", ","),
    "effective_code": Column("r.size.effective_code", "numbers that reach the decoder", ","),
    "latent_reliance": Column(
        """coalesce(r.metrics."test/latent_reliance", if(r.size.effective_code = r.size.latent, 1, NULL))""",
        "share of the quality that comes through the latent",
        ".2f",
    ),
    "flops": Column("r.size.flops_per_image", "floating-point operations of a forward pass per image", ","),
    "epochs": Column("r.time.epochs", "epochs trained"),
    "best_epoch": Column("r.best_epoch", "epoch of the chosen checkpoint, from 1"),
    "seconds": Column("r.time.fit_seconds + r.time.test_seconds", "fit and test, in s", ",.0f"),
    "images_per_second": Column("r.time.images_per_second", "training images per s", ",.0f"),
    "train_images": Column("r.data.train", "images in the training split", ","),
    "test_images": Column("r.data.test", "images in the test split", ","),
    "data_sha256": Column("r.data.sha256", "SHA-256 of the images"),
    "started": Column("r.started", "UTC"),
    "finished": Column("r.finished", "UTC"),
    "error": Column("r.error", "why a failed run failed"),
    "fingerprint": Column("r.fingerprint", "SHA-256 of what matters to the figures"),
    "overrides": Column("array_to_string(r.overrides, ' ')", "what the command set"),
    "commit": Column(
        "coalesce(r.environment.commit, 'code:' || left(r.environment.code, 10))",
        "commit of the code, or code: and the digest of the code itself",
    ),
    "device": Column("r.environment.device", "what it ran on"),
    "size": Column("size", "megabytes of its folder on disk", ",.1f"),
}
"""Name of each column of the table ``runs`` that a record tells -> what it is."""

# The part of a record that the columns need, as json_transform of DuckDB takes it.
_SHAPE = {
    **dict.fromkeys(("fingerprint", "status", "error"), "VARCHAR"),
    **dict.fromkeys(("schema", "seed", "best_epoch"), "BIGINT"),
    **dict.fromkeys(("started", "finished"), "TIMESTAMP"),
    "overrides": ["VARCHAR"],
    "choices": dict.fromkeys(("dataset", "model", "loss", "optimizer"), "VARCHAR"),
    "metrics": {
        f"test/{key}": "DOUBLE" for key in ("psnr", "psnr_pooled", "ssim", "mse", "l1", "latent_reliance")
    }
    | dict.fromkeys(("published/psnr", "published/ssim", "val/psnr"), "DOUBLE"),
    "size": dict.fromkeys(("parameters", "latent", "effective_code", "flops_per_image"), "BIGINT"),
    "time": {"epochs": "BIGINT"}
    | dict.fromkeys(("fit_seconds", "test_seconds", "images_per_second"), "DOUBLE"),
    "data": {"train": "BIGINT", "test": "BIGINT", "sha256": "VARCHAR"},
    "environment": dict.fromkeys(("commit", "code", "device"), "VARCHAR"),
    "config": "JSON",
}

# What DuckDB says that values are -> what they are here; anything else is text.
_KINDS = {kind: kind for kind in ("BIGINT", "DOUBLE", "BOOLEAN")} | {"UBIGINT": "BIGINT", "HUGEINT": "BIGINT"}


def columns() -> dict[str, Column]:
    """Name of each column of the table ``runs`` -> what it is; the keys of the configs come on top."""
    of_analyses = {
        name: Column(f"""TRY_CAST(figures->>'$."{one.figure}"' AS DOUBLE)""", one.meaning, one.form)
        for analysis in registry.analyses().values()
        for name, one in analysis.columns.items()
    }
    return COLUMNS | of_analyses


def load(folders: Sequence[Path], sizes: bool = False) -> "DuckDBPyConnection":
    """Read every run record below the folders, but not those that a forced run has set aside.

    A damaged record is named on stderr and left out.

    Args:
        folders: below which the records lie.
        sizes: whether to measure what the runs take on disk, which the column ``size`` needs.

    Returns:
        A database in memory that can reach no file. Its view ``runs`` has the ``columns()`` and one for each
        key of the configs, named as on the command line.

    Raises:
        UserError: no such folder, no record below any of them, or DuckDB is not installed.
    """
    texts = _read(folders)
    try:
        import duckdb
    except ImportError:
        raise UserError("caelab runs: duckdb is not installed; pip install 'caelab[runs]'") from None
    runs = duckdb.connect(config={"enable_external_access": "false", "lock_configuration": "true"})
    runs.execute(
        f"""CREATE TABLE records AS
            SELECT run, size, figures, TRY(json_transform(record, '{json.dumps(_SHAPE)}')) AS r
            FROM (
                SELECT
                    unnest($1::VARCHAR[]) AS run,
                    unnest($2::VARCHAR[]) AS record,
                    unnest($3::JSON[]) AS figures,
                    unnest($4::DOUBLE[]) AS size
            )""",
        [
            list(texts),
            [record for record, _ in texts.values()],
            [figures for _, figures in texts.values()],
            [_megabytes(run) if sizes else None for run in texts],
        ],
    )
    damaged = f"DELETE FROM records WHERE r.schema IS DISTINCT FROM {SCHEMA} RETURNING run"
    for (run,) in sorted(runs.execute(damaged).fetchall()):
        records.left_out(Path(run, RECORD), "run record", "DuckDB cannot take it")
    known = {name: column.sql for name, column in columns().items()}
    runs.execute(f"CREATE VIEW runs AS SELECT {aliased(known | _settings(runs) | known)} FROM records")
    if not len(runs.view("runs")):
        raise UserError(
            f"{', '.join(map(str, folders))}: no run below; give a folder that caelab-train wrote to"
        )
    return runs


def _read(folders: Sequence[Path]) -> dict[str, tuple[str, str]]:
    """Run directory -> text of its record, and the figures of its analyses as JSON."""
    found = {}
    analysed = registry.files()
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                f"{folder}: no such folder; give one that caelab-train wrote to, such as multirun"
            )
        for path, files in records.folders(terminal.shown(folder)):
            if RECORD in files:
                try:
                    text = record_file.text(Path(path, RECORD))
                    record = record_file.record(text, SCHEMA)
                except record_file.DAMAGE as error:
                    records.left_out(Path(path, RECORD), "run record", terminal.one_line(error))
                else:
                    figures = {} if analysed.isdisjoint(files) else results.analyses(Path(path), record)
                    found[os.path.normpath(path)] = text, json.dumps(figures)
    return found


def _megabytes(folder: str) -> float:
    """What the files in a folder take, without those that are elsewhere and only linked."""
    paths = (os.path.join(path, name) for path, _, files in os.walk(folder) for name in files)
    return sum(os.lstat(path).st_size for path in paths) / 1e6


def _settings(runs: "DuckDBPyConnection") -> dict[str, str]:
    """Every key of the configs, as on the command line -> where it stands in a record ``r``."""
    query = "SELECT json_group_structure(r.config) FROM records WHERE starts_with(r.config, '{')"
    ((structure,),) = runs.execute(query).fetchall()
    return dict(_leaves(json.loads(structure or "{}"), ()))


def _leaves(node: dict[str, Any], parents: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for key, kind in node.items():
        keys = (*parents, key)
        if isinstance(kind, dict):
            yield from _leaves(kind, keys)
        elif re.fullmatch(r"[\w.]+", ".".join(keys)):
            path = "".join(f'."{key}"' for key in keys)
            yield ".".join(keys), f"TRY_CAST(r.config->>'${path}' AS {_KINDS.get(str(kind), 'VARCHAR')})"


def aliased(columns: dict[str, str]) -> str:
    """Put name -> SQL as SELECT takes it."""
    return ", ".join(f'{sql} AS "{name}"' for name, sql in columns.items())
