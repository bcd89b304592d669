"""Carry out studies, and show what came of them."""

from collections.abc import Sequence

from caelab.report import summary
from caelab.studies import execute


def carry_out(words: Sequence[str], seeds: str | None, budget: str) -> None:
    """Carry out studies, and show what came of them.

    Args:
        words: names of studies, and KEY=VALUE of every run and of the sweep.
        seeds: runs a row; None is each study's own number.
        budget: ``full`` or ``quick``.

    Raises:
        UserError: an unknown study, budget or option, or an override of what a study varies.
        RunsFailed: a run or an analysis failed.
    """
    overrides = [word for word in words if "=" in word or word.startswith("~")]
    names = [word for word in words if word not in overrides]
    execution = execute.carry_out(names, budget, seeds, overrides)
    summary.show_studies(execution)
    execution.end()
