"""What a start changed on its disk, as ``shim.c`` has counted it, and what a power cut leaves of that."""

import ctypes
import mmap
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOM, _NAME = 20000, 480  # as in shim.c


class _Change(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_char * 16),
        ("process", ctypes.c_int32),
        ("unused", ctypes.c_int32),
        ("inode", ctypes.c_uint64),
        ("over", ctypes.c_uint64),
        ("size", ctypes.c_int64),
        ("path", ctypes.c_char * _NAME),
        ("to", ctypes.c_char * _NAME),
    )


class _State(ctypes.Structure):
    _fields_ = (
        ("count", ctypes.c_long),
        ("kill_at", ctypes.c_int64),
        ("whom", ctypes.c_int32),
        ("unused", ctypes.c_int32),
        ("root", ctypes.c_char * _NAME),
        ("changes", _Change * ROOM),
    )


@dataclass(frozen=True)
class Change:
    """One change of the file system, as it stood just before.

    Attributes:
        kind: create, empty, write, truncate, allocate, sync, touch, remove, mkdir, rename or link.
        path: absolute.
        to: where a rename or link leads; else empty.
        inode: of ``path``; 0 where nothing was there.
        over: inode of what a rename replaces; 0 where it replaces nothing.
        size: of ``path``, in bytes.
    """

    kind: str
    path: str
    to: str
    inode: int
    over: int
    size: int


class Counter:
    """The file in which the processes of a start count.

    Args:
        file: made anew.
        root: below which changes count.
        kill_at: number of the change before which to kill, from 1; 0 is none.
        whom: 0 kills the process that would change something; a number that process, or group where negative.
    """

    def __init__(self, file: Path, root: Path, kill_at: int = 0, whom: int = 0) -> None:
        self.path = file
        with file.open("w+b") as opened:
            opened.truncate(ctypes.sizeof(_State))
            self._mapped = mmap.mmap(opened.fileno(), 0)
        self._state = _State.from_buffer(self._mapped)
        self._state.kill_at, self._state.whom = kill_at, whom
        self._state.root = f"{root}/".encode()

    def aim(self, whom: int) -> None:
        """Say who is to be killed, once that is known."""
        self._state.whom = whom

    def changes(self) -> list[Change]:
        """Return what was changed so far: with a kill, all before the one that it forestalled."""
        count, kill_at = self._state.count, self._state.kill_at
        assert count <= ROOM, f"{count} changes, more than there is room for"
        done = min(count, kill_at - 1) if kill_at else count
        return [
            Change(one.kind.decode(), one.path.decode(), one.to.decode(), one.inode, one.over, one.size)
            for one in self._state.changes[:done]
        ]


def shim(folder: Path) -> Path:
    """Compile what counts and kills, to be named in LD_PRELOAD; it is told its counter in SURVIVE_STATE.

    Raises:
        OSError: this machine lacks what it takes; the message says what.
    """
    if sys.platform != "linux":
        raise OSError(
            f"it takes Linux, which lets a library come before the system's; this is {sys.platform}"
        )
    if (compiler := shutil.which("cc") or shutil.which("gcc")) is None:
        raise OSError("it takes a C compiler, cc or gcc, and there is none")
    library, source = folder / "shim.so", Path(__file__).with_name("shim.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    return library


def unsynced(changes: Sequence[Change]) -> dict[int, int]:
    """Inode -> bytes that are sure to be on the disk, of each file written since it was last synced."""
    safe: dict[int, int] = {}
    written: set[int] = set()
    for one in changes:
        gone = one.inode if one.kind == "remove" else one.over
        safe.pop(gone, None)  # the next file may get its inode
        written.discard(gone)
        if one.kind == "sync":
            safe[one.inode] = one.size
            written.discard(one.inode)
        elif one.kind in ("write", "truncate", "allocate", "empty"):
            written.add(one.inode)
            if one.kind == "empty":
                safe[one.inode] = 0
    return {inode: safe.get(inode, 0) for inode in written}


def losses(changes: Sequence[Change], root: Path) -> dict[Path, int]:
    """File below ``root``, relative to it -> size in bytes to which a power cut shortens it.

    The names of files reach the disk in their order, as on any journaling file system; what is in a file
    does only when it is synced.
    """
    short = unsynced(changes)
    found = {}
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            stat = path.stat()
            if short.get(stat.st_ino, stat.st_size) < stat.st_size:
                found[path.relative_to(root)] = short[stat.st_ino]
    return found
