"""Caches of a user's folders that nothing uses any more, as after a change of a folder; imports no torch.

Only what says of itself that the lab has made it is taken: the data folder may hold files of others.
"""

import json
import shutil
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from caelab.data import contents
from caelab.data.contents import CHECKSUMS, ORIGIN, Origin
from caelab.errors import UserError

_PLACES = ("*/*", "*/read/*")  # of caches, below the data folder


def unused(data: Path) -> dict[Path, int]:
    """What is kept of folders that are gone or hold other files now -> its bytes.

    Args:
        data: the data folder; the caches of MNIST and the like are none of these.
    """
    origins = {
        path.parent: _origin(path) for place in _PLACES for path in sorted(data.glob(f"{place}/{ORIGIN}"))
    }
    caches = [path for path, origin in origins.items() if origin and not _current(origin, data)]
    tables = [path for path in sorted((data / CHECKSUMS).glob("*.json")) if _is_left(path)]
    return {path: _size(path) for path in (*caches, *tables)}


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


def _origin(path: Path) -> Origin | None:
    """What a cache was made from; None where the file is not the lab's."""
    with suppress(OSError, ValueError, TypeError):
        return Origin(**json.loads(path.read_text()))
    return None


def _current(origin: Origin, data: Path) -> bool:
    """Whether the cache is that of a folder as it is now, or that cannot be read now."""
    folder = Path(origin.folder)
    if _is_gone(folder):
        return False
    try:
        return contents.digest(contents.read_by(origin.target, folder, data)) == origin.contents
    except (OSError, ValueError, TypeError, UserError):
        return True


def _is_gone(path: Path) -> bool:
    """Whether a file or folder was removed, and does not lie on a disk that is not mounted now."""
    with suppress(OSError):
        return not path.exists() and any(path.parent.iterdir())
    return False


def _is_left(table: Path) -> bool:
    """Whether it is a table of checksums, of a folder that is gone."""
    with suppress(OSError, ValueError, TypeError):
        found = json.loads(table.read_text())
        return {*found} == {"folder", "files"} and _is_gone(Path(found["folder"]))
    return False


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
