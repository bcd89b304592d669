"""Does a trained model's picture come through its latent? ``python -m caelab.audit RUN...``."""

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from caelab import after, records, results, screen
from caelab.results import BYPASSING, Record

if TYPE_CHECKING:  # they bring torch
    from torch import Tensor

    from caelab.analysis.bypass import Means
    from caelab.data.datamodule import ImageDataModule, Split
    from caelab.models.autoencoder import Autoencoder

_USAGE = """caelab-audit RUN [RUN ...]

Measures what the decoder of each finished run in directory RUN makes of its codes when the latent, the skips
or one skip are those of another test image, or a mean: the latent reliance says how much of the picture comes
through the latent. Writes RUN/audit.json, and RUN/audit.png (what each path alone reconstructs) with its
pictures in RUN/audit.npz.

  caelab-audit multirun/runs/cifar10/improved_skip-mse-adam-s0-0123456789
  caelab-audit multirun/runs/cifar10/*
"""

NAME = "audit"

_GETS = {
    "everything": "its own code",
    "other_latent": "another image's latent",
    "mean_latent": "the mean latent",
    "other_skips": "another image's skips",
    "mean_skips": "the mean skips",
    "mean_image": "nothing: the mean image",
}


def audit(run: Path) -> dict[str, Any]:
    """Audit a finished run's best checkpoint on the whole test split of its own data.

    Args:
        run: the run's directory.

    Returns:
        ``figures``, by key as in ``docs/metrics.md``; ``skips``, the shape of each; ``seconds``. Also written
        to ``audit.json`` of the run's directory, beside ``audit.png`` and its pictures in ``audit.npz``.

    Raises:
        UserError: no finished run, no checkpoint, data that cannot be had, fewer than 2 test images, or a
            network that does not keep the ``Code`` contract.
    """
    record = results.finished(run)
    from caelab.analysis import bypass
    from caelab.restore import datamodule, load

    began = time.perf_counter()
    net, data = load(run), datamodule(record)
    data.prepare_data()
    data.setup("test")
    train, test = data.splits["train"], data.splits["test"]
    bypass.require_contract(net, test)
    means = bypass.averages(net, train, partial(screen.tracked, description="mean code"))
    paths = bypass.audit(net, test, means, partial(screen.tracked, description="audit"))
    figures = {f"audit/psnr_{name}": value for name, value in paths.psnr.items()}
    for name, value in paths.reliance.items():
        if value is not None:
            figures[f"audit/{name.removeprefix('other_')}_reliance"] = value
    numbers = means.code.numbers
    figures["audit/effective_code"] = numbers
    floor = _pca(run, record, train, test, numbers) if numbers < record["size"]["input_numbers"] else None
    if floor is not None:
        figures["audit/psnr_pca"] = floor
    found = {
        "figures": figures,
        "skips": [list(skip.shape[1:]) for skip in means.code.skips],
        "seconds": time.perf_counter() - began,
    }
    _draw(run, net, data, means)
    results.write_analysis(run, NAME, record, found)
    return found


def _pca(run: Path, record: Record, train: "Split", test: "Split", numbers: int) -> float | None:
    """PSNR (dB) of PCA with as many numbers as the code: of a run beside this one, or fitted here."""
    from caelab.analysis.bypass import linear_floor

    if (found := records.floor(run.parent, record, numbers)) is not None:
        return found
    if numbers > len(train):
        screen.note(f"no floor: {len(train):,} training images have no {numbers:,} principal components")
        return None
    with screen.waiting() as progress:
        progress.add_task(f"PCA of {numbers:,} numbers, which no run beside this one has", total=None)
        return linear_floor(train, test, numbers)


def _draw(run: Path, net: "Autoencoder", data: "ImageDataModule", means: "Means") -> None:
    """Draw and keep the first test image of each class, and what each path alone reconstructs of it."""
    from caelab import figures
    from caelab.analysis.bypass import alone

    images = data.splits["test"][figures.first_rows(data)]
    originals = images.float() / 255
    rows: dict[str, Tensor] = {}
    found = alone(net, images, means)
    figures.keep(run / f"{NAME}.npz", originals=originals, **found)
    for name, x_hat in found.items():
        _, _, number = name.partition("skip ")
        shape = f"\n({_times(means.code.skips[int(number) - 1].shape[1:])})" if number else ""
        rows[name if name == "everything" else f"{name} alone{shape}"] = x_hat
    figures.reconstructions(run / f"{NAME}.png", originals, rows)


def _times(shape: "tuple[int, ...] | list[int]") -> str:
    return "x".join(str(n) for n in shape)


def verdict(figures: dict[str, float]) -> str:
    """Say in a line whether the pictures come through the latent."""
    reliance = figures.get("audit/latent_reliance")
    if reliance is None:
        return "latent reliance unknown: the reconstructions are no better than the mean image"
    mark = f", bypasses its latent (below {BYPASSING})" if reliance < BYPASSING else ""
    return f"latent reliance {reliance:.2f}{mark}"


def table(found: dict[str, Any]) -> Table:
    """Return what an audit found as a table: a line for each thing that the decoder may get."""
    figures = found["figures"]
    shown = Table()
    for column in ("the decoder gets", "PSNR (dB)", "lost (dB)", "reliance"):
        shown.add_column(column, justify="left" if column == "the decoder gets" else "right")
    labels = dict(_GETS)
    for number, shape in enumerate(found["skips"], start=1):
        labels[f"other_skip_{number}"] = f"another image's skip {number} ({_times(shape)})"
    labels["mean_image"] = labels.pop("mean_image")
    for name, label in labels.items():
        psnr = figures.get(f"audit/psnr_{name}")
        if psnr is not None:
            lost = "" if name == "everything" else f"{figures['audit/psnr_everything'] - psnr:.2f}"
            part = figures.get(f"audit/{name.removeprefix('other_')}_reliance")
            shown.add_row(label, f"{psnr:.2f}", lost, "" if part is None else f"{part:.2f}")
    if "audit/psnr_pca" in figures:
        numbers = figures["audit/effective_code"]
        shown.add_row(f"PCA of {numbers:,} numbers instead", f"{figures['audit/psnr_pca']:.2f}", "", "")
    return shown


def _show(run: Path, found: dict[str, Any]) -> None:
    screen.say(f"{screen.shown(run)}: {verdict(found['figures'])}")
    screen.console.print(table(found))


def main() -> None:
    """Entry point: exit status 0 when every run was audited."""
    after.command_line(NAME, _USAGE, audit, _show)


if __name__ == "__main__":
    main()
