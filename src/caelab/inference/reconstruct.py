"""A trained model on your own images: ``caelab reconstruct RUN IMAGES... --out DIR``."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from rich.table import Table
from torch import Tensor

from caelab import durable, terminal
from caelab.data.scale import unit
from caelab.inference import fitting, inputs, stacks, stream, trained
from caelab.inference.fitting import Fit, Pixels, pixels
from caelab.inference.images import take
from caelab.inference.inputs import Source
from caelab.inference.stream import Entry, opened
from caelab.inference.trained import Trained
from caelab.metrics.quality import WINDOW, mse, of_one, psnr, ssim
from caelab.plotting import figures

TABLE = "reconstructions.csv"
OVERVIEW = "overview.png"
SHOWN = 8
"""Pictures in the overview: the first ones."""
WORST = 5
"""Pictures in the table on the screen: those of the lowest PSNR."""

_THUMB = 160  # pixels a side of a picture in the overview


class Row(NamedTuple):
    """What became of a picture.

    Attributes:
        file: the original.
        output: the reconstruction, relative to the folder of the outputs.
        width: of the original, upright, in pixels.
        height: likewise.
        tiles: images of the network's size that it was cut into, or that an array has.
        psnr: in dB; of an array the mean over its images, like SSIM.
        ssim: None where a side is below 11 pixels, the window of SSIM.
    """

    file: str
    output: str
    width: int
    height: int
    tiles: int
    psnr: float
    ssim: float | None


def reconstruct(
    run: Path,
    given: Sequence[Path],
    out: Path,
    way: str | None = None,
    *,
    refine: int = 0,
    encoder_steps: int | None = None,
    force: bool = False,
) -> tuple[list[Row], int]:
    """Reconstruct pictures or arrays in files and folders; write them, a table, and of pictures an overview.

    Args:
        run: directory of a finished run, or an exported file.
        given: files and folders.
        out: folder of the outputs.
        way: of ``caelab.inference.fitting.Fit``.
        refine: of ``caelab.inference.trained.Trained.encode``.
        encoder_steps: of ``caelab.inference.trained.load``.
        force: overwrite older outputs.

    Returns:
        What became of each picture, and how many files were skipped, which are named on stderr.

    Raises:
        UserError: no such model, no image, no such way, or outputs that are there already.
    """
    with terminal.working(f"opening {terminal.shown(run)}"):
        model = trained.load(run, encoder_steps=encoder_steps)
    arrays = stacks.asked(model, given)
    fit = model.fit(way, pictures=not arrays)
    sources = inputs.sources(given, out, (OVERVIEW,), *stacks.taken(model, arrays))
    outputs = [out / name for name in (*(source.name for source in sources), TABLE, OVERVIEW)]
    inputs.require_free(outputs, force, [source.file for source in sources])
    read: stream.Stream = (
        stacks.Stacks(sources, model, way, "reconstructing")
        if arrays
        else stream.Stream(sources, fit, "reconstructing", model.at)
    )
    out.mkdir(parents=True, exist_ok=True)
    made = (
        sized.decode(sized.encode(x, refine))
        for x in read.batches(model.batch)
        for sized in (model.at(x.shape[2], x.shape[3]),)
    )
    rows: list[Row] = []
    shown: dict[str, list[tuple[Tensor, str]]] = {"original": [], "reconstruction": []}
    for entry, images in stacks.files(made, read.entries, model.values) if arrays else ():
        stacks.save(images, entry.kind, out / entry.source.name)
        rows.append(_of_array(entry, model, images, way == fitting.WHOLE))
    for entry, picture in () if arrays else stream.pictures(made, fit, read.entries):
        stream.save(picture, out / entry.source.name)
        original = _original(entry.source, fit)
        rows.append(_row(entry, fit, original, picture))
        if len(rows) <= SHOWN:
            shown["original"].append((_thumb(original), _short(entry.source.file.name)))
            shown["reconstruction"].append((_thumb(picture), f"{rows[-1].psnr:.1f} dB"))
    if rows:
        _save(rows, out / TABLE)
    if shown["original"]:
        figures.grid(out / OVERVIEW, shown)
    read.tell()
    return rows, len(read.skipped)


def _save(rows: Sequence[Row], path: Path) -> None:
    table = io.StringIO(newline="")
    csv.writer(table).writerows([Row._fields, *rows])
    durable.write(path, table.getvalue().encode(errors="surrogateescape"))


def _original(source: Source, fit: Fit) -> Pixels:
    """Read a picture once more, to compare with: what waits for its batch may be too many to keep."""
    return pixels(fit.seen(opened(source.file, fit.shape[0])))


def _row(entry: Entry, fit: Fit, original: Pixels, pixels: Pixels) -> Row:
    x_hat, x = (torch.tensor(one).movedim(-1, 0) for one in (pixels, original))
    psnr, ssim = of_one(x_hat, x.expand_as(x_hat))
    rows, columns = fit.grid(entry.size)
    name, size = entry.source.name, entry.size
    return Row(str(entry.source.file), name, size[1], size[0], rows * columns, psnr, ssim)


def _of_array(entry: Entry, model: Trained, images: NDArray[Any], whole: bool) -> Row:
    """Hold a file's images (N, C, H, W) against the originals: means over N."""
    original = stacks.opened(entry.source.file, model.shape, whole, stacks.bits(model)).x
    decibels, similar = [], []
    for both in zip(stacks.parts(images, model.batch), stacks.parts(original, model.batch), strict=True):
        x_hat, x = (unit(take(part, part.shape[1:], model.values).x).float() for part in both)
        decibels.append(psnr(mse(x_hat, x)))
        if min(entry.size) >= WINDOW:
            similar.append(ssim(x_hat, x))
    height, width = entry.size
    means = [torch.cat(found).double().mean().item() if found else None for found in (decibels, similar)]
    return Row(
        str(entry.source.file), entry.source.name, width, height, entry.images, means[0] or 0.0, means[1]
    )


def _thumb(pixels: Pixels) -> Tensor:
    """Return a small copy of a picture, (C, h, w) in [0, 1]."""
    image = fitting.picture(pixels)
    image.thumbnail((_THUMB, _THUMB))
    small = torch.tensor(fitting.pixels(image)).movedim(-1, 0)
    return unit(small)


def _short(name: str, length: int = 14) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}…"


def summary(rows: Sequence[Row]) -> Table:
    """Return the worst pictures and the mean of all as a table."""
    table = Table(title=f"Lowest PSNR first; {len(rows):,} reconstructed", title_justify="left")
    table.add_column("file", overflow="fold")
    for column in ("size", "tiles", "PSNR (dB)", "SSIM"):
        table.add_column(column, justify="right")
    for row in sorted(rows, key=lambda row: row.psnr)[:WORST]:
        ssim = "" if row.ssim is None else f"{row.ssim:.3f}"
        table.add_row(row.file, f"{row.width}x{row.height}", f"{row.tiles:,}", f"{row.psnr:.2f}", ssim)
    similar = [row.ssim for row in rows if row.ssim is not None]
    mean = f"{sum(similar) / len(similar):.3f}" if similar else ""
    table.add_section()
    table.add_row("mean of all", "", "", f"{sum(row.psnr for row in rows) / len(rows):.2f}", mean)
    return table
