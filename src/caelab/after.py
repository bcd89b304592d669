"""Analyses of finished runs: those that a study's YAML names, as in ``after: [audit]``, or a person.

An analysis is a module ``caelab.<name>`` with a function of the same name that takes the directory of a
finished run, and leaves ``<name>.json`` there by ``results.write_analysis``.
"""

import argparse
import difflib
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import caelab
from caelab import compose, locate, results, screen, trust
from caelab.errors import UserError
from caelab.results import Record
from caelab.run_dir import BusyError, locked


def find(name: str, where: str) -> Callable[[Path], Any]:
    """Return the analysis of that name.

    Args:
        name: of the module and its function.
        where: what names it, for messages.

    Raises:
        UserError: there is none.
    """
    modules = [module.name for module in iter_modules(caelab.__path__)]
    function = getattr(import_module(f"caelab.{name}"), name, None) if name in modules else None
    if not callable(function):
        near = difflib.get_close_matches(name, set(modules) - {name}, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "it is a function of its own module in caelab"
        raise UserError(f"{where}: there is no analysis {name!r}; {hint}")
    return function  # type: ignore[no-any-return]


def carry_out(name: str, runs: Mapping[Path, Record]) -> int:
    """Carry out an analysis on each run that has none yet, and say what comes of it.

    Args:
        name: of the analysis.
        runs: directory -> record of finished runs. One without its checkpoint, such as a copied record, is
            named and left out, as is one that another process is analysing: so several share the work.

    Returns:
        How many analyses failed.
    """
    analyse = find(name, "after")
    open_runs = [path for path, record in runs.items() if results.analysis(path, name, record) is None]
    failed = 0
    for number, path in enumerate(open_runs, start=1):
        shown = screen.shown(path)
        if "best" not in runs[path]["artifacts"] or not (path / runs[path]["artifacts"]["best"]).is_file():
            screen.say(f"no {name} of {shown}: its checkpoint is not there")
            continue
        try:
            with locked(path):
                if results.analysis(path, name, runs[path]) is None:  # nor from another process, just now
                    screen.say(f"[{name} {number} of {len(open_runs)}] {shown}")
                    analyse(path)
        except BusyError:
            screen.say(f"[{name} {number} of {len(open_runs)}] {shown}: another process is at it")
        except Exception as error:  # one run's analysis must not take those of the others with it
            line = compose.explain(error)
            if line is None:
                screen.errors.print(traceback.format_exc(), markup=False, highlight=False)
                line = f"{type(error).__name__}: {error}"
            screen.error(f"{name} of {shown}: {line}")
            failed += 1
    return failed


def command_line(
    name: str,
    usage: str,
    analyse: Callable[[Path], dict[str, Any]],
    show: Callable[[Path, dict[str, Any]], None],
) -> None:
    """Carry out an analysis on each run on the command line; exit status 0 when every one succeeded.

    Args:
        name: of the analysis, whose picture is ``<name>.png`` in the run's directory.
        usage: what ``--help`` shows.
        analyse: takes the run's directory; returns what it found, with ``seconds``.
        show: prints what was found in a run.
    """
    parser = argparse.ArgumentParser(prog=f"caelab-{name}", usage=usage)
    parser.add_argument("runs", nargs="+", type=locate.argument, metavar="RUN", help=locate.HELP)
    trust.option(parser)
    if not each(name, parser.parse_args().runs, analyse, show):
        sys.exit(1)


def each(
    name: str,
    runs: Sequence[Path],
    analyse: Callable[[Path], dict[str, Any]],
    show: Callable[[Path, dict[str, Any]], None],
) -> bool:
    """Carry out an analysis on each run that the user named; a mistake in one stops no other.

    The arguments are those of ``command_line``.

    Returns:
        Whether every one succeeded.
    """
    failed = False
    for run in runs:
        try:
            found = analyse(run)
        except Exception as error:
            line = compose.explain(error)
            if line is None:
                raise
            screen.error(line)
            failed = True
        else:
            show(run, found)
            screen.say(f"{found['seconds']:.0f} s; {screen.shown(run / f'{name}.png')}")
    return not failed
