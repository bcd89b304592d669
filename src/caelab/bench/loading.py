"""Speed of loading pictures, beside a bare loop and what users would write: ``caelab bench --loading``."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from caelab import terminal
from caelab.bench import LOADERS, photographs, sheet
from caelab.bench.measure import Rounds, carry_out, ratio, rounds, speeds, spread
from caelab.composition import compose
from caelab.errors import UserError

_SIDES = (64, 128, 256)
_BYTES = 50_000_000
"""Of the training pictures of each size, as uint8."""
_OWN = ["dataset=folder", "dataset.batch_size=64"]
_SPEEDS = {
    "images_per_second": "per second",
    "images_per_cpu_second": "per second of a core",
    "trained_per_second": "per second, while a network learns",
}
_COUNTS = (10_000, 100_000, 1_000_000)
_RATIOS = [
    ("held", "memory", 0.95),
    ("warm", "memory", 0.95),
    ("cold", "memory", None),
    ("held", "imagefolder", 3),
    ("warm", "imagefolder", 3),
    ("cold", "imagefolder", 3),
    ("held", "webdataset", None),
]


def installed() -> list[str]:
    """Every loader whose package is installed."""
    return [name for name in LOADERS if not name.startswith("webdataset") or find_spec("webdataset")]


def bench(only: Sequence[str], overrides: Sequence[str], count: int, grow: bool) -> dict[str, Any]:
    """Measure, show and write.

    Args:
        only: loaders.
        overrides: as for caelab train. A model is trained, too; ``dataset.image_size`` is the only size.
        count: rounds.
        grow: whether to load up to a million pictures, too, which takes 12 GB of disk for a while.

    Returns:
        What the JSON file holds.

    Raises:
        UserError: an unknown loader or one that is not installed, or one that failed.
    """
    for name in only:
        if name not in LOADERS:
            raise UserError(f"--only={name}: there is no such loader{terminal.nearest(name, list(LOADERS))}")
        if name not in installed():
            raise UserError(f"--only={name}: it is not installed; pip install 'caelab[bench]'")
    chosen = ["model=patch_pca", *overrides]  # which learns nothing
    config = compose.plain(compose.config([*_OWN, "dataset.path=.", *chosen])[0])
    sides: tuple[int, ...] = _SIDES
    if any(word.startswith("dataset.image_size=") for word in overrides):
        sides = (config["dataset"]["image_size"],)
        if sides[0] not in range(1, photographs.LARGEST + 1):
            raise UserError(f"dataset.image_size={sides[0]}: must be one number up to {photographs.LARGEST}")
    found = sheet.begun(overrides) | {"loading": {}}
    with tempfile.TemporaryDirectory(prefix="caelab-bench-") as folder:
        for side in sides:
            found["loading"][str(side)] = _of_a_side(side, Path(folder, str(side)), only, chosen, count)
            found["load"].append(os.getloadavg()[0])
        if grow:
            found["loading growth"] = {str(n): _of_a_count(n, Path(folder, f"{n}")) for n in _COUNTS}
    sheet.show(tables(found))
    sheet.keep(found)
    return found


def _of_a_side(
    side: int, folder: Path, only: Sequence[str], overrides: Sequence[str], count: int
) -> dict[str, Any]:
    pictures = _BYTES // (3 * side**2)
    photographs.write(folder, pictures, side)
    own = [
        f"dataset.path={folder / 'pictures'}",
        f"dataset.image_size={side}",
        f"paths.data={folder / 'data'}",
    ]
    measured = rounds(only, [*_OWN, *own, *overrides], count, f"{side} pixels")
    return {"pictures": pictures, "rounds": measured}


def _of_a_count(count: int, folder: Path) -> dict[str, Any]:
    """Build a map of so many pictures, load from it, and remove it."""
    folder.mkdir()
    names = ("built", "many-warm", "many-cold")
    figures = {name: carry_out(name, [str(count), str(folder)]) for name in names}
    terminal.say(f"{count:,} pictures: {figures['many-cold']['images_per_second']:,.0f} images/s, cold")
    (folder / "cache" / "images.npy").unlink()
    return figures


def tables(found: Mapping[str, Any]) -> list[Table | str]:
    """Tables of what ``bench`` has found."""
    parts: list[Table | str] = []
    for side, one in found["loading"].items():
        parts += [_speeds(side, one["pictures"], one["rounds"]), _ratios(side, one["rounds"])]
    if growth := found.get("loading growth"):
        parts.append(_growth(growth))
    return parts


def _speeds(side: str, pictures: int, found: Rounds) -> Table:
    title = (
        f"{pictures:,} training pictures of {side}x{side}: images/s, "
        f"median of {len(found)} rounds (lowest to highest)"
    )
    kinds = _kinds(found)
    shown = terminal.table(title, "loader", *kinds.values(), "memory (MB)")
    for name, text in LOADERS.items():
        if name in found[0]:
            cells = [spread(speeds(found, name, key), ",.0f") for key in kinds]
            memory = median(one[name]["memory"] for one in found)
            shown.add_row(text, *cells, f"{memory / 1e6:,.0f}")
    return shown


def _kinds(found: Rounds) -> dict[str, str]:
    """Key of a speed -> its column, of those that were measured."""
    first = next(iter(found[0].values()))
    return {key: text for key, text in _SPEEDS.items() if key in first}


def _ratios(side: str, found: Rounds) -> Table:
    kinds = _kinds(found)
    title = f"{side}x{side}: ratios, round by round, median (lowest to highest)"
    shown = terminal.table(title, "ratio", *kinds.values(), "goal")
    for a, b, goal in _RATIOS:
        if all(any(name.startswith(one) for name in found[0]) for one in (a, b)):
            cells = [spread(ratio(found, a, b, key), ".2f") for key in kinds]
            shown.add_row(f"{a} / {b}", *cells, f"{goal}" if goal else "")
    return shown


def _growth(found: Mapping[str, Mapping[str, Any]]) -> Table:
    shown = terminal.table(
        "By the number of pictures, 64x64, in one round: images/s, of 50,000 of them or all",
        "pictures",
        "built",
        "memory meanwhile (MB)",
        "opened (s)",
        "loaded, warm",
        "loaded, cold",
        "memory meanwhile (MB)",
    )
    for count, one in found.items():
        warm, cold = one["many-warm"], one["many-cold"]
        shown.add_row(
            f"{int(count):,}",
            f"{int(count) / one['built']['seconds']:,.0f}",
            f"{one['built']['memory'] / 1e6:,.0f}",
            f"{cold['opened']:.1f}",
            f"{warm['images_per_second']:,.0f}",
            f"{cold['images_per_second']:,.0f}",
            f"{max(warm['memory'], cold['memory']) / 1e6:,.0f}",
        )
    return shown
