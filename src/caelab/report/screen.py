"""A section on the screen: the columns that matter most and fit it, and what is to be said below."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pandas as pd
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from caelab.metrics.measures import score
from caelab.report.rows import SHOWN, Row, Section, best_first, by_choice, ordered_by
from caelab.report.tables import NAMED, WORDS, best, gaps, main, numbers, shortened, table
from caelab.report.wording import listing, still_improving
from caelab.runs.columns import column
from caelab.runs.labels import display

_BREAKS = re.compile(r" (?=[a-z])")  # where a cell of figures may be broken


@dataclass(frozen=True)
class Shown:
    """A section's columns that matter most and fit the screen, best row on validation first.

    Below the table stands which row is best, and what is missing.
    """

    section: Section

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it as wide as the screen allows."""
        rows = [row for row in self.section.rows if row.runs or set(row.missing.values()) != {"not run"}]
        ordered = replace(self.section, rows=best_first(rows))
        if rows:
            yield _table(ordered, options.max_width)
        else:
            yield Text(_title(self.section), "italic")
        yield from map(Text, _remarks(self.section, ordered.rows))


def _title(section: Section) -> str:
    return f"{section.title}, {display(section.dataset)}"


def _table(section: Section, width: int) -> Table:
    raw = numbers(section).iloc[:SHOWN]
    frame = shortened(table(section, raw))
    key = ordered_by(section.rows)
    values = [score(key, row.score(key)) if row.runs else None for row in section.rows[:SHOWN]]
    frame[column(key).title] = [*map(column(key).cell, values)]
    widths = _fitting(frame, main(section, frame), width)
    shown = Table(title=_title(section), title_justify="left")
    for name, inside in widths.items():
        shown.add_column(name, justify="left" if name in WORDS else "right", width=inside, overflow="fold")
    for position in raw.index:
        shown.add_row(*frame.loc[position, list(widths)], style="dim" if raw.loc[position, "floor"] else None)
    return shown


def _fitting(frame: pd.DataFrame, names: Sequence[str], width: int) -> dict[str, int]:
    """Name -> width of the columns that fit side by side, in the table's order; others are left out."""
    left, chosen = width - 1, {}
    for name in names:
        parts = [*name.split(), *(part for cell in frame[name] for part in _BREAKS.split(cell))]
        least = min(width // 3, max(map(len, frame[name]))) if name in WORDS else max(map(len, parts))
        least = max(least, len("variant"))
        if least + 3 <= left:  # a line and two spaces
            left -= least + 3
            chosen[name] = least
    for name, least in chosen.items():
        more = min(left, max(map(len, [name, *frame[name]])) - least)
        left -= more
        chosen[name] = least + more
    return {name: chosen[name] for name in frame if name in chosen}


def _remarks(section: Section, started: Sequence[Row]) -> Iterator[str]:
    """What stands below a section's table on the screen."""
    runs = {len(row.runs) for row in started if row.runs and not row.floor}
    if max(runs, default=0) > 1:
        yield f"means over {listing(map(str, sorted(runs)))} seeds, ± to the end of the 95 % t interval"
    if waiting := len(section.rows) - len(started):
        yield f"{waiting} {'row' if waiting == 1 else 'rows'} not run"
    if (rest := len(started) - SHOWN) > 0:
        yield f"{rest:,} more in the CSV of a report"
    for key, rows in by_choice(started).items():
        names = listing(row.label for row in rows) if len(rows) <= NAMED else f"{len(rows)} rows"
        yield f"checkpoints of {names} were chosen by {key}"
    for row in started:
        if lost := gaps(row):
            yield f"{row.label}: {lost}"
    improving = [row for row in started if row.improving]
    if len(improving) > NAMED:
        yield f"{len(improving)} of {len(started)} rows were still improving when they ended"
    else:
        yield from still_improving(improving)
    if said := best(section):
        yield said
