"""Files that are whole or not there, whatever ends the process or the machine.

Each is written aside, flushed to the disk and renamed, and its folder is flushed too: what is written later
may rely on it, also after a power cut.
"""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

ASIDE = ".caelab-"
"""How the name of everything begins that a kill may leave, and that nobody reads."""
FULL = (errno.ENOSPC, errno.EDQUOT)
"""What a full disk answers."""
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP)  # from file systems that cannot flush a folder, and need not


def aside(path: Path) -> Path:
    """Return a name beside ``path`` that nobody can foresee, so that no link waits there."""
    return path.with_name(f"{ASIDE}{secrets.token_hex(8)}")


@contextmanager
def file(path: Path, *, flush: bool = True) -> Iterator[IO[bytes]]:
    """Give an open file that takes the name ``path`` when the block ends well, and is removed otherwise.

    Args:
        path: of the file.
        flush: whether it lasts through a power cut, which takes as long as writing ten small pictures.

    Raises:
        OSError: what the disk refuses; what was at ``path`` before is still there.
    """
    new = aside(path)
    try:
        with new.open("x+b") as opened:  # exclusively, which follows no link either
            yield opened
            if flush:
                opened.flush()
                os.fsync(opened.fileno())
        new.replace(path)
    except BaseException as error:
        with suppress(OSError):
            new.unlink()
        if isinstance(error, OSError) and error.filename == str(new):
            error.filename = str(path)  # which its reader knows
        raise
    if flush:
        sync(path.parent)


def write(path: Path, content: str | bytes) -> None:
    """Write text (as UTF-8) or bytes to ``path``.

    Raises:
        OSError: what the disk refuses; what was at ``path`` before is still there.
    """
    with file(path) as opened:
        opened.write(content.encode() if isinstance(content, str) else content)


def sync(folder: Path) -> None:
    """Flush which files a folder holds, under which names."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)
