"""The report as one HTML file that opens offline, and the same as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from caelab import durable
from caelab.errors import UserError
from caelab.metrics.statistics import ALPHA, holm
from caelab.plotting.embed import Picture, environment, plotly
from caelab.report import plots, tables
from caelab.report.caption import RATES, caption
from caelab.report.claims import Verdict
from caelab.report.rows import Section
from caelab.report.wording import chance, listing
from caelab.runs.labels import display

DRAWN = ("psnr", "curves", "pareto", "images")
"""Kinds of figures that an HTML page draws itself."""
SIGNS = {"holds": "✓", "contradicted": "✗", "undecided": "?", "not measured": "–"}

_READING = (
    "p: of the verdict alone, below 0.05 where a claim holds (each of its comparisons must be significant) "
    "or is contradicted (one must be, on the other side, Holm-adjusted over them). p over all claims: "
    "Holm-adjusted over {} of this report that could be judged; that even one of the verdicts that survive "
    "is wrong has a probability of at most 0.05."
)


@dataclass(frozen=True)
class Chapter:
    """One study on one dataset.

    Attributes:
        section: what of it figures show.
        listed: what of it the table has.
        table: its table as text.
        best: which row is best, as a sentence.
        pictures: its figures.
        plain: what an HTML page draws itself.
        rates: the best network, floor and codec at each rate, as text; None where no rate was measured.
    """

    section: Section
    listed: Section
    table: pd.DataFrame
    best: str
    pictures: Sequence[Picture]
    plain: dict[str, Any]
    rates: pd.DataFrame | None = None

    @property
    def name(self) -> str:
        """Its anchor, and the name of its files."""
        return self.section.name

    @property
    def main(self) -> list[str]:
        """Columns that a page shows at once."""
        return tables.main(self.listed, self.table)

    @property
    def narrow(self) -> pd.DataFrame:
        """The rows that figures show, with the columns that matter most."""
        rows = self.table["variant"].isin([row.label for row in self.section.rows])
        return tables.narrow(self.listed, self.table[rows])

    @property
    def figure(self) -> Picture | None:
        """The one that shows what the study's claims are about: test PSNR, unless they say otherwise."""
        about = {str(claim.get("metric")).partition("/")[0] for claim in self.section.claims}
        kinds = [kind for kind in ("rate", "gradients") if about == {kind}] + ["psnr"]
        return next((one for kind in kinds for one in self.pictures if one.kind == kind), None)

    @property
    def own(self) -> list[Picture]:
        """The figures that an HTML page does not draw itself."""
        drawn = [kind for kind in DRAWN if kind != "images" or self.plain["pictures"]]
        return [one for one in self.pictures if one.kind not in drawn]

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
    def judged(self) -> list[tuple[Verdict, str, str, str]]:
        """Each verdict, its p value, the same Holm-adjusted over all verdicts, and whether it survives."""
        together = holm([verdict.p for verdict in self.verdicts])
        return [
            (verdict, chance(verdict.p), chance(p), _survives(verdict, p))
            for verdict, p in zip(self.verdicts, together, strict=True)
        ]

    @property
    def title(self) -> str:
        """That of its study, where there is one."""
        titles = {chapter.section.title for chapter in self.chapters}
        return titles.pop() if len(titles) == 1 else "Report"

    @property
    def answer(self) -> str:
        """How many claims hold, in a sentence; empty without any."""
        words = [verdict.word for verdict in self.verdicts]
        counts = [_counted(word, words.count(word)) for word in SIGNS if word in words]
        return (
            f"Of {len(words)} {'claim' if len(words) == 1 else 'claims'}, {listing(counts)}." if words else ""
        )

    @property
    def reading(self) -> str:
        """How to read the p values of the verdicts; empty where there is none."""
        count = sum(verdict.p is not None for verdict in self.verdicts)
        return _READING.format("the only claim" if count == 1 else f"all {count} claims") if count else ""

    @property
    def caption(self) -> str:
        """How to read the tables that there are."""
        shown = [chapter.table for chapter in self.chapters]
        names = {str(name) for table in shown for name in table}
        spreads = [cell for table in shown for cell in table.get("full PSNR (dB)", ())]
        return caption(
            names,
            any("[" in cell for cell in spreads),
            any(f"minus {chapter.section.reference} (dB)" in chapter.table for chapter in self.chapters),
            any(row.floor for chapter in self.chapters for row in chapter.section.rows),
        )


def _counted(word: str, count: int) -> str:
    if word == "holds":
        return f"{count} holds" if count == 1 else f"{count} hold"
    return f"{count} {'is' if count == 1 else 'are'} {word}"


def _survives(verdict: Verdict, p: float | None) -> str:
    if verdict.word not in ("holds", "contradicted"):
        return ""
    return "yes" if p is not None and p < ALPHA else "no"


def require_own(out: Path) -> None:
    """Make sure that the pages in ``out`` are those of a report, which another one may replace.

    Raises:
        UserError: one is not.
    """
    for path in (out / "index.html", out / "index.md"):
        if not path.exists():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if "Written by" not in text or "caelab report" not in text:
            raise UserError(f"{path} is not a report and would be overwritten; give another --out")


def write(page: Page, out: Path) -> list[Path]:
    """Write ``index.html`` (self-contained) and ``index.md`` (with links to the figures) into ``out``."""
    paths = []
    for ending in ("html", "md"):
        templates = environment(f".{ending}", Path(__file__).parent)
        templates.filters["chance"] = chance
        text = templates.get_template(f"page.{ending}.j2").render(
            page=page,
            signs=SIGNS,
            rate_caption=RATES,
            pipes=lambda frame: Markup(tables.markdown(frame)),
            data=plots.script([chapter.plain for chapter in page.chapters]),
            plotly=plotly,
        )
        path = out / f"index.{ending}"
        durable.write(path, text)
        paths.append(path)
    return paths
