"""Caches of a user's folders that nothing uses any more, as after a change of a folder; imports no torch."""

import json
import shutil
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from caelab.data import contents
from caelab.data.contents import CHECKSUMS, ORIGIN, Origin
from caelab.errors import UserError


def unused(data: Path) -> dict[Path, int]:
    """What is kept of folders that are gone or hold other files now -> its bytes.

    Args:
        data: the data folder; the caches of MNIST and the like are none of these.
    """
    caches = sorted({path.parent for name in ("cache", "unfinished") for path in data.glob(f"*/*/{name}")})
    tables = [path for path in sorted((data / CHECKSUMS).glob("*.json")) if not _there(path)]
    return {path: _size(path) for path in (*(path for path in caches if not _current(path, data)), *tables)}


def clear(data: Path) -> dict[Path, int]:
    """Remove what is unused, but what another process is making; return it -> its bytes.

    Raises:
        OSError: something cannot be removed.
    """
    removed = {}
    for path, size in unused(data).items():
        if path.is_file():
            path.unlink()
        else:
            try:
                with FileLock(path / ".lock", timeout=0):
                    shutil.rmtree(path)
            except Timeout:
                continue
        removed[path] = size
    return removed


def _current(cache: Path, data: Path) -> bool:
    """Whether the cache is that of a folder as it is now; those of older versions have no origin."""
    with suppress(OSError, ValueError, TypeError, UserError):
        origin = Origin(**json.loads((cache / ORIGIN).read_text()))
        files = contents.read_by(origin.target, Path(origin.folder), data)
        return contents.digest(files) == origin.contents
    return False


def _there(table: Path) -> bool:
    with suppress(OSError, ValueError, TypeError, KeyError):
        return Path(json.loads(table.read_text())["folder"]).exists()
    return False


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
