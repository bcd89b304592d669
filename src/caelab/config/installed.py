"""What installed packages register as entry points; what lies in the working directory does not count."""

import os
import sys
from functools import cache
from importlib.metadata import EntryPoint, distributions
from pathlib import Path


def places() -> list[str]:
    """Where Python imports from, without the working directory unless PYTHONPATH names it."""
    own = [Path(place).resolve() for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    here = Path.cwd()
    return [place for place in sys.path if Path(place).resolve() != here or here in own]


def points(group: str) -> list[EntryPoint]:
    """Entry points of a group."""
    return [point for point in _points(tuple(places())) if point.group == group]


@cache
def _points(path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    every = (point for package in distributions(path=list(path)) for point in package.entry_points)
    return tuple(point for point in dict.fromkeys(every) if point.group.split(".")[0] == "caelab")
