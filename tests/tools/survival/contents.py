"""What a folder holds, as far as it must not depend on when a command was killed."""

import hashlib
import json
import re
import zipfile
from pathlib import Path
from typing import Any

_OF_THE_MOMENT = ("started", "finished", "time", "seconds", "sweep")
_NAMES_ONLY = (".lock", ".log")  # a log tells of the kill
_DATE = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d")
_HERE = re.compile(rb"/[^\s\"']*/disk\d")  # the folder in which a start works


def digest(path: Path) -> str:
    """Digest of what is in a file: without times, and of a checkpoint its tensors alone."""
    if path.suffix in _NAMES_ONLY or path.name in _NAMES_ONLY:
        return ""
    data = path.read_bytes()
    try:
        if path.suffix == ".json":
            data = json.dumps(_timeless(json.loads(data)), sort_keys=True).encode()
        if path.suffix == ".ckpt":
            data = _tensors(path)
    except (ValueError, zipfile.BadZipFile) as error:
        return f"damaged: {error}"
    return hashlib.sha256(_HERE.sub(b"", data)).hexdigest()[:16] if data else "empty"


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(one) for key, one in value.items() if key not in _OF_THE_MOMENT}
    return value


def _tensors(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if "/data/" in name)
        return b"".join(name.encode() + archive.read(name) for name in names)


def contents(folder: Path) -> dict[str, str]:
    """Path of each file below ``folder`` -> its digest; files whose names differ in a date count as one."""
    found: dict[str, str] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name, one = _DATE.sub("DATE", str(path.relative_to(folder))), digest(path)
        found[name] = one if found.get(name, one) == one else f"{found[name]}, {one}"
    return found


def differences(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    """What differs between two folders, a line a file."""
    return [
        f"{name}: {'left over' if name not in expected else found.get(name, 'missing')}"
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    ]


def runs(folder: Path) -> dict[Path, str]:
    """Directory of each run or trial below ``folder`` that is done -> digest of its record and parts."""
    found = {}
    for path in sorted(folder.rglob("result.json")):
        try:
            record = json.loads(path.read_text())
        except ValueError:
            continue
        if record["status"] in ("finished", "trial"):
            parts = [path.parent / part for kind, part in record["artifacts"].items() if kind != "log"]
            lines = [f"{part.name} {digest(part) if part.exists() else 'missing'}" for part in parts]
            found[path.parent] = "\n".join([f"record {digest(path)}", *lines])
    return found
