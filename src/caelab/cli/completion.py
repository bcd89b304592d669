"""What the shell offers for ``KEY=VALUE``: groups, their options and keys, the user's own among them.

What Hydra brings is imported where it is used: a command whose words are not being completed does without.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress

import typer

from caelab.errors import UserError


def words(context: typer.Context, incomplete: str) -> list[str]:
    """Complete a word of ``caelab train`` or ``caelab sweep``.

    Args:
        context: has the words before it, where bash takes ``=`` for a word of its own.
        incomplete: what is typed of it.
    """
    from caelab.config import folders

    named, earlier = folders.of_words(context.params["words"] or ())
    with suppress(UserError), folders.seen(named):
        return list(_words(earlier, incomplete))
    return []


def studies(context: typer.Context, incomplete: str) -> list[str]:
    """Complete a word of ``caelab study`` or ``report``: a study's name, or ``KEY=VALUE``."""
    from caelab.config import folders, options

    earlier = list(context.params["words"] or ())
    with suppress(UserError), folders.seen(context.params.get("config_dir") or ()):
        names = [] if "=" in (*earlier[-1:], *incomplete) else options.files("study")
        return [*_begin(names, incomplete), *_words(earlier, incomplete)]
    return []


def _words(earlier: list[str], incomplete: str) -> Iterator[str]:
    if not incomplete and earlier[-1:] and earlier[-1] in _keys(deep=True) and earlier[-2:-1] != ["="]:
        earlier = [*earlier, "="]  # of which typer tells nothing where nothing comes after it
    if earlier[-1:] == ["="]:
        key, before, typed = earlier[-2], "", incomplete
    elif "=" in incomplete:
        key, _, typed = incomplete.partition("=")
        before = f"{key}="
    else:
        yield from (f"{key}=" for key in _begin(_keys(deep="." in incomplete), incomplete))
        return
    first, comma, last = typed.rpartition(",")
    yield from (f"{before}{first}{comma}{value}" for value in _begin(_values(key.lstrip("+")), last))


def _keys(deep: bool) -> Iterator[str]:
    from caelab.config import options

    every = [key for key in options.every_key() if key.partition(".")[0] != "study"]
    return (key for key in every if deep or "." not in key)


def _values(key: str) -> Iterable[str]:
    from caelab.config import options

    if key in (*options.groups(), "hydra/launcher"):
        return options.files(key.replace("/", "."))
    group = key.partition(".")[0]
    leaves = options.options(group).values() if group in (*options.groups(), "trainer") else ()
    defaults = (leaf.get(key) for leaf in (options.top(), *leaves))
    return ["true", "false"] if any(isinstance(default, bool) for default in defaults) else []


def _begin(names: Iterable[str], typed: str) -> list[str]:
    return [name for name in names if name.startswith(typed)]
