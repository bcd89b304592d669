"""A file of figures, and its tables on the screen and in Markdown."""

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from caelab import durable, terminal, texts
from caelab.bench.measure import machine


def begun(overrides: Sequence[str]) -> dict[str, Any]:
    """What a file of figures says first: when, on what machine, and its load in the last minute."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine(),
        "load": [os.getloadavg()[0]],
        "overrides": list(overrides),
    }


def show(parts: Sequence[Table | str]) -> None:
    """Show tables and lines on the screen."""
    for part in parts:
        terminal.say(part) if isinstance(part, str) else terminal.console.print(part)


def keep(found: dict[str, Any]) -> None:
    """Write figures to a file of their own, and say which."""
    path = Path("multirun", "bench", f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.write(path, json.dumps(found, indent=2) + "\n")
    terminal.say(f"  {path}")


def pipes(table: Table) -> str:
    """Return a table as Markdown."""
    head, *body = [
        [str(one.header) for one in table.columns],
        *zip(*(c.cells for c in table.columns), strict=True),
    ]
    rule = ["---:" if one.justify == "right" else "---" for one in table.columns]
    lines = [f"| {' | '.join(texts.markdown(str(cell)) for cell in line)} |" for line in body]
    return "\n".join(
        [f"{table.title}:", "", f"| {' | '.join(head)} |", f"| {' | '.join(rule)} |", *lines, ""]
    )
