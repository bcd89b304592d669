"""The figures of README.md and the pages of docs/: each names its query, and the records answer it.

``make figures`` writes the right figures into the pages; ``test_pages.py`` refuses wrong ones. A query (see
``queries.py``) stands right behind its figure in a comment, which no page shows::

    improved beats base by 2.3 dB [1.6, 2.9]<!-- test/psnr cifar10 improved - base -->

Below a title with a query, a table puts it together from the words behind the label of the row, the title of
the column, and the cell. How many decimals a figure has, and whether its 95 % interval stands behind it, is
up to the page.

``<!-- not measured: WHY -->`` in place of a query lets a figure, a row or a column pass without one; on a
line of its own everything up to the next heading.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from queries import Answers

from caelab.metrics.statistics import Interval

ROOT = Path(__file__).resolve().parents[2]
_REPORTS = ROOT / "docs" / "results"  # drawn by caelab report
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted(ROOT.glob("docs/**/*.md")) if _REPORTS not in page.parents),
]

_NUMBER = r"[-+]?\d[\d,]*(?:\.\d+)?"
_INTERVAL = rf"(?P<between>[^\d\[\]<>|]{{0,24}})\[(?P<low>{_NUMBER}), (?P<high>{_NUMBER})\]"
_FIGURE = rf"(?P<mean>{_NUMBER})(?:{_INTERVAL})?"
_QUERY = r"<!-- (?P<query>[^>]*?) -->"
_IN_TEXT = re.compile(rf"(?<![\w.,]){_FIGURE}[^\d\[\]<>|]{{0,24}}?{_QUERY}")
_IN_CELL = re.compile(rf"[\s*]*{_FIGURE}")
_CELL = re.compile(r"(?<=\|)[^|\n]*(?=\|)")
_TABLE = re.compile(r"(?<!\|\n)^\|.*<!--.*\n(?:\|.*\n)+", re.MULTILINE)  # where a title names a query
_ALLOWED = "not measured: "
_UNITS = r"dB|%|[kMG]i?B|m?s|h|min|x|seconds|minutes|hours|times|points"
_MEASURED = re.compile(rf"(?<![\w.,/^-])[-+]?\d[\d,]*(?:\.\d+(?![\w.]*\d)|(?= ?(?:{_UNITS})(?!\w)))")
# What is no figure though it looks like one: code, comments, targets of links, versions, levels of intervals.
_OTHER = re.compile(
    rf"^```.*?^```|`[^`]*`|^<!-- {_ALLOWED}[^>]+ -->\n(?:(?!#)[^\n]*\n)*|<!--.*?-->|\]\([^)]*\)"
    r"|(?:Python|torch) [\d.]+(?: (?:or|to) [\d.]+)?|95 %(?=\s(?:t\s)?interval)",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Figure:
    """A figure of a page: where it stands, what is written there, and the query that gives it."""

    start: int
    text: str
    query: str

    def right(self, value: Interval) -> str:
        """What must be written: as many decimals, and the interval where the page shows it.

        Raises:
            ValueError: the page shows an interval of a single run.
        """
        match = re.fullmatch(_FIGURE, self.text)
        assert match
        mean = _written(value.mean, match["mean"])
        if not match["low"]:
            return mean
        if value.low is None or value.high is None:
            raise ValueError("a single run has no interval")
        ends = _written(value.low, match["low"]), _written(value.high, match["high"])
        return f"{mean}{match['between']}[{ends[0]}, {ends[1]}]"


def _written(value: float, like: str) -> str:
    decimals = len(like.partition(".")[2])
    sign = "+" if like.startswith("+") else ""
    return f"{round(value, decimals) + 0.0:{sign},.{decimals}f}"  # no -0.0


def figures(page: str) -> Iterator[Figure]:
    """Yield every figure that names a query, or says that it is not measured."""
    tables = [match.span() for match in _TABLE.finditer(page)]
    for start, end in tables:
        yield from _of_table(page, start, end)
    for match in _IN_TEXT.finditer(page):
        if not any(start <= match.start() < end for start, end in tables):
            yield _figure(match, match["query"])


def _of_table(page: str, start: int, end: int) -> Iterator[Figure]:
    lines = (line.span() for line in re.compile(r".+\n").finditer(page, start, end))
    titles, _, *rows = ([cell.span() for cell in _CELL.finditer(page, *line)] for line in lines)
    columns = [_query(page, *title) for title in titles]
    for cells in rows:
        pairs = list(zip(cells, columns, strict=True))
        label = " ".join(_query(page, *cell) for cell, column in pairs if not column)
        for cell, column in pairs:
            if column and (match := _IN_CELL.match(page, *cell)):
                yield _figure(match, " ".join(f"{label} {column} {_query(page, *cell)}".split()))


def _query(page: str, start: int, end: int) -> str:
    match = re.compile(_QUERY).search(page, start, end)
    return match["query"] if match else ""


def _figure(match: re.Match[str], query: str) -> Figure:
    end = match.end("mean") if match["low"] is None else match.end("high") + 1
    return Figure(match.start("mean"), match.string[match.start("mean") : end], query)


def nameless(page: str) -> Iterator[tuple[int, str]]:
    """Yield place and text of each figure that names no query."""
    passed = [match.span() for match in _OTHER.finditer(page)]
    passed += [(figure.start, figure.start + len(figure.text)) for figure in figures(page)]
    for match in _MEASURED.finditer(page):
        if not any(start <= match.start() < end for start, end in passed):
            yield match.start(), match[0]


def corrected(page: str, answers: Answers) -> tuple[str, list[str]]:
    """Return a page with the right figures, and what is wrong with it, each with its line."""
    faults = [(start, f"{text} names no query") for start, text in nameless(page)]
    right = page
    for figure in sorted(figures(page), key=lambda figure: -figure.start):
        if _ALLOWED in figure.query:
            continue
        try:
            text = figure.right(answers.answer(figure.query))
        except (ValueError, OSError) as error:
            faults.append((figure.start, f"{figure.text}: {error} ({figure.query})"))
            continue
        if text != figure.text:
            faults.append((figure.start, f"{figure.text} must be {text} ({figure.query})"))
            right = right[: figure.start] + text + right[figure.start + len(figure.text) :]
    return right, [f"{page.count(chr(10), 0, start) + 1}: {fault}" for start, fault in sorted(faults)]


def answers() -> Answers:
    """What the records of the repository answer."""
    return Answers(_REPORTS, tomllib.loads((ROOT / "docs/rows.toml").read_text()))


def main() -> None:
    """Write the right figures into the pages; say what else is wrong, and exit with status 1 then."""
    known, left = answers(), []
    for page in PAGES:
        page.write_text(corrected(page.read_text(), known)[0])
        left += [f"{page.relative_to(ROOT)}:{fault}" for fault in corrected(page.read_text(), known)[1]]
    print(*left, sep="\n")
    sys.exit(bool(left))


if __name__ == "__main__":
    main()
