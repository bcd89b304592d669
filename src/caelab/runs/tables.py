"""Tables of runs on the screen."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from caelab import terminal, texts
from caelab.metrics.measures import SELECT, measures, score
from caelab.runs.columns import COLUMNS, column
from caelab.runs.labels import PUBLISHED, TEST_IMAGES, Label, labels
from caelab.runs.record import BYPASSING, Complete, Record, SearchRecord, Time, chosen_by

if TYPE_CHECKING:
    import pandas as pd

_GROUPS = ("dataset", "model", "loss", "optimizer")


def _decibel(value: float) -> str:
    return f"{value:.2f}"


def reliance(value: float | None) -> str:
    """Latent reliance as text, marked where it says that the latent is bypassed; empty where unknown."""
    if value is None:
        return ""
    return f"{value:.2f} bypassing" if value < BYPASSING else f"{value:.2f}"


_SHOWN = ("parameters", "latent", "effective_code", "latent_reliance")
_SPENT = ("epochs", "seconds")


def _named(records: list[Record]) -> tuple[list[tuple[Label, Complete]], list[tuple[Label, Record]]]:
    """Runs that were trained to their end, best on validation first, and the other ones.

    Those on the same test images stand together. A trial has no test figures.
    """
    named = list(zip(labels(records), records, strict=True))
    sets = list(dict.fromkeys(label.get(TEST_IMAGES) for label, _ in named))
    done = [(label, record) for label, record in named if isinstance(record, Complete)]
    key = chosen_by(record for _, record in done)
    done.sort(key=lambda pair: (sets.index(pair[0].get(TEST_IMAGES)), -pair[1].score(key)))
    return done, [pair for pair in named if not isinstance(pair[1], Complete)]


def trials(found: SearchRecord) -> Table:
    """Table of a search's trials, best on validation first, those that ended early below."""
    history = [trial for trial in found.history if trial.state != "failed"]
    pruned = sum(trial.state == "pruned" for trial in history)
    title = f"{found.label}: {len(history)} trials of {found.epochs} epochs, {pruned} pruned"
    table = Table(title=title, title_justify="left")
    value = column(found.select)
    for name in ("trial", *found.space, value.title, "state"):
        table.add_column(name, justify="left" if name == "state" else "right")
    for trial in sorted(history, key=lambda t: (t.state == "pruned", -score(found.select, t.value or 0.0))):
        point = (_setting(trial.point.get(key)) for key in found.space)
        state = f"pruned at epoch {trial.epochs}" if trial.state == "pruned" else "finished"
        style = "dim" if trial.state == "pruned" else None
        table.add_row(str(trial.number), *point, value.cell(trial.value), state, style=style)
    return table


def _setting(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def frame(records: list[Record]) -> "pd.DataFrame":
    """Return a table of runs, a line each, best on validation first; with an ``error`` where a run failed.

    Figures are rounded to 4 decimals. Runs on different test images stand apart.
    """
    import pandas as pd

    done, others = _named(records)
    further = [name for name in measures() if any(f"test/{name}" in r.metrics for _, r in done)]
    validated = dict.fromkeys([SELECT, *(r.select for _, r in done)])
    shown = [
        *(COLUMNS[name] for name in _SHOWN),
        *map(column, validated),
        *(COLUMNS[name] for name in ("psnr", "ssim", *further, *_SPENT)),
    ]
    rows = [label | {one.title: one.value(r, r.metrics) for one in shown} for label, r in done]
    table = pd.DataFrame([*rows, *(label | {"error": record.error} for label, record in others)])
    for key in [*done, *others][0][0]:
        with suppress(ValueError):  # a label is text, also where it is a number
            table[key] = pd.to_numeric(table[key])
    return table.round({one.title: 4 for one in shown})  # settings stay as they were typed


def protocols(
    metrics: dict[str, float],
    images: int,
    title: str,
    published: bool,
    floor: tuple[str, float] | None = None,
) -> None:
    """Print test figures, also under the published protocol, and a floor (its name, its PSNR in dB) below."""
    further = [COLUMNS[name] for name in measures() if f"test/{name}" in metrics]
    titles = [one.title for one in further]
    table = terminal.table(title, "protocol", "images", "PSNR (dB)", "PSNR pooled (dB)", "SSIM", *titles)
    full = [
        _decibel(metrics["test/psnr"]),
        _decibel(metrics["test/psnr_pooled"]),
        f"{metrics['test/ssim']:.3f}",
        *(one.cell(metrics[one.path]) for one in further),
    ]
    table.add_row("full", f"{images:,}", *full)
    if published:
        ten = [_decibel(metrics["published/psnr"]), "", f"{metrics['published/ssim']:.3f}"]
        table.add_row("published", "one a class", *ten)
    if floor:
        table.add_row(floor[0], f"{images:,}", _decibel(floor[1]), "", "")
    terminal.console.print(table)


def summary(record: Complete, run_dir: Path, floor: Complete | None) -> None:
    """Print one finished run: its figures, the floor at its latent, and where its files lie."""
    size, time = record.size, record.time
    title = ", ".join(f"{record.choices[group]}" for group in _GROUPS) + f", seed {record.seed}"
    below = None
    if floor is not None and not record.floor:
        below = f"full, {floor.floor} of {size.latent} numbers", floor.metrics["test/psnr"]
    published = record.choices["dataset"] in PUBLISHED
    protocols(record.metrics, record.data.test, title, published, below)
    terminal.say(
        f"{size.parameters:,} parameters; {size.latent:,} latent numbers, {size.effective_code:,} "
        f"reach the decoder ({size.input_numbers:,} in the image){_path(record)}; "
        f"best epoch {record.best_epoch} of {time.epochs}; {_speed(time)}"
    )
    if line := _crossing(record):
        terminal.say(line)
    for name in ("reconstructions.png", "result.json"):
        terminal.say(f"  {terminal.shown(run_dir / name)}")


def _path(record: Complete) -> str:
    """Say how much comes through the latent, where anything goes around it."""
    if record.size.effective_code == record.size.latent:
        return ""
    value = record.metrics.get("test/latent_reliance")
    return f"; latent reliance {reliance(value) or 'unknown'}"


def _crossing(record: Complete) -> str:
    """Say what a bottleneck makes of its codebook or of its numbers; empty where it makes nothing of them."""
    figures = record.metrics
    if (bits := record.size.bits) is not None:
        line = f"{bits:,.0f} bits an image"
        if "test/usage" in figures:
            line += f"; test codes use {figures['test/usage']:.1%} of the codebook, "
            line += f"perplexity {figures['test/perplexity']:,.1f}"
        return line
    if (bits := figures.get("test/bits")) is not None:
        return f"{bits:,.1f} bits an image by the learnt densities; caelab rate and encode code them"
    if (active := figures.get("test/active_numbers")) is None:
        return ""
    line = f"{active:,.0f} of {record.size.latent:,} latent numbers tell something of an image"
    if not active:
        line += ": the posterior has collapsed; a smaller bottleneck.beta, or bottleneck.warm_up, may help"
    return line


def _speed(time: Time) -> str:
    line = f"{time.fit_seconds:.0f} s training and validation"
    if time.images_per_second:
        line += f", {time.images_per_second:,.0f} training images/s"
    return line


def markdown(frame: "pd.DataFrame", right: Sequence[bool]) -> str:
    """Return text cells as a pipe table.

    Args:
        frame: of text.
        right: whether a column stands at the right.
    """
    head, *body = ([texts.markdown(cell) for cell in row] for row in [frame.columns, *frame.to_numpy()])
    rule = ["---:" if one else "---" for one in right]
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, rule, *body])


def latex(frame: "pd.DataFrame", right: Sequence[bool]) -> str:
    """Return text cells as a booktabs tabular; the arguments are those of ``markdown``."""
    shown = frame.map(texts.latex)
    shown.columns = [texts.latex(str(name)) for name in frame]
    kinds = "".join("r" if one else "l" for one in right)
    return str(shown.style.hide(axis="index").to_latex(hrules=True, column_format=kinds))
