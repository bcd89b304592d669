"""The report as one HTML file that opens offline, and the same as Markdown."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import jinja2
import pandas as pd

from caelab.report import tables
from caelab.report.claims import Verdict, display
from caelab.report.rows import Section

SIGNS = {"holds": "✓", "contradicted": "✗", "undecided": "?", "not measured": "–"}


@dataclass(frozen=True)
class Picture:
    """A figure on disk.

    Attributes:
        caption: what it shows.
        png: path; the SVG lies beside it.
    """

    caption: str
    png: Path

    @property
    def uri(self) -> str:
        """The picture itself, for a page that needs no other file."""
        return "data:image/png;base64," + base64.b64encode(self.png.read_bytes()).decode()


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
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    paths = []
    for ending, escape in (("html", True), ("md", False)):
        environment = jinja2.Environment(
            loader=loader,
            autoescape=escape,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        environment.filters["markdown"] = tables.markdown
        text = environment.get_template(f"page.{ending}.j2").render(
            page=page, signs=SIGNS, caption=tables.CAPTION
        )
        path = out / f"index.{ending}"
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths
