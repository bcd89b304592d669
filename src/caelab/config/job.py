"""A run as it was asked for, in plain values: what everything below the command line is given."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Job:
    """A run that Hydra has composed, checked and resolved.

    Attributes:
        config: of the run: mappings, lists and scalars.
        choices: group -> option chosen in it, of Hydra's own groups too.
        overrides: as on the command line.
        identity: fingerprint, 64 hexadecimal digits.
        run_dir: absolute directory of the run.
        output: absolute folder of all runs.
        places: key of the dataset -> absolute path that it names.
        origin: what a record says of the run that this one starts from; None without one.
        save: writes the config, as Hydra would, into a folder.
        sources: class that is not the lab's -> digest of its source, as far as it acts.
    """

    config: dict[str, Any]
    choices: dict[str, Any]
    overrides: list[str]
    identity: str
    run_dir: Path
    output: Path
    places: dict[str, str]
    origin: dict[str, str] | None
    save: Callable[[Path], None]
    sources: dict[str, str] = field(default_factory=dict)
