"""What a person types, before Hydra reads it: text stays text, and ``~`` is the home directory."""

import os
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Override

from caelab.composition import objects
from caelab.config import grammar, hints, options
from caelab.config.grammar import written
from caelab.errors import UserError
from caelab.runs import locate
from caelab.terminal import nearest

PATHS = (
    "paths.data",
    "paths.output",
    "dataset.path",
    "dataset.root",
    "dataset.archive",
    "dataset.index",
    "dataset.data_dir",
    "hydra.run.dir",
    "hydra.sweep.dir",
)
"""Keys whose value is a file or folder."""

MULTIRUN = ("-m", "--multirun")
"""Flags of a sweep."""

Overrides = str | Sequence[str] | Mapping[str, Any]
"""Overrides from Python: text as on the command line, or key -> value."""

LISTS = ("logger", "callbacks", "metrics")
"""Keys of which a run may have several options or names, so that a list of them is one value."""

_QUOTED = re.compile(r"'([^'\\]*)'|\"([^\"\\]*)\"")
_GRAMMAR = re.compile(r"""['"\[{].*|.*(\$\{|\\).*|\w+\(.*\)""", re.DOTALL)  # a value that Hydra must read


def from_python(
    overrides: Overrides, keys: Mapping[str, Any], epochs: Any = None, *, once: bool = False
) -> list[str]:
    """Return what a call from Python asks for as Hydra must see it.

    Args:
        overrides: text as on the command line, or key -> value, where a tuple is several values.
        keys: key -> value, where a list is several values, too.
        epochs: value of ``trainer.max_epochs``; None leaves it.
        once: whether it asks for one run, which an object may be part of.

    Raises:
        UserError: several values that are none, and what ``read`` and ``objects.names`` raise.
    """
    own = {**keys, **({} if epochs is None else {"trainer.max_epochs": epochs})}
    own = {
        key: tuple(value) if isinstance(value, list) and key not in LISTS else value
        for key, value in own.items()
    }
    typed = [overrides] if isinstance(overrides, str) else () if isinstance(overrides, Mapping) else overrides
    if isinstance(overrides, Mapping):
        own |= overrides
    own = objects.names(own, once)
    words = [*(_word(key, value) for key, value in own.items()), *map(str, typed)]
    free = objects.free(own)
    return read(f"++{word}" if _is_below(word, free) else word for word in words)


def _word(key: str, value: Any) -> str:
    several = isinstance(value, Iterable) and not isinstance(value, str | list)
    text = ",".join(written(one) for one in value) if several else written(value)
    if not text:
        raise UserError(f"{key}: no value given; give at least one")
    return f"{key}={text}"


def _is_below(word: str, groups: Container[str]) -> bool:
    """Whether an override is of a key below one of the groups."""
    group, dot, _ = word.partition("=")[0].partition(".")
    return bool(dot) and group in groups


def command_line(arguments: list[str]) -> list[str]:
    """Return the words of a command line as Hydra must see them: its flags first, wherever they stood.

    Raises:
        UserError: a flag that there is not, and what ``read`` raises.
    """
    keys = grammar.keys(arguments)
    for word in keys:
        if word.startswith("-"):
            flag, _, value = word.partition("=")
            name = flag.lstrip("-")
            right = (hints.wished(name) or name).partition("=")[0]
            raise UserError(f"{flag}: a setting takes no dashes; write {right}={value or 'VALUE'}")
    flags = list(arguments)
    for word in keys:
        flags.remove(word)
    words = read(keys)
    return [*flags, *(swept(words) if {*MULTIRUN} & {*flags} else words)]


def swept(words: list[str]) -> list[str]:
    """Have Hydra read the keys of options that a sweep chooses with each of these, not with the default one.

    Such a key becomes a choice of one value, of which quoted text, null and ``${...}`` are none: they stay.
    """
    try:
        parsed = grammar.parse(words)
    except UserError:  # which Hydra tells, too
        return words
    chosen = {one.key_or_group for one in parsed if one.is_sweep_override()}
    waiting = options.groups() if "experiment" in chosen else chosen
    return [
        _one_choice(word)
        if one.key_or_group.partition(".")[0] in waiting and "." in one.key_or_group and not _is_free(one)
        else word
        for word, one in zip(words, parsed, strict=True)
    ]


def _is_free(one: Override) -> bool:
    """Whether an override does not need that its key is there, or takes several values."""
    return one.is_sweep_override() or one.is_add() or one.is_force_add() or one.is_delete()


def _one_choice(word: str) -> str:
    key, _, value = word.partition("=")
    is_value = value and value != "null" and value[0] not in "'\"" and "${" not in value
    return f"{key}=choice({value})" if is_value else word


def read(words: Iterable[str]) -> list[str]:
    """Return the words of a command line as Hydra must see them.

    Where text is expected, what looks like a number, a truth value or null is quoted, and so is what Hydra's
    grammar has no place for; a path may start with ``~``.

    Raises:
        UserError: a key is taken away that every run needs, a group has no option of that name, or there is
            no such home directory.
    """
    return [_read(word) for word in words]


def expanded(path: str) -> str:
    """Replace a leading ``~`` by the home directory.

    Raises:
        UserError: there is none.
    """
    whole = os.path.expanduser(path)
    if path.startswith("~") and whole == path:
        raise UserError(f"{path}: there is no such home directory; give the whole path")
    return whole


def _read(word: str) -> str:
    name, equals, value = word.partition("=")
    key = name.lstrip("+~")
    if equals and key == "study":
        raise UserError(f"{word} is a set of runs; add -m, or call caelab.study({value!r})")
    if equals and key in ("seeds", "budget"):
        raise UserError(f"{word}: an option of a study, as in caelab study table2 --{key} {value}")
    if word.startswith("~") and key in (*options.flat(options.top()), *options.groups()):
        raise UserError(f"{word}: every run needs {key}; omit ~{key}, or give {key}=VALUE")
    if not equals or word.startswith(("-", "~")):
        return word
    if name.startswith("+") and key in options.flat(options.top()):
        name, word = key, word.lstrip("+")
    if key == "from" and value.lower() != "null":
        return f"{name}={_text(key, value)}"
    if "." not in key:
        _check_top(key, value)
        return word
    if _is_text(key, value):
        return f"{name}={_text(key, value)}"
    return word


def _check_top(key: str, value: str) -> None:
    """Refuse what Hydra would only say in many lines: an option that is no name, a value for a whole part."""
    if ("/" in key or key in options.groups()) and key not in ("experiment", "debug"):
        for option in value.split(","):
            if grammar.is_other(option):
                more = nearest(option, list(options.options(key))) if key in options.groups() else ""
                raise UserError(f"{key}={option}: there is no such {key}{more}")
    inside = options.top().get(key) if key in ("paths", "trainer") else None
    if inside and not value.startswith("{"):
        first = next(one for one in inside if one != "_target_")
        raise UserError(f"{key}={value}: {key} has keys of its own, as in {key}.{first}=VALUE")


def _is_text(key: str, value: str) -> bool:
    if value.lower() == "null" and key in ("dataset.root", "dataset.archive", "dataset.index"):  # none
        return False
    if key in PATHS:
        return True
    if all(grammar.is_text(part) for part in value.split(",")):
        return False  # it is no matter
    leaves = options.options(key.partition(".")[0]) if key.partition(".")[0] in options.groups() else {}
    defaults = [leaf[key] for leaf in leaves.values() if leaf.get(key) is not None]
    return bool(defaults) and all(isinstance(default, str) for default in defaults)


def _text(key: str, value: str) -> str:
    if key in (*PATHS, "from") and os.path.exists(os.path.expanduser(value)):  # whatever its name looks like
        return written(_path(key, value))
    quoted = _QUOTED.fullmatch(value)
    if quoted:
        text = quoted[1] or quoted[2] or ""
        return written(_path(key, text))
    if _GRAMMAR.fullmatch(value):
        return value
    return ",".join(
        _text(key, part) if _QUOTED.fullmatch(part) else written(_path(key, part))
        for part in value.split(",")
    )


def _path(key: str, text: str) -> str:
    if key == "from":
        return str(locate.run(expanded(text)).absolute())
    whole = expanded(text) if key in PATHS else text
    return os.path.abspath(whole) if key == "paths.data" else whole  # hydra.job.chdir moves a run
