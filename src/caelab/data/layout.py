"""How a folder of pictures is laid out: which of its folders are splits, and how it is split without any."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from caelab.errors import UserError
from caelab.terminal import NEAR

SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""Each split, and the names that its folder may have, in any case."""

SMALL = 100  # pictures below which the smallest hashes are held out, so that no split stays empty
LEAST = 3
_NEARLY = {"dev": "val", "eval": "val"} | {name: key for key, names in SPLITS.items() for name in names}


def require(folder: Path) -> None:
    """Make sure that a folder is there.

    Raises:
        UserError: it is not.
    """
    if not folder.is_dir():
        if folder.exists():
            raise UserError(f"dataset.path={folder}: it is a file; give the folder of the pictures")
        above = folder.parent
        beside = [one.name for one in above.iterdir() if one.is_dir()] if above.is_dir() else []
        near = get_close_matches(folder.name, beside, 1, NEAR)
        more = f"; did you mean {above / near[0]}?" if near else ""
        raise UserError(f"dataset.path={folder}: there is no such folder{more}")


def of_class(name: str) -> str:
    """Class of a picture by its path below the folder: its first folder that is not named as a split."""
    folders = name.split("/")[:-1]
    if folders and any(folders[0].lower() in known for known in SPLITS.values()):
        del folders[0]
    return folders[0] if folders else "images"


def split_folders(folder: Path) -> dict[str, str]:
    """Split -> name of its folder; empty where no folder is one.

    Raises:
        UserError: there is no such folder, a split is missing or there twice, or folders have nearly the
            name of a split, such as `train2017`.
    """
    require(folder)
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    there = {key: [name for name in names if name.lower() in known] for key, known in SPLITS.items()}
    for split in there.values():
        if len(split) > 1:
            raise UserError(
                f"dataset.path={folder}: {split[0]}/ and {split[1]}/ are the same split; keep one"
            )
    if not any(there.values()):
        _refuse_near_names(folder, names)
        return {}
    if missing := [key for key, split in there.items() if not split]:
        one = next(name for split in there.values() for name in split)
        raise UserError(
            f"dataset.path={folder}: there is {one}/ but no {missing[0]}/; "
            "give train/, val/ and test/, or none of them"
        )
    return {key: split[0] for key, split in there.items()}


def _refuse_near_names(folder: Path, names: Sequence[str]) -> None:
    near = {
        _NEARLY[word]: name
        for name in names
        for word in re.findall("[a-z]+", name.lower())
        if word in _NEARLY
    }
    if len(near) > 1:
        shown = " and ".join(f"{name}/" for name in near.values())
        count = ", ".join(" or ".join(split) for split in SPLITS.values())
        raise UserError(
            f"dataset.path={folder}: are {shown} splits or classes? Splits are named {count}; "
            "rename the folders to these, or to names that do not resemble them"
        )


def divide(names: Sequence[str], seed: int) -> list[int]:
    """Place in `SPLITS` of each picture, by a hash of its name: adding one moves no other.

    About one in ten is validation, and one in ten is test; of fewer than `SMALL` those with the smallest
    hashes, at least one each.

    Args:
        names: below the folder.
        seed: of the hash.

    Raises:
        ValueError: there are fewer than `LEAST`.
    """
    if len(names) < LEAST:
        raise ValueError(f"{len(names)} images are too few; at least {LEAST} are needed")
    hashes = [_fraction(f"{seed} {name}") for name in names]
    if len(names) >= SMALL:
        return [1 if one < 0.1 else 2 if one < 0.2 else 0 for one in hashes]
    tenth, order = max(1, len(names) // 10), sorted(range(len(names)), key=hashes.__getitem__)
    places = [0] * len(names)
    for row in order[:tenth]:
        places[row] = 1
    for row in order[tenth : 2 * tenth]:
        places[row] = 2
    return places


def _fraction(text: str) -> float:
    """A hash of text in [0, 1), the same everywhere."""
    return int.from_bytes(hashlib.sha256(text.encode(errors="surrogateescape")).digest()[:6]) / 2**48
