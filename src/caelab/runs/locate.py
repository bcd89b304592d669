"""Which run a command means: a directory, ``last``, or the beginning of its name or fingerprint."""

from pathlib import Path

from caelab import terminal
from caelab.errors import UserError
from caelab.runs import records
from caelab.runs.record import RECORD, Record

ROOT = "multirun"
"""Where runs lie unless ``paths.output`` says otherwise."""

HELP = "a finished run: its directory, last, or the start of its name or fingerprint"
"""What RUN is, for the help of a command."""

_LAST = "last"
_SHOWN = 5  # candidates


def run(text: str, root: str | Path = ROOT) -> Path:
    """Return the directory of the run that is meant, or a path that is there or looks like one.

    Args:
        text: a directory or file; ``last``, the run that finished last; or the beginning of the name of a
            run's directory, or of its fingerprint.
        root: the folder below which runs are looked for.

    Raises:
        UserError: no run is meant, or several; the line names candidates.
    """
    path = Path(text)
    if (text and path.exists()) or len(path.parts) > 1:
        return path
    found = dict(records.find(root))
    runs, trials = (
        {path: record for path, record in found.items() if record.status == status}
        for status in ("finished", "trial")
    )
    if text == _LAST and runs:
        return max(runs, key=lambda path: (runs[path].finished, _written(path / RECORD)))
    meant = _meant(text, runs) or _meant(text, trials)  # of a trial the command says how it is tested
    if len(meant) == 1:
        return meant[0]
    if path.suffix and not meant:
        return path
    if not runs:
        raise UserError(f"{text}: no such directory, and no finished run below {root}; train one first")
    if meant:
        raise UserError(f"{text}: {len(meant)} runs begin with that: {_listed(meant)}; give one of them")
    raise UserError(
        f"{text}: no such directory, and no run below {root} begins with that: {_listed(list(runs))}"
    )


def _written(path: Path) -> float:
    """When a file was written last; 0 for one of an archive."""
    return path.stat().st_mtime if path.exists() else 0.0


def _meant(text: str, runs: dict[Path, Record]) -> list[Path]:
    """Runs whose name or fingerprint is that text, or else begins so."""
    names = {path: (path.name, record.fingerprint) for path, record in runs.items()}
    begun = [path for path in runs if any(name.startswith(text or " ") for name in names[path])]
    return [path for path in begun if text in names[path]] or begun


def _listed(paths: list[Path]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(terminal.shown(path) for path in paths[:_SHOWN]) + more
