"""Which run a command means: a directory, ``last``, or the beginning of its name or fingerprint."""

from pathlib import Path

from caelab import mistakes, records, results, screen
from caelab.errors import UserError

ROOT = "multirun"
"""Where runs lie unless ``paths.output`` says otherwise."""

HELP = "a finished run: its directory, last, or the beginning of its name or fingerprint"
"""What RUN is, for the help of a command."""

_LAST = "last"
_SHOWN = 5  # candidates


def run(text: str, root: str | Path = ROOT) -> Path:
    """Return the directory of the run that is meant, or the file, where it is one.

    Args:
        text: a directory or file; ``last``, the run that finished last; or the beginning of the name of a
            run's directory, or of its fingerprint.
        root: the folder below which runs are looked for.

    Raises:
        UserError: no run is meant, or several; the line names candidates.
    """
    path = Path(text)
    if (text and path.exists()) or len(path.parts) > 1 or path.suffix:
        return path
    runs = {path: record for path, record in records.find(root) if record["status"] == "finished"}
    if text == _LAST and runs:
        return max(runs, key=lambda path: (runs[path]["finished"], (path / results.RECORD).stat().st_mtime))
    names = {path: (path.name, record["fingerprint"]) for path, record in runs.items()}
    meant = [path for path in runs if any(name.startswith(text or " ") for name in names[path])]
    exact = [path for path in meant if text in names[path]]
    if len(exact or meant) == 1:
        return (exact or meant)[0]
    if not runs:
        raise UserError(f"{text}: no such directory, and no finished run below {root}; train one first")
    if meant:
        raise UserError(f"{text}: {len(meant)} runs begin so: {_listed(meant)}")
    raise UserError(f"{text}: no such directory, and no run below {root} begins so: {_listed(list(runs))}")


def argument(text: str) -> Path:
    """Return ``run(text)`` for argparse; a mistake ends the command with its line."""
    with mistakes.told():
        return run(text)


def _listed(paths: list[Path]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(screen.shown(path) for path in paths[:_SHOWN]) + more
