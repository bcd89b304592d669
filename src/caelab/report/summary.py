"""A report on the screen: its tables and its verdicts."""

from collections.abc import Sequence

from caelab import screen
from caelab.report import tables
from caelab.report.claims import Verdict
from caelab.report.rows import Section


def show(sections: Sequence[Section], verdicts: Sequence[Verdict]) -> None:
    """Print the table of each section, then every verdict."""
    for section in sections:
        screen.console.print(tables.screen_table(section))
    for verdict in verdicts:
        screen.say(f"{verdict.words}")
