"""What is in a trained model's features? ``python -m caelab.probe RUN...``."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from caelab import after, durable, results, screen
from caelab.errors import UserError
from caelab.results import Record

if TYPE_CHECKING:  # they bring torch
    from caelab.analysis.factors import Structure
    from caelab.analysis.features import Features
    from caelab.analysis.probes import Findings, Labels
    from caelab.data.datamodule import ImageDataModule, Split
    from caelab.models.autoencoder import Autoencoder

_USAGE = """caelab-probe RUN [RUN ...]

Asks how well the class of an image can be told from the features of each finished run in directory RUN: from
its code z and from each encoder stage, by a linear probe and by the 10 nearest neighbours, with all labels, a
tenth and a hundredth of them; beside pixels, principal components and the network as it was before training.
On shapes, whose factors are known, also whether each factor has a number of the code to itself (DCI, MIG).
Writes RUN/probe.json and RUN/probe.png.

  caelab-probe multirun/runs/cifar10/improved-mse-adam-s0-0123456789
  caelab-probe multirun/runs/mnist/*
"""

NAME = "probe"

_CODES = ("z", "untrained", "pca")  # of a size that the user chose: in these factors are looked for
_OF_THE_DATA = ("pca", "pixels")

Found = tuple["Findings", "Structure | None"]

# What owes nothing to the run, for the other runs that this process probes.
_floors: dict[tuple[str, str, int], Found] = {}


def probe(run: Path) -> dict[str, Any]:
    """Probe the features of a finished run's best checkpoint on its own data.

    Args:
        run: the run's directory.

    Returns:
        ``figures``, by key as in ``docs/metrics.md``; ``features``, with intervals, confusion matrix and
        seconds of each kind; ``factors`` of each code, where they are known; ``classes``, ``chance``,
        ``images``, ``definitions``, ``seconds``. Also written to ``probe.json`` of the run's directory,
        beside the picture ``probe.png``.

    Raises:
        UserError: no finished run, no checkpoint, data that cannot be had, one class only, fewer training
            images than neighbours, or features that do not vary.
    """
    record = results.finished(run)
    from caelab.analysis import accuracies, features
    from caelab.restore import datamodule, load

    began = time.perf_counter()
    net, data = load(run), datamodule(record)
    data.prepare_data()
    data.setup("test")
    splits = features.chosen(data)
    labels, factors = _labels(run, data, splits), _factors(data, splits)
    identity = data.sha256 + json.dumps(record["config"]["dataset"], sort_keys=True)
    found = {}
    sources = _sources(run, net, record, splits)
    with screen.item_progress() as progress:
        task = progress.add_task("", total=len(sources))
        for kind, source in sources.items():
            progress.update(task, description=f"probing {kind}")
            key = (identity, kind, net.latent if kind == "pca" else 0)
            found[kind] = _floors.get(key) or _look(run, kind, source(), labels, factors)
            if kind in _OF_THE_DATA:
                _floors[key] = found[kind]
            progress.advance(task)
    analysis = _analysis(found, labels) | {"seconds": time.perf_counter() - began}
    with durable.file(run / f"{NAME}.png") as file:
        accuracies.draw(analysis, screen.shown(run)).savefig(file)
    results.write_analysis(run, NAME, record, analysis)
    return analysis


def _labels(run: Path, data: "ImageDataModule", splits: "Mapping[str, Split]") -> "Labels":
    import torch

    from caelab.analysis.probes import NEIGHBOURS, Labels

    targets = {name: split.targets for name, split in splits.items()}
    classes = torch.unique(torch.cat(list(targets.values())))
    names = [data.class_names[label] for label in classes.tolist()]
    if len(names) == 1:
        raise UserError(f"{run}: all its images are of one class, {names[0]}; a probe needs two or more")
    if (n := len(targets["train"])) < NEIGHBOURS:
        raise UserError(
            f"{run}: its {n} training images are fewer than the {NEIGHBOURS} neighbours of a probe; "
            "probe a run with more"
        )
    return Labels(names, {name: torch.searchsorted(classes, y) for name, y in targets.items()})


def _factors(data: "ImageDataModule", splits: "Mapping[str, Split]") -> dict[str, Any]:
    """``names``, and the levels of each split's images (N, K) int64; empty where a dataset knows none."""
    if not (levels := getattr(data, "factors", None)):
        return {}
    return {"names": getattr(data, "factor_names", ())} | {
        name: levels[name][split.index].numpy() for name, split in splits.items()
    }


def _sources(
    run: Path, net: "Autoencoder", record: Record, splits: "Mapping[str, Split]"
) -> "Mapping[str, Callable[[], Features]]":
    """Kind of features -> what brings them; those of the network are read here, in one pass."""
    from caelab import trained
    from caelab.analysis import features

    nets = [(net, features.stages(net))]
    if any(parameter.requires_grad for parameter in net.parameters()):
        nets.append((trained.as_started(run, record), []))
    read = []
    with screen.item_progress() as progress:
        task = progress.add_task("reading features", total=len(nets) * features.batches(splits))
        for one, taps in nets:
            read.append(features.read(one, splits, taps, lambda: progress.advance(task)))
    kinds, *before = read
    if before:
        kinds["untrained"] = before[0]["z"]
    # popped, so that features are gone once they are probed: all of them may be a gigabyte
    return {kind: partial(kinds.pop, kind) for kind in kinds} | {
        "pca": partial(features.components, splits, net.latent),
        "pixels": partial(features.pixels, splits),
    }


def _look(run: Path, kind: str, x: "Features", labels: "Labels", factors: dict[str, Any]) -> Found:
    from caelab.analysis.factors import structure
    from caelab.analysis.probes import probe

    try:
        findings = probe(x, labels)
    except ValueError as error:
        raise UserError(f"{run}: {kind}: {error}") from None
    if not factors or kind not in _CODES:
        return findings, None
    train, test = ((x[split].numpy(), factors[split]) for split in ("train", "test"))
    return findings, structure(train, test, factors["names"])


def _analysis(found: Mapping[str, Found], labels: "Labels") -> dict[str, Any]:
    from caelab.analysis import factors, probes

    truth = labels.of["test"]
    structures = {kind: asdict(two) for kind, (_, two) in found.items() if two}
    figures = {
        f"probe/{kind}/{name}": score.accuracy
        for kind, (findings, _) in found.items()
        for name, score in findings.scores.items()
    }
    for kind, two in structures.items():
        figures |= {f"probe/{kind}/{name}": two[name] for name in _STRUCTURE}
    return {
        "figures": figures,
        "classes": list(labels.names),
        "chance": int(truth.bincount().max()) / len(truth),
        "images": {split: len(y) for split, y in labels.of.items()},
        "features": {kind: asdict(findings) for kind, (findings, _) in found.items()},
        **({"factors": structures} if structures else {}),
        "definitions": probes.DEFINITIONS | (factors.DEFINITIONS if structures else {}),
    }


_SCORES = ("linear", "knn", "linear_10pct", "knn_10pct", "linear_1pct", "knn_1pct")
_STRUCTURE = ("disentanglement", "completeness", "informativeness", "mig")


def tables(run: Path, analysis: dict[str, Any]) -> list[Table]:
    """Return what probes found as a table, and what was found of the factors as another."""
    images = analysis["images"]
    title = f"{screen.shown(run)}: test accuracy (%) of {len(analysis['classes'])} classes"
    shown = Table(
        title=f"{title}, {images['train']:,} training and {images['test']:,} test images",
        title_justify="left",
        caption=f"always the commonest class: {100 * analysis['chance']:.1f}",
        caption_justify="left",
    )
    heads = [
        f"{probe}{labels}"
        for labels in ("", "\n10 % labels", "\n1 % labels")
        for probe in ("linear", "10-NN")
    ]
    for column in ("features", "numbers", *heads, "seconds"):
        shown.add_column(column, justify="left" if column == "features" else "right")
    for kind, findings in analysis["features"].items():
        cells = [_percent(findings["scores"].get(name)) for name in _SCORES]
        shown.add_row(kind, f"{findings['numbers']:,}", *cells, f"{findings['seconds']:.0f}")
    if "factors" not in analysis:
        return [shown]
    other = Table(title="the known factors in each code, from 0 to 1", title_justify="left")
    for column in ("code", *_STRUCTURE, "seconds"):
        other.add_column(
            column.upper() if column == "mig" else column, justify="left" if column == "code" else "right"
        )
    for kind, found in analysis["factors"].items():
        other.add_row(kind, *(f"{found[name]:.3f}" for name in _STRUCTURE), f"{found['seconds']:.0f}")
    return [shown, other]


def _percent(score: dict[str, float] | None) -> str:
    if score is None:
        return "-"
    accuracy, low, high = (f"{100 * score[key]:.1f}" for key in ("accuracy", "low", "high"))
    return f"{accuracy} [{low}, {high}]"


def _show(run: Path, analysis: dict[str, Any]) -> None:
    for table in tables(run, analysis):
        screen.console.print(table)


def main() -> None:
    """Entry point: exit status 0 when every run was probed."""
    after.command_line(NAME, _USAGE, probe, _show)


if __name__ == "__main__":
    main()
