"""The model card of an export: what the model is, what it was measured to do, and what it cannot."""

import hashlib
import inspect
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup
from torch import Tensor

from caelab import texts
from caelab.config.grammar import yaml
from caelab.data.datamodule import ImageDataModule
from caelab.export.check import Finding
from caelab.export.floors import Floor
from caelab.export.formats import KEY, is_path, metadata
from caelab.export.parts import Part
from caelab.export.uses import corrupted, limits, reliance, uses
from caelab.plotting.embed import environment
from caelab.runs import results
from caelab.runs.labels import display
from caelab.runs.record import Complete

_COLUMNS = ("test/psnr", "test/psnr_pooled", "test/ssim", "published/psnr", "published/ssim")


@dataclass(frozen=True)
class Export:
    """What a card tells of.

    Attributes:
        run: directory of the run.
        record: its record.
        form: name of the format.
        parts: of the network: encoder, decoder, autoencoder.
        findings: of the check.
        floors: of the run.
        data: of the run; they need not be on this machine.
        checked: the images on which it was checked, such as ``64 test images``.
        versions: what the check was made with.
    """

    run: Path
    record: Complete
    form: str
    parts: Sequence[Part]
    findings: Sequence[Finding]
    floors: Sequence[Floor]
    data: ImageDataModule
    checked: str
    versions: str


def render(export: Export, folder: Path) -> str:
    """Return the card, in Markdown, of the files in a folder."""
    record = export.record
    dataset, model = display(record.choices["dataset"]), record.choices["model"]
    value = results.figures(export.run, record).get("test/latent_reliance")
    net = export.parts[-1].module
    return (
        environment(".md", Path(__file__).parent)
        .get_template("card.md.j2")
        .render(
            title=f"{model} on {dataset}",
            summary=Markup(
                (inspect.getdoc(type(getattr(net, "net", net))) or "").partition("\n")[0].replace("``", "`")
            ),
            model=model,
            dataset=dataset,
            format=export.form,
            made=f"{datetime.now(UTC):%-d %B %Y}",
            key=KEY,
            record=record,
            environment=record.environment,
            size=record.size,
            shape=record.data.shape,
            dtype=_name(export.parts[0].example[0]),
            code=export.parts[1].shapes,
            training=_training(record),
            undone=corrupted(record),
            command=_command(record),
            config=yaml(metadata(record)["config"]),
            data=export.data,
            classes=_classes(export.data),
            figures=_figures(record, export.floors),
            reliance=Markup(reliance(record, value)),
            costs=_costs(record),
            uses=map(Markup, uses(record, export.data)),
            limits=map(Markup, limits(record, export.data, export.floors)),
            findings=export.findings,
            sha256={one.file: _digest(folder / one.file) for one in export.findings},
            checked=export.checked,
            versions=export.versions,
        )
    )


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _command(record: Complete) -> str:
    """The command that trained it, without what is of that machine alone."""
    kept = []
    for override in record.overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if not key.startswith(("paths", "hydra", "logger", "force", "trainer.enable")) and not is_path(value):
            kept.append(override)
    return shlex.join(["caelab", "train", *kept])


def _training(record: Complete) -> str:
    epochs = record.time.epochs
    if not epochs:
        return "fitted in one step, without a gradient"
    return f"{epochs} epochs, the best on validation is {record.best_epoch}"


def _classes(data: ImageDataModule) -> str:
    if not data.class_names:
        return "not known without the images"
    kept = range(len(data.class_names)) if data.classes is None else data.classes
    names = ", ".join(str(data.class_names[label]) for label in kept)
    return names if data.classes is None else f"{names} (of {len(data.class_names)})"


def _figures(record: Complete, floors: Sequence[Floor]) -> list[list[str]]:
    """Rows of the table: this model, then the floors."""
    own = [
        Markup(f"**{texts.markdown(record.choices['model'])}**"),
        *_cells(record.metrics),
        "this run",
    ]
    return [own, *([floor.name, *_cells(floor.metrics), floor.note] for floor in floors)]


def _cells(metrics: dict[str, Any]) -> list[str]:
    return [f"{metrics[k]:.{2 if 'psnr' in k else 3}f}" if k in metrics else "" for k in _COLUMNS]


def _costs(record: Complete) -> list[str]:
    spent, made = record.time, record.environment
    threads = "1 thread" if made["threads"] == 1 else f"{made['threads']} threads"
    code = next((f", {key} {str(made[key])[:10]}" for key in ("commit", "code") if made.get(key)), "")
    return [
        f"{spent.fit_seconds:,.0f} s of training and validation, {spent.test_seconds:,.0f} s of test",
        f"Device: {made['device']}, {threads}, precision {made['precision']}",
        f"Versions: caelab {made['caelab']}{code}, torch {made['torch']}, lightning {made['lightning']}, "
        f"Python {made['python']}",
        f"Finished {record.finished.replace('T', ' ').replace('+00:00', ' UTC')}",
    ]
