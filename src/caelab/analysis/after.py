"""Analyses that a study asks for, as in ``after: [audit]``, of all its finished runs."""

import traceback
from collections.abc import Mapping
from pathlib import Path

from caelab import terminal
from caelab.config import explain
from caelab.runs import analyses as registry
from caelab.runs import results
from caelab.runs.record import Complete
from caelab.runs.run_dir import BusyError


def carry_out(name: str, runs: Mapping[Path, Complete]) -> int:
    """Carry out an analysis on each run that has none yet, and say what comes of it.

    Args:
        name: of the analysis.
        runs: directory -> record of finished runs. One without its checkpoint, such as a copied record, is
            named and left out, as is one that another process is analysing: so several share the work.

    Returns:
        How many analyses failed.
    """
    analysis = registry.find(name, "after")
    missing = [path for path, record in runs.items() if results.analysis(path, name, record) is None]
    failed = 0
    for number, path in enumerate(missing, start=1):
        shown = terminal.shown(path)
        if "best" not in runs[path].artifacts or not (path / runs[path].artifacts["best"]).is_file():
            terminal.say(f"no {name} of {shown}: its checkpoint is missing")
            continue
        terminal.say(f"[{name} {number} of {len(missing)}] {shown}")
        try:
            analysis(path, again=False)
        except BusyError:
            terminal.say(f"{name} of {shown}: in use by another process")
        except Exception as error:  # one run's analysis must not take those of the others with it
            terminal.error(f"{name} of {shown}: {_explained(error)}")
            failed += 1
    return failed


def _explained(error: Exception) -> str:
    """One line for an error; the traceback of a bug is shown as well."""
    if (line := explain.line(error)) is not None:
        return line
    terminal.errors.print(traceback.format_exc(), markup=False, highlight=False)
    return f"{type(error).__name__}: {error}"
