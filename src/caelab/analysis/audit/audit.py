"""What the decoder makes of codes in which parts are another image's, or a mean."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table
from torch import Tensor

from caelab import terminal
from caelab.analysis.audit.paths import Means, alone, audit, averages, linear_floor
from caelab.analysis.runner import Subject
from caelab.data.scale import unit
from caelab.models.contract import require_contract
from caelab.plotting import figures
from caelab.runs import records
from caelab.runs.analyses import Result
from caelab.runs.record import BYPASSING

_GETS = {
    "everything": "its own code",
    "other_latent": "another image's latent",
    "mean_latent": "the mean latent",
    "other_skips": "another image's skips",
    "mean_skips": "the mean skips",
    "mean_image": "nothing: the mean image",
}


def measure(subject: Subject) -> Result:
    """Audit a network on the whole test split of its own data.

    Returns:
        ``figures``; ``skips``, the shape of each.

    Raises:
        UserError: fewer than 2 test images, or a network that does not keep the ``Code`` contract.
    """
    net, splits = subject.network, subject.data.splits
    require_contract(net, splits["test"])
    means = averages(net, splits["train"], partial(terminal.tracked, description="mean code"))
    paths = audit(net, splits["test"], means, partial(terminal.tracked, description="audit"))
    values: dict[str, float] = {f"audit/psnr_{name}": value for name, value in paths.psnr.items()}
    for name, value in paths.reliance.items():
        if value is not None:
            values[f"audit/{name.removeprefix('other_')}_reliance"] = value
    values["audit/effective_code"] = means.code.numbers
    if (floor := _floor(subject, means.code.numbers)) is not None:
        values["audit/psnr_pca"] = floor
    _draw(subject, means)
    return {"figures": values, "skips": [list(skip.shape[1:]) for skip in means.code.skips]}


def _floor(subject: Subject, numbers: int) -> float | None:
    """PSNR (dB) of PCA with as many numbers as the code: of a run beside this one, or fitted here.

    It is of clean images, as the audit is, so the runs of a corruption or of pairs tell nothing of it.
    """
    train, test = (subject.data.splits[name] for name in ("train", "test"))
    if numbers >= subject.record.size.input_numbers:
        return None
    record = subject.record
    floor = records.floor(subject.run.parent, record, numbers, "PCA") if record.given_clean else None
    if floor is not None:
        return float(floor.metrics["test/psnr"])
    if numbers > len(train):
        terminal.note(f"no floor: {len(train):,} training images are too few for PCA of {numbers:,} numbers")
        return None
    with terminal.waiting() as progress:
        progress.add_task(f"PCA of {numbers:,} numbers, which no run beside this one has", total=None)
        return linear_floor(train, test, numbers)


def _draw(subject: Subject, means: Means) -> None:
    """Draw and keep the first test image of each class, and what each path alone reconstructs of it."""
    test, first = subject.data.splits["test"], figures.first_rows(subject.data)
    originals = unit(test[first])
    rows: dict[str, Tensor] = {}
    pictures = alone(subject.network, test.given[first], means)
    figures.keep(subject.run / "audit.npz", originals=originals, **pictures)
    for name, x_hat in pictures.items():
        _, _, number = name.partition("skip ")
        shape = f"\n({_times(means.code.skips[int(number) - 1].shape[1:])})" if number else ""
        rows[name if name == "everything" else f"{name} alone{shape}"] = x_hat
    figures.reconstructions(subject.picture, originals, rows)


def _times(shape: Sequence[int]) -> str:
    return "x".join(str(n) for n in shape)


def verdict(figures: dict[str, float]) -> str:
    """Say in a line whether the pictures come through the latent."""
    reliance = figures.get("audit/latent_reliance")
    if reliance is None:
        return "latent reliance unknown: the reconstructions are no better than the mean image"
    mark = f", bypasses its latent (below {BYPASSING})" if reliance < BYPASSING else ""
    return f"latent reliance {reliance:.2f}{mark}"


def table(result: Result) -> Table:
    """Return an audit as a table: a line for each thing that the decoder may get."""
    values = result["figures"]
    shown = terminal.table(None, "the decoder gets", "PSNR (dB)", "lost (dB)", "reliance")
    labels = dict(_GETS)
    for number, shape in enumerate(result["skips"], start=1):
        labels[f"other_skip_{number}"] = f"another image's skip {number} ({_times(shape)})"
    labels["mean_image"] = labels.pop("mean_image")
    for name, label in labels.items():
        psnr = values.get(f"audit/psnr_{name}")
        if psnr is not None:
            lost = "" if name == "everything" else f"{values['audit/psnr_everything'] - psnr:.2f}"
            part = values.get(f"audit/{name.removeprefix('other_')}_reliance")
            shown.add_row(label, f"{psnr:.2f}", lost, "" if part is None else f"{part:.2f}")
    if "audit/psnr_pca" in values:
        numbers = values["audit/effective_code"]
        shown.add_row(f"PCA of {numbers:,} numbers instead", f"{values['audit/psnr_pca']:.2f}", "", "")
    return shown


def show(run: Path, result: Result) -> Iterator[RenderableType]:
    """Say whether the pictures come through the latent."""
    yield f"{terminal.shown(run)}: {verdict(result['figures'])}"
    yield table(result)
