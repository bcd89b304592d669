"""What ``conf/`` and the user's own folders offer: groups, options, the keys of each with their defaults."""

import inspect
from pathlib import Path
from typing import Any, get_args

from caelab import config
from caelab.config import folders
from caelab.config.grammar import read

classes: dict[str, dict[str, dict[str, Any]]] = {}
"""Group -> option -> its config, of what Python gives in place of a name."""


def groups() -> list[str]:
    """Every group of options, such as ``model``."""
    return sorted(path.name for path in Path(config.CONF).iterdir() if path.is_dir() and path.name != "hydra")


def top() -> dict[str, Any]:
    """The keys of train.yaml with their defaults, without those that are Hydra's."""
    return {k: v for k, v in read(Path(config.CONF, "train.yaml")).items() if k not in ("defaults", "hydra")}


def options(group: str) -> dict[str, dict[str, Any]]:
    """Option of a group -> its keys with their defaults, flat, as the user types them.

    ``hydra.launcher`` counts as a group; so does ``trainer``, with one option. An experiment has no keys: it
    sets those of other groups.
    """
    if group in ("trainer", "paths"):
        return {"train": flat(top()[group], f"{group}.")}
    leaves = {name: node(group, leaf) for name, leaf in files(group).items()}
    return {name: flat(leaf, f"{group}.") for name, leaf in (leaves | classes.get(group, {})).items()}


def option(group: str, name: str) -> dict[str, Any]:
    """Keys of one option of a group with their defaults, as in ``options``; none where there is no such."""
    given = classes.get(group, {})
    leaf = None if name in given else files(group).get(name)
    return flat(node(group, leaf) if leaf else given.get(name, {}), f"{group}.")


def files(group: str) -> dict[str, Path]:
    """Option of a group -> its file, in alphabetical order."""
    leaves: dict[str, Path] = {}
    for folder in folders.every():
        for leaf in folder.joinpath(*group.split(".")).glob("*.yaml"):
            leaves.setdefault(leaf.stem, leaf)
    return dict(sorted(leaves.items()))


def node(group: str, leaf: Path) -> dict[str, Any]:
    """What the file of an option sets in its own group, without what it sets elsewhere."""
    values = read(leaf)  # first, as it tells what is no text
    is_global = leaf.read_text(encoding="utf-8").startswith("# @package _global_")
    own: dict[str, Any] = values.get(group, {}) if is_global else values
    return own


def every_key() -> list[str]:
    """Every key that some choice of options offers, as the user types it."""
    known = {*flat(top()), *groups()}
    for group in (*groups(), "hydra.launcher"):
        known |= {key for one in options(group).values() for key in one}
    return sorted(key for key in known if "_target_" not in key)


def flat(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every key below a node, with dots, and its value; inner nodes too."""
    keys = {}
    for key, value in node.items():
        keys[prefix + str(key)] = value
        if isinstance(value, dict):
            keys |= flat(value, f"{prefix}{key}.")
    return keys


def arguments(target: Any) -> tuple[dict[str, inspect.Parameter], bool]:
    """Arguments by name that a class or function takes, and whether it takes any other name as well."""
    known: dict[str, inspect.Parameter] = {}
    for function in inspect.getmro(target) if inspect.isclass(target) else [target]:
        parameters = inspect.signature(function).parameters.values()
        for one in parameters:
            if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY):
                known.setdefault(one.name, one)
        if not any(one.kind is one.VAR_KEYWORD for one in parameters):
            return known, False
    return known, True


def takes_none(parameter: inspect.Parameter) -> bool:
    """Whether None is a value of that argument, as far as its annotation tells."""
    kind = parameter.annotation
    if parameter.default is None or kind in (parameter.empty, Any, object):
        return True
    if isinstance(kind, str):
        return any(word in kind for word in ("None", "Optional", "Any"))
    return type(None) in get_args(kind)
