"""Pictures of what a model does: ``python -m caelab.look RUN...``, also ``caelab-look``."""

import argparse
import hashlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.table import Table

from caelab import compose, locate, mistakes, results, screen, trust
from caelab.analysis import maps
from caelab.errors import UserError
from caelab.results import Record

if TYPE_CHECKING:
    from caelab.analysis.portrait import Portrait
    from caelab.report.look_page import Page

_USAGE = """caelab-look RUN [RUN ...] [--map pca|tsne|umap] [--images N] [--seed S] [--out DIR]

Draws what the best checkpoint of each finished run does with test images: reconstructions, walks through
its code, interpolations, neighbours, a map, how much of the code is used, what coordinates look at, filters.
Writes index.html, one file that opens offline, and each picture as PNG to RUN/look; nothing is trained.

  caelab-look multirun/runs/cifar10/improved-mse-adam-s0-0123456789
  caelab-look multirun/runs/mnist/* --map pca --images 500
"""

IMAGES = 2_000
"""Test images that are looked at unless --images says otherwise, where there are as many."""

LEAST = 10
"""Images without which there is nothing to compare."""


class Seen(NamedTuple):
    """What a look left.

    Attributes:
        page: its path.
        figures: name -> what was measured.
    """

    page: Path
    figures: dict[str, float]


def look(
    run: Path, out: Path | None = None, *, method: str = "tsne", images: int | None = None, seed: int = 0
) -> Seen:
    """Draw what a finished run's best checkpoint does, with a bar of how far it is.

    Args:
        run: the run's directory.
        out: where page and pictures go; ``look/`` in the run's directory without it.
        method: of the map: pca, tsne or umap.
        images: how many of the test images, at least ``LEAST``; at most ``IMAGES`` of them without it.
        seed: of the choice of the images, and of the map.

    Raises:
        UserError: no finished run, no checkpoint, a model whose code cannot be looked at, or too few images.
    """
    record = results.finished(run)
    # A status leaves no line behind, so that a mistake is one.
    with screen.working(f"opening {screen.shown(run)}"):
        from caelab.report import look_page
        from caelab.report.claims import display
        from caelab.report.look_parts import MAPPED, PARTS, Sight

        portrait, rows, classes, notes = _portrait(run, record, images, seed)
        z = portrait.z[:MAPPED]
        out = out or run / "look"
        out.mkdir(parents=True, exist_ok=True)  # before the work, which is lost where nothing can be written
    with screen.item_progress() as progress:
        task = progress.add_task(f"map ({method})", total=len(PARTS) + 2)
        dataset = display(record["choices"]["dataset"])
        heading = f"{record['choices']['model']} on {dataset}, run {record['fingerprint'][:10]}"
        sight = Sight(portrait, heading, classes, method, maps.project(z, method, seed))
        parts = {}
        for name, draw in PARTS.items():
            progress.update(task, advance=1, description=name)
            parts[name] = draw(sight)
        progress.update(task, advance=1, description="page")
        page = _page(run, record, portrait, rows, notes, method)
        path = look_page.write(page, sight, parts, out)
        progress.update(task, advance=1, description=run.resolve().name)
    return Seen(path, _figures(portrait))


def _figures(portrait: "Portrait") -> dict[str, float]:
    return {
        "images": len(portrait.images),
        "PSNR (dB)": float(portrait.decibels.mean()),
        "latent": portrait.net.latent,
        "effective dimension": portrait.effective_dimension,
        "dead": portrait.dead,
        "ignored": portrait.ignored,
    }


def _portrait(
    run: Path, record: Record, images: int | None, seed: int
) -> tuple["Portrait", list[int], dict[int, str], list[str]]:
    """Open network and images: the portrait, the images' places in the test split, classes, and notes."""
    from caelab.analysis.portrait import Portrait
    from caelab.data.datamodule import permutation
    from caelab.restore import datamodule, load

    net = load(run)
    data = datamodule(record)
    data.prepare_data()
    data.setup("test")
    test = data.splits["test"]
    rows = permutation(len(test), seed)[: _count(len(test), images)]
    labels = test.targets[rows].numpy()
    portrait = Portrait(net, test[rows], labels, seed)
    classes = {label: str(data.class_names[label]) for label in sorted(set(labels.tolist()))}
    return portrait, rows.tolist(), classes, _notes(portrait)


def _count(there: int, images: int | None) -> int:
    if there < LEAST:
        raise UserError(f"the test split has {there} images; a look needs {LEAST} or more")
    if images is not None and not LEAST <= images <= there:
        raise UserError(f"--images {images}: the test split has {there:,} images; ask for {LEAST} to {there}")
    return min(IMAGES, there) if images is None else images


def _notes(portrait: "Portrait") -> list[str]:
    notes = []
    if portrait.around:
        notes.append(
            f"Beside the {portrait.net.latent:,} numbers of z, {portrait.around:,} go around it in skips. "
            "Walks keep the skips of the image from which they start, so they show only what z adds to "
            "these; interpolation in the code moves z and skips together; neighbours, map and use of the "
            "code know z alone."
        )
    return notes


def _page(
    run: Path, record: Record, portrait: "Portrait", rows: list[int], notes: list[str], method: str
) -> "Page":
    from caelab.report.claims import display
    from caelab.report.look_page import Page

    checkpoint = Path(run, record["artifacts"]["best"])
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    dataset = display(record["choices"]["dataset"])
    size, time = record["size"], record["time"]
    finished = record["finished"].replace("T", " ").replace("+00:00", " UTC")
    about = {
        "run": f"{screen.shown(run)}, finished {finished}",
        "fingerprint": record["fingerprint"],
        "command": shlex.join(["caelab-train", *record["overrides"]]),
        "checkpoint": f"{record['artifacts']['best']}, epoch {record['best_epoch']} of {time['epochs']}, "
        f"the best on validation; SHA-256 {digest[:16]}",
        "code": f"{size['latent']:,} latent numbers, {size['effective_code']:,} reach the decoder; the "
        f"image has {size['input_numbers']:,}",
        "images": f"{len(rows):,} of the {record['data']['test']:,} test images of {dataset}, chosen with "
        f"seed {portrait.seed}; test PSNR over all of them {record['metrics']['test/psnr']:.2f} dB",
    }
    title = f"{record['choices']['model']} on {dataset}"
    options = ["--map", method, "--images", str(len(rows)), "--seed", str(portrait.seed)]
    return Page(title, shlex.join(["caelab-look", screen.shown(run), *options]), about, notes, rows)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="caelab-look", usage=_USAGE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=locate.argument, metavar="RUN", help=locate.HELP)
    parser.add_argument("--map", default="tsne", metavar="METHOD", help="pca, tsne (default) or umap")
    parser.add_argument("--images", metavar="N", help=f"test images to look at (default: {IMAGES:,} or all)")
    parser.add_argument(
        "--seed", default="0", metavar="S", help="of the choice of the images, and of the map"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="instead of RUN/look, for one run")
    trust.option(parser)
    return parser.parse_args()


def _whole_number(key: str, text: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise UserError(f"{key} {text}: must be a whole number, from {least} to {most:,}")
    return int(text)


def looks(runs: Sequence[Path], out: Path | None, **options: Any) -> list[Seen]:
    """Draw several runs, once it is known that all of them are finished.

    Raises:
        UserError: as ``look``, or several runs for one ``out``.
    """
    if out is not None and len(runs) > 1:
        raise UserError(f"--out {out}: takes the page of one run; omit it, or give one RUN")
    for run in runs:
        results.finished(run)
    return [look(run, out, **options) for run in runs]


def _show(runs: Sequence[Path], seen: Sequence[Seen]) -> None:
    """Print what was measured, a line a run, and where the pages lie."""
    table = Table(title="Looked at", title_justify="left")
    table.add_column("run")
    for name in seen[0].figures:
        table.add_column(name, justify="right")
    for run, one in zip(runs, seen, strict=True):
        cells = [f"{v:,}" if isinstance(v, int) else f"{v:.2f}" for v in one.figures.values()]
        table.add_row(run.resolve().name, *cells)
    screen.console.print(table)
    for one in seen:
        screen.say(f"  {screen.shown(one.page)}")


def main() -> None:
    """Entry point: exit status 0 when every page is written."""
    given = _arguments()
    with mistakes.told(compose.explain):
        maps.check(given.map)
        options = {
            "method": given.map,
            "images": None if given.images is None else _whole_number("--images", given.images, LEAST, 10**9),
            "seed": _whole_number("--seed", given.seed, 0, 2**32 - 1),
        }
        seen = looks(given.runs, given.out, **options)
        _show(given.runs, seen)


if __name__ == "__main__":
    main()
