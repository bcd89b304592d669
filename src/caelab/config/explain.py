"""How a mistake in a config is told, Hydra's own among them."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from caelab import terminal
from caelab.config import folders, hints, options
from caelab.config.grammar import NO_TEXT, mistake
from caelab.errors import UserError
from caelab.terminal import nearest, one_line


def line(error: BaseException, chosen: Mapping[str, str] = MappingProxyType({})) -> str | None:
    """One line for an error that the user made, Hydra's among them; None for a bug.

    Args:
        error: that was raised.
        chosen: group -> option of the job that was composed, as far as that is known.
    """
    missing = error.missing_cfg_file if isinstance(error, MissingConfigException) else None
    group, _, option = (missing or "").rpartition("/")
    if isinstance(error, MissingConfigException) and group:
        known = [*map(str, error.options or options.files(group))]  # Hydra lists none where it has a list
        return f"{group}={option}: there is no such {group}{nearest(option, known)}"
    if isinstance(error, YAMLError):
        return mistake(error)
    if isinstance(error, UnicodeDecodeError) and (file := _no_text()):
        return f"{file}: {NO_TEXT}"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: not of the form KEY=VALUE ({one_line(error)}); quotes may be missing"
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        if several := re.search(r"Ambiguous value for argument '([^']+)'", str(error)):
            return f"{several[1]}: several values make a sweep, which needs -m; a comma in text needs quotes"
        if key := re.search(r"[Cc]ould not override '([^']+)'", str(error)):
            there = key[1] in options.every_key()
            return hints.elsewhere(key[1], chosen) if there else hints.unknown(key[1])
        return one_line(error).removeprefix("UserError raised while resolving interpolation: ")
    return terminal.explain(error)


@contextmanager
def told() -> Iterator[None]:
    """Turn what ``line`` has a line for into a UserError of that line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if (said := line(error)) is None:
            raise
        raise UserError(said) from None


def _no_text() -> Path | None:
    """The first file of options that is not in UTF-8, which Hydra does not name; None where all are."""
    for folder in folders.every():
        for file in sorted(folder.rglob("*.yaml")):
            try:
                file.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                return file
    return None
