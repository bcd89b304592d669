"""What can be told from the features of a network: classes, and factors where they are known."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import RenderableType
from rich.table import Table

from caelab import durable, terminal
from caelab.analysis.probe import factors, features, picture, probes
from caelab.analysis.probe.factors import Structure, structure
from caelab.analysis.probe.features import Features
from caelab.analysis.probe.probes import NEIGHBOURS, Findings, Labels
from caelab.analysis.runner import Subject
from caelab.data.datamodule import ImageDataModule, Split
from caelab.errors import UserError
from caelab.inference import trained
from caelab.runs.analyses import Result

_CODES = ("z", "untrained", "pca")  # of a size that the user chose: in these factors are looked for
_OF_THE_DATA = ("pca", "pixels")

Found = tuple[Findings, Structure | None]

# What owes nothing to the run, for the other runs that this process probes.
_floors: dict[tuple[str, str, int], Found] = {}


def measure(subject: Subject) -> Result:
    """Probe the features of a network on its own data.

    Returns:
        ``figures``; ``features``, with intervals, confusion matrix and seconds of each kind; ``factors`` of
        each code, where they are known; ``classes``, ``chance``, ``images``, ``definitions``.

    Raises:
        UserError: one class only, fewer training images than neighbours, or features that do not vary.
    """
    run, net, data = subject.run, subject.network, subject.data
    splits = features.chosen(data)
    labels, levels = _labels(run, data, splits), _factors(data, splits)
    same = [subject.record.config["dataset"], asdict(subject.record.data)]
    identity = json.dumps(same, sort_keys=True)
    found = {}
    sources = _sources(subject, splits)
    with terminal.item_progress() as progress:
        task = progress.add_task("", total=len(sources))
        for kind, source in sources.items():
            progress.update(task, description=f"probing {kind}")
            key = (identity, kind, net.latent if kind == "pca" else 0)
            try:
                found[kind] = _floors.get(key) or _look(run, kind, source(), labels, levels)
            except UserError as error:
                # a discrete bottleneck may round an untrained latent to the same code always
                if kind not in ("untrained", "pixels"):
                    raise
                terminal.note(f"{error}; left out")
                progress.advance(task)
                continue
            if kind in _OF_THE_DATA:
                _floors[key] = found[kind]
            progress.advance(task)
    result = _result(found, labels)
    with durable.file(subject.picture) as file:
        picture.draw(result, terminal.shown(run)).savefig(file)
    return result


def _labels(run: Path, data: ImageDataModule, splits: Mapping[str, Split]) -> Labels:
    targets = {name: split.targets for name, split in splits.items()}
    classes = torch.unique(torch.cat(list(targets.values())))
    names = [data.class_names[label] for label in classes.tolist()]
    if len(names) == 1:
        raise UserError(f"{run}: all its images are of one class, {names[0]}; a probe needs two or more")
    if (n := len(targets["train"])) < NEIGHBOURS:
        raise UserError(
            f"{run}: it has {n} training images, fewer than the {NEIGHBOURS} neighbours that a probe needs; "
            "choose a run with more"
        )
    return Labels(names, {name: torch.searchsorted(classes, y) for name, y in targets.items()})


def _factors(data: ImageDataModule, splits: Mapping[str, Split]) -> dict[str, Any]:
    """``names``, and the levels of each split's images (N, K) int64; empty where a dataset knows none."""
    if not (levels := getattr(data, "factors", None)):
        return {}
    return {"names": getattr(data, "factor_names", ())} | {
        name: levels[name][split.index].numpy() for name, split in splits.items()
    }


def _sources(subject: Subject, splits: Mapping[str, Split]) -> Mapping[str, Callable[[], Features]]:
    """Kind of features -> what brings them; those of the network are read here, in one pass."""
    net = subject.network
    nets = [(net, features.stages(net))]
    if any(parameter.requires_grad for parameter in net.parameters()):
        nets.append((trained.as_started(subject.run, subject.record), []))
    read = []
    with terminal.item_progress() as progress:
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


def _look(run: Path, kind: str, x: Features, labels: Labels, levels: dict[str, Any]) -> Found:
    try:
        findings = probes.probe(x, labels)
    except ValueError as error:
        raise UserError(f"{run}: {kind}: {error}") from None
    if not levels or kind not in _CODES:
        return findings, None
    train, test = ((x[split].numpy(), levels[split]) for split in ("train", "test"))
    return findings, structure(train, test, levels["names"])


def _result(found: Mapping[str, Found], labels: Labels) -> Result:
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


def show(run: Path, result: Result) -> Iterator[RenderableType]:
    """Show what probes read as a table, and what is known of the factors as another."""
    images = result["images"]
    title = f"{terminal.shown(run)}: test accuracy (%) of {len(result['classes'])} classes"
    heads = [
        f"{probe}{labels}"
        for labels in ("", "\n10 % labels", "\n1 % labels")
        for probe in ("linear", "10-NN")
    ]
    shown = terminal.table(
        f"{title}, {images['train']:,} training and {images['test']:,} test images",
        *("features", "numbers", *heads, "seconds"),
        caption=f"always the commonest class: {100 * result['chance']:.1f}",
    )
    for kind, findings in result["features"].items():
        cells = [_percent(findings["scores"].get(name)) for name in _SCORES]
        shown.add_row(kind, f"{findings['numbers']:,}", *cells, f"{findings['seconds']:.0f}")
    yield shown
    if "factors" in result:
        yield _structures(result["factors"])


def _structures(found: Mapping[str, Any]) -> Table:
    heads = ["MIG" if name == "mig" else name for name in _STRUCTURE]
    other = terminal.table("the known factors in each code, from 0 to 1", "code", *heads, "seconds")
    for kind, one in found.items():
        other.add_row(kind, *(f"{one[name]:.3f}" for name in _STRUCTURE), f"{one['seconds']:.0f}")
    return other


def _percent(score: dict[str, float] | None) -> str:
    if score is None:
        return "-"
    accuracy, low, high = (f"{100 * score[key]:.1f}" for key in ("accuracy", "low", "high"))
    return f"{accuracy} [{low}, {high}]"
