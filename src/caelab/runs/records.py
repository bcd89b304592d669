"""The records on disk: every run and search below a folder, and the floor that a run stands on."""

import math
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from caelab import durable
from caelab.runs import analyses as registry
from caelab.runs import record_file, results
from caelab.runs.record import RECORD, SEARCH, Complete, Record, SearchRecord, is_finished, load, search
from caelab.terminal import note, one_line, shown


def searches(*roots: str | Path) -> dict[str, SearchRecord]:
    """Name of each search below the folders -> what it found; a damaged file is named and left out."""
    found = {}
    for path in (path for root in roots for path in _below(root, SEARCH)):
        try:
            record = search(record_file.parse(record_file.text(path)))
        except record_file.DAMAGE as error:
            left_out(path, "record of a search", one_line(error))
        else:
            found[record.name] = record
    return found


def find(root: str | Path) -> Iterator[tuple[Path, Record]]:
    """Yield directory and record of every run below ``root``, but not those that a forced run has set aside.

    A damaged record is named and left out.
    """
    for path in _below(root, RECORD):
        try:
            record = load(path)
        except record_file.DAMAGE as error:
            left_out(path, "run record", one_line(error))
        else:
            if record is not None:
                yield path.parent, record


def _below(root: str | Path, name: str) -> list[Path]:
    return [Path(path, name) for path, files in folders(root) if name in files]


def folders(root: str | Path) -> Iterator[tuple[str, list[str]]]:
    """Yield every folder below ``root`` and the names of its files, in order; so also each run of an archive.

    What lies inside of runs is left out, which takes most of the time, and what a forced run has set aside.
    """
    of_a_run = {".hydra", "checkpoints", *results.FOLDERS, *registry.files()}
    for path, inside, files in os.walk(root):
        run = RECORD in files or ".hydra" in inside
        inside[:] = [
            name
            for name in sorted(inside)
            if not (name == results.PREVIOUS or name.startswith(durable.ASIDE) or (run and name in of_a_run))
        ]
        yield path, files
        if record_file.ARCHIVE in files:
            yield from _archived(Path(path))


def _archived(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each run of a folder's archive as if it had its directory there, and the names of its files."""
    try:
        runs = record_file.archived(folder)
    except record_file.DAMAGE as error:
        left_out(folder / record_file.ARCHIVE, "archive of runs", one_line(error))
        return
    for name, files in runs.items():
        if not (folder / name / RECORD).exists():
            yield str(folder / name), [*files]


@cache
def left_out(path: Path, kind: str, reason: str) -> None:
    """Say, once, that a file is not read, which may be anybody's and costs nobody a status."""
    where = Path(shown(path.parent), path.name)  # itself it may be a link to itself
    note(f"{where} is not a readable {kind} ({reason}); left out")


def floor(
    root: str | Path, record: Complete, numbers: int | None = None, name: str | None = None
) -> Complete | None:
    """Record of the strongest floor on the same images, corrupted alike, among finished runs.

    Args:
        root: the folder below which it may lie.
        record: of the run that it stands below.
        numbers: the latent of the floor; None is that of the run.
        name: of the floor, such as ``PCA``; None is any.

    Returns:
        The one of the greatest PSNR on the test split; None where there is none.
    """
    latent = record.size.latent if numbers is None else numbers
    floors = [
        other
        for _, other in find(root)
        if is_finished(other)
        and other.size.latent == latent
        and (other.floor == name if name else other.floor)
        and other.data == record.data
        and other.corruption == record.corruption
        and other.classes == record.classes  # there may be as many images of each
    ]
    return max(floors, key=lambda floor: floor.metrics.get("test/psnr", -math.inf), default=None)
