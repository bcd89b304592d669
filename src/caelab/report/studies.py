"""Carry out studies, and show what came of them."""

from collections.abc import Sequence
from pathlib import Path

from caelab import terminal
from caelab.report import claims, summary
from caelab.report.asked import Asked
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
    execution = execute.carry_out(names, budget, seeds, overrides, claims.require)
    summary.show_studies(execution)
    terminal.say(f"next: {_report(names, seeds, budget, overrides, execution.output)}")
    execution.end()


def _report(
    names: Sequence[str], seeds: str | None, budget: str, overrides: Sequence[str], output: Path
) -> str:
    """The command that draws the report of these studies."""
    words = [word for word in overrides if not word.startswith(("~", "hydra", "paths.", "force="))]
    root = Path(terminal.shown(output))
    return Asked([root], names, words, None if budget == "full" else budget, seeds).command("report")
