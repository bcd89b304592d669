"""Folders and files that whoever shares the data folder can use, whatever the umask of who makes them."""

import stat
from contextlib import suppress
from pathlib import Path

_SHARED = stat.S_ISGID | stat.S_IWGRP


def make(folder: Path) -> None:
    """Make a folder and those above it, as far as they are missing.

    Raises:
        OSError: it cannot be made.
    """
    if not folder.is_dir():
        make(folder.parent)
        folder.mkdir(exist_ok=True)
        share(folder)


def share(path: Path) -> None:
    """Give the group its rights in a new file or folder, where a group shares the folder it lies in.

    Such a folder is one that its group may write to, or that hands its group on (setgid).
    """
    above = path.parent.stat().st_mode
    if above & _SHARED:
        group = above & (stat.S_IRWXG if path.is_dir() else stat.S_IRGRP | stat.S_IWGRP)
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode | group != mode:
            with suppress(PermissionError):  # another user's, which only that one can share
                path.chmod(mode | group)
