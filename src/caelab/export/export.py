"""Trained networks as files for use elsewhere: ``caelab export RUN --format NAME``."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from rich.table import Table
from torch import Tensor

from caelab import durable, terminal
from caelab.data.datamodule import ImageDataModule, permutation
from caelab.errors import UserError
from caelab.export import card, formats
from caelab.export.check import Finding, check
from caelab.export.floors import floors
from caelab.export.parts import parts
from caelab.export.place import placed, refuse, told
from caelab.inference import restore
from caelab.plotting.figures import ALL
from caelab.runs import arrays, results
from caelab.runs.record import Complete

IMAGES = 64
"""Test images on which an export is checked, where there are as many."""

CARD = "model_card.md"


def export(run: Path, name: str, out: Path | None = None, *, force: bool = False) -> list[Finding]:
    """Export a finished run's best checkpoint.

    Args:
        run: the run's directory.
        name: of the format, a key of ``formats.FORMATS``.
        out: where the files go; ``export/<format>/`` in the run's directory without it.
        force: whether an earlier export there may be replaced.

    Returns:
        What was found of each part when it was read back.

    Raises:
        UserError: no such format, no finished run, no checkpoint, something at ``out`` already, a network
            that the format cannot hold, or an export that differs from the network. Nothing is left then.
    """
    form = formats.find(name)
    record = results.finished(run)
    out = out or run / "export" / name
    refuse(out, _known(), force)
    with terminal.working(f"opening {terminal.shown(run)}") as status, placed(out) as folder:
        all_parts = list(parts(restore.load(run).float()))
        for file, content in form.write(all_parts, formats.metadata(record)):
            with told(out):
                durable.write(folder / file, content)
            status.update(f"{file} is written")
        data = restore.datamodule(record)
        here = _open(data)
        images, checked = _images(run, record, data if here else None)
        status.update(f"reading the files back, on {checked}")
        found = check(folder, form, all_parts, images)
        status.update("floors for the model card")
        below = floors(run, record, data if here else None)
        told_of = card.Export(
            run, record, name, all_parts, found, below, data, checked, _versions(form.packages)
        )
        with told(out):
            durable.write(folder / CARD, card.render(told_of, folder) + "\n")
    return found


def _known() -> set[str]:
    names = ("encoder", "decoder", "autoencoder")
    return {CARD, *(form.file(name) for form in formats.FORMATS.values() for name in names)}


def _versions(packages: Sequence[str]) -> str:
    return ", ".join(f"{name} {version(name)}" for name in ("torch", *packages))


def _open(data: ImageDataModule) -> bool:
    """Open the run's data where they are on this machine; say it in a line where they are not."""
    try:
        if not data.here():
            raise UserError(f"not in {data.folder}")
        data.setup("test")
    except UserError as error:
        terminal.note(
            f"the run's {data.name} is not on this machine ({terminal.one_line(error)}): "
            "the export is checked on the images that the run kept"
        )
        return False
    return True


def _images(run: Path, record: Complete, data: ImageDataModule | None) -> tuple[Tensor, str]:
    """Return images (N, C, H, W) of a split for the check, and what they are."""
    if data is not None:
        test = data.splits["test"]
        rows = permutation(len(test), 0)[:IMAGES]  # a split may be sorted by class
        return test[rows], f"{len(rows)} images of the test split"
    path = run / record.artifacts.get("images", "reconstructions.npz")
    try:
        images = torch.from_numpy(arrays.load(path, [ALL], {ALL: "originals"})[0])
    except arrays.DAMAGE as error:
        reason = "missing" if isinstance(error, FileNotFoundError) else terminal.one_line(error)
        raise UserError(
            f"{path} cannot be read ({reason}): there are no images to check the export on; bring the run's "
            "data to this machine"
        ) from None
    return images, f"the {len(images)} test images that the run kept"


def table(found: Sequence[Finding]) -> Table:
    """Return what was exported as a table: a line for each part."""
    shown = Table()
    for column in ("part", "file", "size (MB)", "largest difference", "images/s", "images/s of the original"):
        shown.add_column(column, justify="left" if column in ("part", "file") else "right")
    for one in found:
        speeds = (f"{one.speed:,.0f}", f"{one.original:,.0f}")
        shown.add_row(one.part, one.file, f"{one.megabytes:.2f}", f"{one.difference:.1e}", *speeds)
    return shown
