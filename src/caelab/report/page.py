"""The report as one HTML file that opens offline, and the same as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from caelab import durable
from caelab.report import tables
from caelab.report.claims import Verdict, display
from caelab.report.embed import Picture, environment
from caelab.report.rows import Section

SIGNS = {"holds": "✓", "contradicted": "✗", "undecided": "?", "not measured": "–"}


@dataclass(frozen=True)
class Chapter:
    """One study on one dataset, with its pictures."""

    section: Section
    pictures: Sequence[Picture]

    @property
    def name(self) -> str:
        """Its anchor, and the name of its files."""
        return f"{self.section.study}-{self.section.dataset}"

    @property
    def dataset(self) -> str:
        """The dataset's display name."""
        return display(self.section.dataset)

    @cached_property
    def table(self) -> pd.DataFrame:
        """Its table as text."""
        return tables.table(self.section)

    @cached_property
    def best(self) -> str:
        """Which row is best, as a sentence."""
        return tables.best(self.section)


@dataclass(frozen=True)
class Page:
    """What a report says.

    Attributes:
        command: that wrote it.
        made: date, as text.
        environments: hardware and versions of the runs, a line each.
        chapters: studies with runs, in order.
        absent: studies without any run, and what to do.
        verdicts: on every claim, also of the absent studies.
    """

    command: str
    made: str
    environments: Sequence[str]
    chapters: Sequence[Chapter]
    absent: Sequence[str]
    verdicts: Sequence[Verdict]


def write(page: Page, out: Path) -> list[Path]:
    """Write ``index.html`` (self-contained) and ``index.md`` (with links to the figures) into ``out``."""
    paths = []
    for ending, escape in (("html", True), ("md", False)):
        templates = environment(escape=escape)
        templates.filters["markdown"] = tables.markdown
        text = templates.get_template(f"page.{ending}.j2").render(
            page=page, signs=SIGNS, caption=tables.CAPTION
        )
        path = out / f"index.{ending}"
        durable.write(path, text)
        paths.append(path)
    return paths
