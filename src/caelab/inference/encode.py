"""Codes of your own images: ``caelab encode RUN IMAGES... --out codes.npz``."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from caelab import terminal
from caelab.errors import UserError
from caelab.inference import code_file, inputs, stacks, stream, trained

ENDING = ".npz"
FIRST = 5
"""Pictures in the table on the screen."""


class Row(NamedTuple):
    """Bytes of a picture: in its file, as 8-bit pixels of the network's channels, and in its code."""

    name: str
    tiles: int
    file: int
    pixels: int
    code: float


def encode(
    run: Path,
    given: Sequence[Path],
    out: Path,
    way: str | None = None,
    *,
    refine: int = 0,
    encoder_steps: int | None = None,
    force: bool = False,
) -> tuple[list[Row], int]:
    """Encode pictures or arrays in files and folders to one file: see ``caelab.inference.code_file``.

    Args:
        run: directory of a finished run, or an exported file.
        given: files and folders.
        out: path of the file of codes.
        way: of ``caelab.inference.fitting.Fit``.
        refine: of ``caelab.inference.trained.Trained.encode``.
        encoder_steps: of ``caelab.inference.trained.load``.
        force: overwrite an older file.

    Returns:
        The bytes of each picture, and how many files were skipped, which are named on stderr.

    Raises:
        UserError: no such model, no image, no such way, or a file that is there already.
    """
    if out.suffix != ENDING:
        raise UserError(f"--out {out}: must end in {ENDING}")
    with terminal.working(f"opening {terminal.shown(run)}"):
        model = trained.load(run, encoder_steps=encoder_steps)
    arrays = stacks.asked(model, given)
    fit = model.fit(way, pictures=not arrays)
    sources = inputs.sources(given, out, (), *stacks.taken(model, arrays))
    inputs.require_free([out], force, [source.file for source in sources])
    read = (
        stacks.Stacks(sources, model, way, "encoding")
        if arrays
        else stream.Stream(sources, fit, "encoding", model.at)
    )
    codes = [model.at(x.shape[2], x.shape[3]).encode(x, refine) for x in read.batches(model.batch)]
    sizes = code_file.write(out, model, fit, read.entries, codes) if read.entries else []
    rows = []
    for entry, size in zip(read.entries, sizes, strict=True):
        tiles = math.prod(fit.grid(entry.size)) * entry.images
        pixels = math.prod((entry.images, fit.shape[0], *entry.size))
        file = entry.source.file
        rows.append(Row(str(file), tiles, file.stat().st_size, pixels, size))
    read.tell()
    return rows, len(read.skipped)


def summary(rows: Sequence[Row]) -> Table:
    """Return the first pictures and the mean of all as a table of bytes."""
    table = Table(title=f"Bytes per image; {len(rows):,} encoded", title_justify="left")
    table.add_column("file", overflow="fold")
    for column in ("tiles", "code", "file", "8-bit pixels", "code / file"):
        table.add_column(column, justify="right")
    for row in rows[:FIRST]:
        table.add_row(row.name, f"{row.tiles:,}", *_bytes(row.code, row.file, row.pixels))
    means = [sum(values) / len(rows) for values in zip(*(row[1:] for row in rows), strict=True)]
    tiles, file, pixels, code = means
    table.add_section()
    table.add_row("mean of all", f"{tiles:,.1f}", *_bytes(code, file, pixels))
    return table


def _bytes(code: float, file: float, pixels: float) -> list[str]:
    return [*(f"{value:,.0f}" for value in (code, file, pixels)), f"{code / file:.3g}"]
