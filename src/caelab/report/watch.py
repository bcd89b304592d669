"""A report that is drawn anew while runs go on."""

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from caelab import terminal
from caelab.report.asked import Asked
from caelab.report.build import NotYetError, draw
from caelab.runs import records
from caelab.runs.record import RECORD

_EVERY = 5.0  # seconds between looks at the folders


def watch(asked: Asked, out: Path) -> None:
    """Draw a report whenever a run or an analysis is done, until Ctrl-C; say one line each time.

    Where there is nothing to draw yet, as where the first run fails, the line says so.

    Args:
        asked: as of a report.
        out: where it goes.

    Raises:
        UserError: what ``draw`` raises, but that there is nothing to draw yet.
    """
    before: dict[str, int] = {}
    terminal.say(f"watching {', '.join(map(terminal.shown, asked.roots))}; Ctrl-C ends it")
    try:
        while True:
            now = _state(asked.roots)
            if now and now != before:
                said = f"{len(now):,} {'run' if len(now) == 1 else 'runs'}"
                try:
                    _, _, (page, *_) = draw(asked, out, bar=False)
                    said += f", {terminal.shown(page)}"
                except NotYetError as error:
                    said = str(error)
                terminal.say(f"{datetime.now():%H:%M:%S} {said}")
            before = now
            time.sleep(_EVERY)
    except KeyboardInterrupt:
        terminal.say(f"next: open {terminal.shown(out / 'index.html')}")


def _state(roots: Sequence[Path]) -> dict[str, int]:
    """Directory of each run that has a record -> when it or an analysis was written last."""
    return {
        path: max(_written(Path(path, name)) for name in files if name.endswith(".json"))
        for root in roots
        for path, files in records.folders(root)
        if RECORD in files
    }


def _written(path: Path) -> int:
    """When a file was written last; 0 where a run has taken it away meanwhile."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
