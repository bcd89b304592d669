"""Floors of a dataset, which owe nothing to a run: measured once, and kept below the data folder."""

import hashlib
import json
from pathlib import Path
from typing import Any

from caelab import durable, terminal

FOLDER = "floors"


def kept(folder: Path, key: str) -> dict[str, Any] | None:
    """What is kept under a key; None where nothing is, or where it cannot be read."""
    try:
        found = json.loads(_file(folder, key).read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def keep(folder: Path, key: str, found: dict[str, Any]) -> None:
    """Keep what was measured; where the folder takes no files, say so and go on.

    Args:
        folder: of all data.
        key: all that the floor depends on.
        found: what JSON can hold.
    """
    file = _file(folder, key)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        durable.write(file, json.dumps(found) + "\n")
    except OSError as error:
        terminal.note(f"{file.parent}: {error.strerror}; the floors measured on these data are not kept")


def _file(folder: Path, key: str) -> Path:
    return folder / FOLDER / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
