"""What lies in the offline files of W&B: read with W&B's own message types."""

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Offline:
    """An offline run, of one part or of several that share its id.

    Attributes:
        folders: of its parts, in the order in which they were made.
        config: key -> value; settings are nested.
        history: rows, each key -> value.
        summary: key -> value, as it stands at the end.
        run: W&B's message of the last part: id, names and tags.
        exit: status of each part; None where it was killed.
        artifacts: names of what goes along.
    """

    folders: list[Path] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    run: Any = None
    exit: list[int | None] = field(default_factory=list)
    artifacts: list[str] = field(default_factory=list)

    def column(self, key: str) -> list[Any]:
        """Values of a key, where it has one."""
        return [row[key] for row in self.history if key in row]

    def media(self, pattern: str) -> list[Path]:
        """Files of pictures and tables."""
        return [path for folder in self.folders for path in sorted((folder / "files/media").glob(pattern))]


def read(run_dir: Path, *, ended: bool = True) -> Offline:
    """Read the offline run of a run directory.

    Args:
        run_dir: of the run.
        ended: whether its last part has ended, for which W&B's own process may need a moment.
    """
    found = _read(run_dir)
    for _ in range(300):
        if not ended or (found.exit and found.exit[-1] is not None):
            break
        time.sleep(0.1)
        found = _read(run_dir)
    return found


def _read(run_dir: Path) -> Offline:
    from wandb.proto.wandb_internal_pb2 import Record

    parts = []
    for path in run_dir.glob("wandb/offline-run-*/run-*.wandb"):
        records = [Record.FromString(body) for body in _records(path)]
        # Names of folders hold whole seconds, and two parts may begin in one.
        began = [each.run.start_time.ToNanoseconds() for each in records if each.HasField("run")]
        parts.append((began[:1], path.parent, records))
    found = Offline()
    for _, folder, records in sorted(parts, key=lambda part: part[:2]):
        found.folders.append(folder)
        found.exit.append(None)
        for record in records:
            _add(found, record)
    return found


def _add(found: Offline, record: Any) -> None:
    kind = record.WhichOneof("record_type")
    if kind == "run":
        found.run = record.run
        found.config |= _items(record.run.config.update)
    elif kind == "config":
        found.config |= _items(record.config.update)
    elif kind == "history":
        found.history.append(_items(record.history.item))
    elif kind == "summary":
        found.summary |= _items(record.summary.update)
    elif kind == "artifact":
        found.artifacts.append(record.artifact.name)
    elif kind == "exit":
        found.exit[-1] = record.exit.exit_code


def _items(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def _records(path: Path) -> Iterator[bytes]:
    """Records of a W&B file: a LevelDB log (32 KiB blocks of checksum, length, kind, body) after 7 bytes."""
    data, position, body = path.read_bytes(), 7, b""
    while position < len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        body += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield body
            body = b""
