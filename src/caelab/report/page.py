"""The report as one HTML file that opens offline, and the same as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from caelab import durable
from caelab.report import tables
from caelab.report.caption import caption
from caelab.report.claims import Verdict, display
from caelab.report.embed import Picture, environment
from caelab.report.rows import Section

SIGNS = {"holds": "✓", "contradicted": "✗", "undecided": "?", "not measured": "–"}


@dataclass(frozen=True)
class Chapter:
    """One study on one dataset.

    Attributes:
        section: what of it is shown.
        table: its table as text.
        best: which row is best, as a sentence.
        pictures: its figures.
    """

    section: Section
    table: pd.DataFrame
    best: str
    pictures: Sequence[Picture]

    @property
    def name(self) -> str:
        """Its anchor, and the name of its files."""
        return self.section.name

    @property
    def dataset(self) -> str:
        """The dataset's display name."""
        return display(self.section.dataset)


@dataclass(frozen=True)
class Page:
    """What a report says.

    Attributes:
        command: that wrote it.
        made: date, as text.
        environments: hardware and versions of the runs, a line each.
        chapters: studies with runs, in order.
        absent: studies without any run, and what to do.
        verdicts: on every claim of the studies that have runs, or were asked for by name.
    """

    command: str
    made: str
    environments: Sequence[str]
    chapters: Sequence[Chapter]
    absent: Sequence[str]
    verdicts: Sequence[Verdict]

    @property
    def caption(self) -> str:
        """How to read the tables that there are."""
        shown = [chapter.table for chapter in self.chapters]
        names = {str(name) for table in shown for name in table}
        spreads = [cell for table in shown for cell in table.get("full PSNR (dB)", ())]
        return caption(
            names,
            any("[" in cell for cell in spreads),
            any(row.floor for chapter in self.chapters for row in chapter.section.rows),
        )


def write(page: Page, out: Path) -> list[Path]:
    """Write ``index.html`` (self-contained) and ``index.md`` (with links to the figures) into ``out``."""
    paths = []
    for ending in ("html", "md"):
        templates = environment(f".{ending}")
        text = templates.get_template(f"page.{ending}.j2").render(
            page=page, signs=SIGNS, pipes=lambda frame: Markup(tables.markdown(frame))
        )
        path = out / f"index.{ending}"
        durable.write(path, text)
        paths.append(path)
    return paths
