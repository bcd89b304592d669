"""The text of configs as Hydra reads and writes it: YAML, overrides, and the words of a command line."""

import re
from collections.abc import Iterable
from copy import deepcopy
from functools import cache
from numbers import Real
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import OverrideParseException
from omegaconf import OmegaConf
from yaml import MarkedYAMLError, YAMLError
from yaml.reader import ReaderError

from caelab.compat import get_args_parser
from caelab.errors import UserError
from caelab.terminal import one_line

MISSING = "???"
"""Value of a key that the user must give."""

NO_TEXT = "it is not in UTF-8; save it as UTF-8"

_PLAIN = re.compile(r"[\w./+:@-]+")  # text that an override takes as it is


def read(file: Path) -> dict[str, Any]:
    """Read a YAML file; its interpolations stay text. A sweep asks for the same files in each of its jobs.

    Raises:
        UserError: it is no YAML.
    """
    state = file.stat()
    return deepcopy(_read(file, state.st_ino, state.st_mtime_ns, state.st_size))


@cache
def _read(file: Path, *_state: int) -> dict[str, Any]:
    try:
        values = OmegaConf.to_container(OmegaConf.load(file))
    except UnicodeDecodeError:
        raise UserError(f"{file}: {NO_TEXT}") from None
    except YAMLError as error:
        raise UserError(mistake(error)) from None
    return {str(key): value for key, value in values.items()} if isinstance(values, dict) else {}


def mistake(error: YAMLError) -> str:
    """One line about a file that is no YAML, with its name and, where it is known, the number of the line."""
    if isinstance(error, ReaderError):
        return f"{error.name}: {one_line(error)}"
    mark = (error.problem_mark or error.context_mark) if isinstance(error, MarkedYAMLError) else None
    return f"{mark.name}, line {mark.line + 1}: {error.problem}" if mark else one_line(error)


def yaml(values: Any) -> str:
    """Return plain values as YAML."""
    return OmegaConf.to_yaml(OmegaConf.create(values))


def parse(overrides: Iterable[str]) -> list[Override]:
    """Parse overrides.

    Raises:
        UserError: one that is none.
    """
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except OverrideParseException as error:
        raise UserError(f"{error.override}: not an override; give KEY=VALUE") from None


def keys(words: list[str]) -> list[str]:
    """Return the words of a command line that are neither flags of Hydra's nor their values."""
    known, others = get_args_parser().parse_known_args(words)
    return [*known.overrides, *others]


def written(value: Any) -> str:
    """Return a value as it is written in an override, with quotes where the grammar asks for them."""
    if isinstance(value, list | tuple):
        return "[" + ",".join(written(one) for one in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{written(one)}" for key, one in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    text = str(value)
    if isinstance(value, Real) or is_text(text):
        return text
    return QuotedString(text, Quote.single).with_quotes()


def is_text(text: str) -> bool:
    """Whether Hydra takes unquoted text as it is."""
    return bool(_PLAIN.fullmatch(text)) and not is_other(text)


def is_other(text: str) -> bool:
    """Whether Hydra takes unquoted text for a number, a truth value or null."""
    if text.lower() in ("null", "true", "false"):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True
