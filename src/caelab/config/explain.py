"""How a mistake in a config is told, Hydra's own among them."""

import re

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from caelab import terminal
from caelab.config import hints, options
from caelab.config.grammar import mistake
from caelab.terminal import nearest, one_line


def line(error: BaseException) -> str | None:
    """One line for an error that the user made, Hydra's among them; None for a bug."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        known = [*map(str, error.options or options.files(group))]  # Hydra lists none where it has a list
        return f"{group}={option}: there is no such {group}{nearest(option, known)}"
    if isinstance(error, MarkedYAMLError):
        return mistake(error)
    if isinstance(error, OverrideParseException):
        return f"{error.override}: not of the form KEY=VALUE ({one_line(error)}); quotes may be missing"
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        if several := re.search(r"Ambiguous value for argument '([^']+)'", str(error)):
            return f"{several[1]}: several values are a sweep, which takes -m; text with a comma takes quotes"
        if key := re.search(r"[Cc]ould not override '([^']+)'", str(error)):
            return (hints.elsewhere if key[1] in options.every_key() else hints.unknown)(key[1])
        return one_line(error).removeprefix("UserError raised while resolving interpolation: ")
    return terminal.explain(error)
