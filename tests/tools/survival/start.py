"""One start of a command, in a process forked off this one, which has imported everything already."""

import atexit
import contextlib
import ctypes
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from survival.disk import Change, Counter

LIMIT = 300.0  # seconds after which a start counts as stuck
GRACE = 15.0  # seconds in which what a killed command had started must end


@dataclass(frozen=True)
class End:
    """How a start ended.

    Attributes:
        status: exit status; negative: the signal that killed it; None: stuck.
        changes: of the file system, those that were carried out.
    """

    status: int | None
    changes: list[Change]


def adopt_orphans() -> None:
    """Make processes whose parent dies children of this one, so that it can see them end."""
    ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER


def start(
    words: Sequence[str],
    folder: Path,
    kill_at: int = 0,
    leader: bool = False,
    prepare: Callable[[], None] | None = None,
) -> "Running":
    """Start a command in ``folder``.

    Args:
        words: name of a module with a ``main``, and what follows it on the command line.
        folder: its working directory; everything that it changes lies below.
        kill_at: number of the change before which it is killed, from 1; 0 is none.
        leader: whether the kill hits the first process; else the one that would have changed something.
        prepare: called in the new process before the command.
    """
    counter = Counter(folder.with_suffix(".count"), folder, kill_at)
    ready, go = os.pipe()
    process = os.fork()
    if not process:
        status = 70
        try:
            os.close(go)
            os.read(ready, 1)  # until the other end is closed
            os.close(ready)
            _settle(folder, counter.path)
            if prepare:
                prepare()
            status = _call(words)
        finally:
            os._exit(status)
    os.close(ready)
    os.setpgid(process, process)
    if leader:
        counter.aim(process)
    os.close(go)
    return Running(process, counter)


def _settle(folder: Path, counter: Path) -> None:
    """Make this process one of ``folder``: its screen, its temporary files, its data, and what counts."""
    screen = os.open(folder.with_suffix(".screen"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(screen, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(folder)
    (folder / "tmp").mkdir(exist_ok=True)
    os.environ |= {
        "TMPDIR": str(folder / "tmp"),
        "CAELAB_DATA": str(folder / "data"),
        "SURVIVE_STATE": str(counter),
    }
    tempfile.tempdir = None
    ctypes.CDLL(None).survive_use(os.fsencode(counter))


def _call(words: Sequence[str]) -> int:
    """Call a command as a fresh interpreter would; return its exit status."""
    sys.argv = list(words)
    status = 0
    try:
        import_module(words[0]).main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]  # as the interpreter does at its end
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status


class Running:
    """A start that goes on."""

    def __init__(self, process: int, counter: Counter) -> None:
        self.process, self._counter = process, counter

    def wait(self) -> End:
        """Wait until its first process has ended."""
        status = self._reap(self.process, LIMIT)
        if status is None:
            self.stop()
        return End(status, self._counter.changes())

    def changes(self) -> list[Change]:
        """Return what it has changed so far."""
        return self._counter.changes()

    def orphans(self) -> bool:
        """Whether a process that it had started outlives it by ``GRACE``; if so, that is ended."""
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline:
            try:
                if os.waitpid(-self.process, os.WNOHANG) == (0, 0):
                    time.sleep(0.05)
            except ChildProcessError:
                return False
        self.stop()
        return True

    def stop(self) -> None:
        """Kill whatever is left of it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-self.process, 0)

    @staticmethod
    def _reap(process: int, limit: float) -> int | None:
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        return None
