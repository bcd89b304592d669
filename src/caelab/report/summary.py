"""The end of a study on the screen: its tables and its verdicts."""

from collections.abc import Sequence

from caelab import screen
from caelab.report import claims, tables
from caelab.report.measure import Index, section
from caelab.studies import Study


def show(plans: Sequence[Study], runs: Index) -> None:
    """Print the table of each study and dataset, and what they say of the report's claims."""
    for study in plans:
        for dataset in study.datasets:
            found = section(study, dataset, runs)
            screen.console.print(tables.screen_table(found))
            for verdict in claims.verdicts(found):
                screen.say(". ".join([verdict.sentence, *verdict.caveats]) + ".")
