"""Time of a picture in a page of ``caelab look RUN --interactive``: ``caelab bench --page RUN``."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from threading import Timer
from typing import Any

from rich.table import Table

from caelab import terminal
from caelab.bench import sheet
from caelab.bench.measure import spread
from caelab.errors import UserError
from caelab.interactive.interactive import interactive
from caelab.runs import results
from caelab.runs.labels import display

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--enable-logging=stderr")
_SCRIPT = Path(__file__).with_name("pictures.js")
_TOLD = re.compile(r'"caelab (\{.*\})", source:')
_SECONDS = 120
"""In which a page must have told its times."""
_GOALS = {"base": 50, "improved": 50, "residual": 300}  # ms a picture


def bench(runs: Sequence[Path], count: int) -> dict[str, Any]:
    """Measure, show and write.

    Args:
        runs: directories of finished runs, each on a page of its own.
        count: rounds, each in a browser that is started anew.

    Returns:
        What the JSON file holds.

    Raises:
        UserError: there is no Chromium, a run has no such page, or one tells no times.
    """
    browser = chromium()
    if not runs:
        raise UserError("--page: name a finished run, such as caelab bench --page last")
    found = sheet.begun([]) | {"pages": []}
    for run in runs:
        record = results.finished(run)
        with tempfile.TemporaryDirectory() as folder:
            page = interactive([run], out=Path(folder))
            size = page.stat().st_size
            with page.open("a") as file:
                file.write(f'<script type="module">{_SCRIPT.read_text()}</script>\n')
            rounds = [times(browser, page) for _ in range(count)]
        found["pages"].append({"choices": record.choices, "bytes": size, "rounds": rounds})
        found["load"].append(os.getloadavg()[0])
    sheet.show([table(found)])
    sheet.keep(found)
    return found


def chromium() -> str:
    """Return the path of a browser.

    Raises:
        UserError: there is none.
    """
    for name in _BROWSERS:
        if path := shutil.which(name):
            return path
    raise UserError(f"--page: needs a browser; install one of {', '.join(_BROWSERS)}")


def times(browser: str, page: Path) -> dict[str, Any]:
    """Open a page that ends with ``pictures.js``, and return the times in ms that it tells.

    Raises:
        UserError: it tells none.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [browser, *_ARGUMENTS, f"--user-data-dir={profile}", page.as_uri()]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            timer = Timer(_SECONDS, process.kill)
            timer.start()
            try:
                for line in process.stderr:
                    if told := _TOLD.search(line):
                        found: dict[str, Any] = json.loads(told[1])
                        return found
            finally:
                timer.cancel()
                process.kill()
    raise UserError(f"--page: {browser} reported no times of the page within {_SECONDS} s")


def table(found: Mapping[str, Any]) -> Table:
    """Return the times of each page: medians of its pictures, over the rounds."""
    shown = terminal.table(
        f"A picture in the browser, median of {len(found['pages'][0]['rounds'])} rounds (lowest to highest)",
        "run",
        "another image (ms)",
        "its code moved (ms)",
        "goal (ms)",
        "page opened (s)",
        "file (MB)",
    )
    for page in found["pages"]:
        model, rounds = page["choices"]["model"], page["rounds"]
        shown.add_row(
            f"{model} on {display(page['choices']['dataset'])}",
            *(spread([median(one[key]) for one in rounds], ".1f") for key in ("images", "moves")),
            f"{_GOALS[model]}" if model in _GOALS else "",
            spread([one["opened"] / 1000 for one in rounds], ".1f"),
            f"{page['bytes'] / 1e6:.1f}",
        )
    return shown
