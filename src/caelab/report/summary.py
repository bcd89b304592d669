"""A report on the screen: its tables and its verdicts."""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from caelab import terminal
from caelab.report.claims import Verdict, verdicts
from caelab.report.measure import apart, others, section
from caelab.report.rows import Section
from caelab.report.screen import Shown
from caelab.runs.labels import labels
from caelab.runs.record import Complete, Record, is_finished
from caelab.studies.execute import Execution


def show_studies(execution: Execution) -> None:
    """Print what studies have shown, once they are carried out: their verdicts last."""
    shown = [
        section(study, dataset, execution.runs.index, execution.searches)
        for study in execution.studies
        for dataset in study.datasets
    ]
    show(
        [part for one in shown for part in apart(one)],
        [verdict for one in shown for verdict in verdicts(one)],
    )


def show(sections: Sequence[Section], verdicts: Sequence[Verdict]) -> None:
    """Print the table of each section, then every verdict."""
    for one in sections:
        terminal.console.print(Shown(one))
    for verdict in verdicts:
        terminal.say(f"{verdict.words}")


def show_sweep(runs: Mapping[Path, Record]) -> None:
    """Print what a sweep has shown, a row a variant, and below it why runs failed."""
    title = f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}, test split, best on validation first"
    found = {str(path): (path, record) for path, record in runs.items()}
    for one in others(found):
        terminal.console.print(Shown(replace(one, title=one.title.replace("Runs", title, 1))))
    records = list(runs.values())
    for name, record in zip(labels(records), records, strict=True):
        if not isinstance(record, Complete):
            words = ", ".join(f"{key}={value}" for key, value in name.items() if value != "-")
            failed = "failed: " if record.status == "failed" else ""
            terminal.say(f"{words or ' '.join(record.overrides)}: {failed}{record.error}")
    if any(is_finished(record) for record in records):
        where = terminal.shown(Path(os.path.commonpath(list(runs))))
        terminal.say(f"next: caelab report {shlex.quote(where)}")
