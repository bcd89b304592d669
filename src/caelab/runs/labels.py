"""What runs are called beside each other: the settings in which they differ, from their resolved configs."""

import json
from collections import Counter
from collections.abc import Sequence

from caelab.config.grammar import written
from caelab.runs.record import Complete, Record

TEST_IMAGES = "test images"
"""Name of what tells runs on different test images apart."""

Label = dict[str, str]

_PLAIN = ("dataset", "model", "loss", "optimizer")  # whose options say what they are
_CHOICES = (*_PLAIN, "bottleneck", "scheduler", "corruption", "augment")
_FOLLOWS = {"select": "bottleneck"}  # key -> group whose options set it as well
_OF_TRAINING = ("dataset.batch_size", "dataset.train_size", "dataset.val_size")


def labels(records: Sequence[Record]) -> list[Label]:
    """Name each run by what differs between them, or by its model where nothing does.

    A setting counts where runs with the same option of its group differ in it: two models differ in most of
    their keys, and are told apart by their names.

    Args:
        records: finished or failed; a run that was never composed has a ``-`` for each setting.

    Returns:
        For each run the same keys, as on the command line -> value; ``test images`` where those differ.
    """
    full = [_label(record) for record in records]
    keys = dict.fromkeys(key for label in full for key in label)
    composed = [label for label, record in zip(full, records, strict=True) if record.config]
    varied = [key for key in keys if _varies(key, composed)]
    named = [{key: label.get(key, "-") for key in varied or ["model"]} for label in full]
    images = image_sets(records)
    if len({*images} - {""}) > 1:
        named = [label | {TEST_IMAGES: one or "-"} for label, one in zip(named, images, strict=True)]
    return named


def lines(label: Label) -> list[str]:
    """Show a label beside a picture, a line for each of its parts."""
    known = {key: value for key, value in label.items() if value != "-"}
    return [value if key in _PLAIN else f"{key}={value}" for key, value in known.items()]


def numbered(names: Sequence[str]) -> list[str]:
    """Tell equal names apart by a number: ``base``, ``base (2)``."""
    taken: Counter[str] = Counter()
    found = []
    for name in names:
        taken[name] += 1
        found.append(f"{name} ({taken[name]})" if taken[name] > 1 else name)
    return found


def _label(record: Record) -> Label:
    """Everything that may name a run: its choices, its seed, and its settings."""
    choices = {key: record.choices.get(key, "-") for key in _CHOICES}
    settings = {key: written(value) for key, value in record.settings.items()}
    return {**choices, "seed": "-" if record.seed is None else str(record.seed), **settings}


def _varies(key: str, full: Sequence[Label]) -> bool:
    group = key.partition(".")[0] if "." in key else _FOLLOWS.get(key, "")
    values: dict[str | None, set[str]] = {}
    for label in full:
        values.setdefault(label.get(group), set()).add(label.get(key, "-"))
    return any(len(found) > 1 for found in values.values())


def image_sets(records: Sequence[Record]) -> list[str]:
    """Name the test images of each run: the same name for the same images, empty for a run without any."""
    keys = [_images_key(record) if isinstance(record, Complete) else "" for record in records]
    found = {key: record for key, record in zip(keys, records, strict=True) if isinstance(record, Complete)}
    names = {key: _images_name(record) for key, record in found.items()}
    counts = Counter(names.values())
    for key, name in names.items():
        if counts[name] > 1:
            names[key] = f"{name}, {found[key].data.sha256[:8]}"
    return [names.get(key, "") for key in keys]


def _images_key(record: Complete) -> str:
    """What the test images follow from: the data's checksum and classes.

    Of data that are drawn that checksum is of the training images too, so there it is their settings.
    """
    data, settings = record.data, record.anywhere
    drawn = {key: value for key, value in settings.items() if key.startswith("dataset.")}
    of = (
        {key: value for key, value in drawn.items() if key not in _OF_TRAINING}
        if "dataset.test_size" in drawn
        else [data.sha256, settings.get("dataset.classes")]
    )
    return json.dumps([data.name, data.test, of], sort_keys=True)


def _images_name(record: Complete) -> str:
    data, classes = record.data, record.settings.get("dataset.classes")
    name = f"{data.test:,} of {data.name}"
    return f"{name}, classes {written(classes)}" if classes else name


_DISPLAY = {"mnist": "MNIST", "cifar10": "CIFAR-10", "cinic10": "CINIC-10"}

PUBLISHED = frozenset(_DISPLAY)
"""Datasets of the published report. Its protocol means nothing on others."""


def display(dataset: str) -> str:
    """Name of a dataset for readers, such as ``CIFAR-10``; the option itself where there is no other."""
    return _DISPLAY.get(dataset, dataset)
