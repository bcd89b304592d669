"""Speed of the lab against the machine's limit and what users would write: ``caelab bench``."""

import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from caelab import terminal
from caelab.bench import WAYS, loading, pictures, sheet, speed_run
from caelab.bench.measure import RATIOS, Rounds, carry_out, ratio, rounds, speeds, spread
from caelab.composition import compose
from caelab.errors import UserError
from caelab.runs import record_file

DEFAULT = ["dataset=cifar10", "dataset.train_size=10000", "trainer.max_epochs=4"]
"""Overrides of each way, where the user gives none."""
_GROWTH: dict[str, tuple[list[int], list[str]]] = {
    "dataset.train_size": ([5_000, 40_000, 270_000], ["dataset=shapes"]),  # of which there are any number
    "dataset.batch_size": ([64, 256, 1024], []),
    "model.latent": ([16, 256, 1024], []),
}

_MAIN = ("peak memory of the main process (MB)", "read by it (MB)")


def installed() -> list[str]:
    """Every way whose package is installed."""
    return [name for name in WAYS if name != "pythae" or find_spec("pythae")]


def bench(
    models: Sequence[str], only: Sequence[str], overrides: Sequence[str], count: int, grow: bool
) -> dict[str, Any]:
    """Measure, show and write.

    Args:
        models: options of the model group.
        only: contestants.
        overrides: as for caelab train.
        count: rounds.
        grow: whether to measure the growth, too.

    Returns:
        What the JSON file holds.

    Raises:
        UserError: an unknown contestant or one that is not installed or failed, too few rounds or epochs.
    """
    for name in only:
        if name not in WAYS:
            raise UserError(f"--only={name}: there is no such way{terminal.nearest(name, list(WAYS))}")
    if "pythae" in only and not find_spec("pythae"):
        raise UserError("--only=pythae: it is not installed; pip install 'caelab[bench]', or leave it out")
    if count < 1:
        raise UserError(f"--rounds={count}: must be at least 1")
    for model in models:  # a mistake is found before anything is measured
        epochs = compose.config([f"model={model}", *overrides])[0].trainer.max_epochs
        if type(epochs) is not int or epochs < 2:
            raise UserError(
                f"trainer.max_epochs={epochs}: must be a whole number, 2 or more; the first is not timed"
            )
    found = sheet.begun(overrides) | {"models": {}}
    for model in models:
        chosen = [f"model={model}", *overrides]
        measured = rounds(only, chosen, count, model)
        memory = [carry_out("nothing", chosen) for _ in range(count)]
        evaluated = [carry_out("evaluation", chosen) for _ in range(count)]
        found["models"][model] = {"rounds": measured, "memory": memory, "evaluation": evaluated}
        found["load"].append(os.getloadavg()[0])
        sheet.show([*_of_a_model(model, found["models"][model], found["machine"]["gpu"])])
    if grow:
        found["growth"] = {model: _grow(model, overrides) for model in models}
    sheet.keep(found)
    return found


def markdown(file: Path) -> str:
    """Return the tables of a file that ``caelab bench`` has written, as Markdown.

    Raises:
        UserError: it is none, or damaged.
    """
    try:
        found = record_file.parse(record_file.text(file))
        if "loading" in found:
            parts: list[Table | str] = loading.tables(found)
        elif "pages" in found:
            parts = [pictures.table(found)]
        elif "targets" in found:
            parts = [speed_run.table(found)]
        else:
            parts = _parts(found)
        return "\n".join(f"{part}\n" if isinstance(part, str) else sheet.pipes(part) for part in parts)
    except FileNotFoundError:
        raise UserError(f"{file}: there is no such file") from None
    except (*record_file.DAMAGE, KeyError):
        raise UserError(f"{file}: not a file of figures that caelab bench wrote") from None


def _parts(found: Mapping[str, Any]) -> list[Table | str]:
    parts: list[Table | str] = [
        part
        for model, one in found["models"].items()
        for part in _of_a_model(model, one, found["machine"]["gpu"])
    ]
    parts += [
        _growth(model, key, sizes)
        for model, grown in found.get("growth", {}).items()
        for key, sizes in grown.items()
    ]
    return parts


def _of_a_model(model: str, one: Mapping[str, Any], gpu: str | None) -> Iterator[Table | str]:
    yield _speeds(model, one["rounds"])
    yield _ratios(model, one["rounds"], gpu)
    yield from _rest(model, one["rounds"], one["memory"], one["evaluation"])


def _speeds(model: str, found: Rounds) -> Table:
    title = f"{model}: median of {len(found)} rounds (lowest to highest)"
    shown = terminal.table(title, "way", "training images/s", "first step (s)", *_MAIN)
    for name, text in WAYS.items():
        if name in found[0]:
            values = {key: [one[name].get(key) or 0.0 for one in found] for key in found[0][name]}
            shown.add_row(
                text,
                spread(values["images_per_second"], ",.0f"),
                f"{median(values['first_step']):.1f}",
                f"{median(values['peak_bytes']) / 1e6:,.0f}",
                f"{median(values.get('read_bytes', [0])) / 1e6:,.0f}",
            )
    return shown


def _ratios(model: str, found: Rounds, gpu: str | None) -> Table:
    shown = terminal.table(
        f"{model}: ratios of training images/s, round by round", "ratio", "median (lowest to highest)", "goal"
    )
    for a, b, cores_goal, gpu_goal in RATIOS:
        if all(any(name.startswith(side) for name in found[0]) for side in (a, b)):
            goal = gpu_goal if gpu else cores_goal
            shown.add_row(f"{a} / {b}", spread(ratio(found, a, b), ".3f"), f"{goal}" if goal else "")
    return shown


def _rest(
    model: str, found: Rounds, memory: Sequence[dict[str, Any]], evaluated: Sequence[dict[str, Any]]
) -> Iterator[str]:
    """Say what evaluation takes, and what memory is beyond torch's own."""
    seconds = spread([one["caelab"] for one in evaluated], ".2f")
    share = spread([one["caelab"] / one["skimage"] for one in evaluated], ".3f")
    yield (
        f"{model}: PSNR and SSIM of {evaluated[0]['images']:,} images with their forward pass: {seconds} s, "
        f"{share} of scikit-image's time"
    )
    if "auto" in found[0]:
        beyond = [
            one["auto"]["peak_bytes"] - bare["peak_bytes"] for one, bare in zip(found, memory, strict=True)
        ]
        yield (
            f"{model}: memory beyond torch's own {median(beyond) / 1e6:,.0f} MB; "
            f"its arrays take {memory[0]['arrays'] / 1e6:,.0f} MB"
        )
        images = median(speeds(found, "auto"))
        yield f"{model}: an epoch of 40,000 images takes {40_000 / images:.1f} s with speed=auto"


def _grow(model: str, overrides: Sequence[str]) -> dict[str, dict[str, Rounds]]:
    """Key -> value -> two rounds of two epochs, of which the second is timed."""
    grown: dict[str, dict[str, Rounds]] = {}
    for key, (values, own) in _GROWTH.items():
        grown[key] = {}
        for value in values:
            chosen = [f"model={model}", *overrides, *own, "trainer.max_epochs=2", f"{key}={value}"]
            grown[key][str(value)] = rounds(["auto", "bare"], chosen, 2, f"{model} {key}={value}")
        terminal.console.print(_growth(model, key, grown[key]))
    return grown


def _growth(model: str, key: str, sizes: Mapping[str, Rounds]) -> Table:
    own = _GROWTH[key][1]
    shown = terminal.table(
        f"{model}: training images/s by {key}, two rounds{f', {own[0]}' if own else ''}",
        key,
        "speed=auto",
        "auto / bare loop",
        "peak memory (MB)",
    )
    for value, found in sizes.items():
        shown.add_row(
            f"{int(value):,}",
            spread(speeds(found, "auto"), ",.0f"),
            spread(ratio(found, "auto", "bare"), ".3f"),
            f"{median(one['auto']['peak_bytes'] for one in found) / 1e6:,.0f}",
        )
    return shown
