"""Pictures of what a model does with test images, on one page."""

import hashlib
import shlex
from collections.abc import Iterator
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table

from caelab import terminal
from caelab.analysis.look import IMAGES, LEAST, maps, page, parts
from caelab.analysis.look.page import Page
from caelab.analysis.look.parts import MAPPED, Sight
from caelab.analysis.look.portrait import Portrait
from caelab.analysis.runner import Subject
from caelab.data.datamodule import ImageDataModule, permutation
from caelab.data.prefetch import require_fit
from caelab.errors import UserError
from caelab.models.autoencoder import Autoencoder
from caelab.runs.analyses import Result
from caelab.runs.labels import display


def measure(subject: Subject, map: str, images: int | None, seed: int, out: Path | None) -> Result:
    """Draw what a network does, with a bar of how far it is.

    Args:
        subject: the run.
        map: its method: pca, tsne or umap.
        images: how many of the test images, at least ``LEAST``; at most ``IMAGES`` of them without it.
        seed: of the choice of the images, and of the map.
        out: where page and pictures go; ``look/`` in the run's directory without it.

    Returns:
        ``figures``; ``page``, its path.

    Raises:
        UserError: a model whose code cannot be looked at or is very long, or too few images.
    """
    subject.require_short()
    record = subject.record
    # A status leaves no line behind, so that a mistake is one.
    with terminal.working(f"opening {terminal.shown(subject.run)}"):
        net, data = subject.network, subject.data
        try:
            portrait, rows, classes = _portrait(net, data, images, seed)
            z = portrait.z[:MAPPED]
        except UserError as error:
            raise UserError(f"{terminal.shown(subject.run)}: {error}") from None
        out = out or subject.picture.parent
        out.mkdir(parents=True, exist_ok=True)  # before the work, which is lost where nothing can be written
    with terminal.item_progress() as progress:
        task = progress.add_task(f"map ({map})", total=len(parts.PARTS) + 2)
        dataset = display(record.choices["dataset"])
        heading = f"{record.choices['model']} on {dataset}, run {record.fingerprint[:10]}"
        sight = Sight(portrait, heading, classes, map, maps.project(z, map, seed))
        drawn = {}
        for name, draw in parts.PARTS.items():
            progress.update(task, advance=1, description=name)
            drawn[name] = draw(sight)
        progress.update(task, advance=1, description="page")
        path = page.write(_page(subject, portrait, rows, map), sight, drawn, out)
        progress.update(task, advance=1, description=subject.run.resolve().name)
    return {"figures": _figures(portrait), "page": str(path)}


def _figures(portrait: Portrait) -> dict[str, float]:
    return {
        "look/images": len(portrait.images),
        "look/psnr": float(portrait.decibels.mean()),
        "look/latent": portrait.net.latent,
        "look/effective_dimension": portrait.effective_dimension,
        "look/dead": portrait.dead,
        "look/ignored": portrait.ignored,
    }


def _portrait(
    net: Autoencoder, data: ImageDataModule, images: int | None, seed: int
) -> tuple[Portrait, list[int], dict[int, str]]:
    """Choose images: the portrait, the images' places in the test split, and their classes."""
    test = data.splits["test"]
    rows = permutation(len(test), seed)[: _count(len(test), images)]
    require_fit(f"--images {len(rows)}: looking at them", 8 * len(rows) * test.images[0].numel())
    labels = test.targets[rows].numpy()
    portrait = Portrait(net, test[rows], labels, seed)
    classes = {label: str(data.class_names[label]) for label in sorted(set(labels.tolist()))}
    return portrait, rows.tolist(), classes


def _count(there: int, images: int | None) -> int:
    if there < LEAST:
        raise UserError(f"the test split has {there} images; caelab look needs {LEAST} or more")
    if images is not None and not LEAST <= images <= there:
        raise UserError(f"--images {images}: the test split has {there:,} images; ask for {LEAST} to {there}")
    return min(IMAGES, there) if images is None else images


def _notes(portrait: Portrait) -> list[str]:
    notes = []
    if portrait.around:
        notes.append(
            f"Besides the {portrait.net.latent:,} numbers of z, {portrait.around:,} go around it in "
            "skips. Walks keep the skips of their first image, so they show only what z adds to them. "
            "Interpolation in the code moves z and skips together. Neighbours, map and use of the code "
            "consider z alone."
        )
    return notes


def _page(subject: Subject, portrait: Portrait, rows: list[int], method: str) -> Page:
    run, record = subject.run, subject.record
    checkpoint = Path(run, record.artifacts["best"])
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    dataset = display(record.choices["dataset"])
    size, time = record.size, record.time
    finished = record.finished.replace("T", " ").replace("+00:00", " UTC")
    about = {
        "run": f"{terminal.shown(run)}, finished {finished}",
        "fingerprint": record.fingerprint,
        "command": shlex.join(["caelab", "train", *record.overrides]),
        "checkpoint": f"{record.artifacts['best']}, epoch {record.best_epoch} of {time.epochs}, "
        f"the best on validation; SHA-256 {digest[:16]}",
        "code": f"{size.latent:,} latent numbers, {size.effective_code:,} reach the decoder; the "
        f"image has {size.input_numbers:,}",
        "images": f"{len(rows):,} of the {record.data.test:,} test images of {dataset}, chosen with "
        f"seed {portrait.seed}; test PSNR over all of them {record.metrics['test/psnr']:.2f} dB"
        f"{'' if record.given_clean else ', given disturbed; every PSNR below is of clean ones'}",
    }
    title = f"{record.choices['model']} on {dataset}"
    options = ["--map", method, "--images", str(len(rows)), "--seed", str(portrait.seed)]
    return Page(
        title, shlex.join(["caelab", "look", terminal.shown(run), *options]), about, _notes(portrait), rows
    )


_COLUMNS = {
    "images": ",",
    "psnr": ".2f",
    "latent": ",",
    "effective_dimension": ".2f",
    "dead": ",",
    "ignored": ",",
}


def show(run: Path, result: Result) -> Iterator[RenderableType]:
    """Show what was measured, in a line."""
    table = Table(title=f"{terminal.shown(run)}: looked at", title_justify="left")
    for name in _COLUMNS:
        table.add_column("PSNR (dB)" if name == "psnr" else name.replace("_", " "), justify="right")
    table.add_row(*(format(result["figures"][f"look/{name}"], form) for name, form in _COLUMNS.items()))
    yield table
