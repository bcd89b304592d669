"""A report on the screen: its tables and its verdicts."""

from collections.abc import Sequence

from caelab import terminal
from caelab.report import tables
from caelab.report.claims import Verdict, verdicts
from caelab.report.measure import section
from caelab.report.rows import Section
from caelab.studies.execute import Execution


def show_studies(execution: Execution) -> None:
    """Print what studies have shown, once they are carried out."""
    shown = [
        section(study, dataset, execution.runs.index, execution.searches)
        for study in execution.studies
        for dataset in study.datasets
    ]
    show(shown, [verdict for one in shown for verdict in verdicts(one)])


def show(sections: Sequence[Section], verdicts: Sequence[Verdict]) -> None:
    """Print the table of each section, then every verdict."""
    for one in sections:
        terminal.console.print(tables.screen_table(one))
    for verdict in verdicts:
        terminal.say(f"{verdict.words}")
