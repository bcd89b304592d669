"""Whose code a record may name: what is read from disk builds nothing that nobody here has vouched for.

A record names classes and their arguments, and whoever wrote it chose them. Built are what the lab's own
conf/ names, the losses of ``torch.nn`` and the optimizers of ``torch.optim``; what an installed package
registers as an entry point of the group ``caelab``; what this user has trained with, as long as its code is
the same; and what ``--trust MODULE`` names. What a user types on the command line is no record, and needs
none of this.

Imports nothing heavy: a trained network is read without Hydra.
"""

import errno
import hashlib
import json
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import platformdirs

from caelab import durable
from caelab.config import CONF, installed, instances, notebook
from caelab.config.fingerprint import GROUPS
from caelab.errors import UserError

ENTRY_POINTS = "caelab"
"""Group of the entry points by which a package says that records may name its classes."""

_TARGET = "_target_"
_OF_TORCH = {
    "loss": re.compile(r"torch\.nn\.[A-Z]\w*Loss"),
    "optimizer": re.compile(r"torch\.optim\.[A-Z]\w*"),
}
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")

_modules: set[str] = set()  # that --trust has named
_trained_with: set[str] = set()  # targets of this process
_handed: set[str] = set()  # classes that Python has given this process
_command: list[str] = []  # the command line that has --trust, where this process is one


def by_command(modules: list[str] | None) -> list[str] | None:
    """Let records name the code of the modules that ``--trust`` of one command names; returns them."""
    _modules.clear()
    _modules.update(modules or ())
    _command[:] = ["caelab"]
    return modules


@contextmanager
def granted(modules: Iterable[str]) -> Iterator[None]:
    """Let records name the code of these modules as long as the context lasts."""
    new = set(modules) - _modules
    _modules.update(new)
    try:
        yield
    finally:
        _modules.difference_update(new)


def check(node: Any, group: str, where: str) -> None:
    """Refuse a node of a record that names code nobody has vouched for, and import what it may name.

    Args:
        node: a group of a record's config, or any part of it: mappings, lists, scalars.
        group: its name, such as ``loss``.
        where: whose it is, for messages.

    Raises:
        UserError: code that nobody has vouched for, at any depth, or an interpolation.
    """
    if isinstance(node, Mapping):
        if _TARGET in node:
            named(node[_TARGET], group, where)
        for value in node.values():
            check(value, group, where)
    elif isinstance(node, list | tuple):
        for value in node:
            check(value, group, where)
    elif isinstance(node, str) and "${" in node:
        raise UserError(f"{where}: {group}: {node!r} is an interpolation; a record holds values only")


def named(target: Any, group: str, where: str) -> Any:
    """Return what a record's ``_target_`` names, if somebody has vouched for it.

    Args:
        target: the dotted name.
        group: of the config in which it stands.
        where: whose it is, for messages.

    Raises:
        UserError: it is no name, nobody has vouched for it, or there is nothing of that name.
    """
    if not isinstance(target, str) or not _DOTTED.fullmatch(target):
        raise UserError(f"{where}: {group}._target_ is {target!r}; it must be the dotted name of a class")
    where = f"{where}: {group}._target_={target}"
    if target == instances.TARGET:
        raise UserError(f"{where}: an object that only its process had; to open a run, {instances.MEND}")
    if _ours(target, group):
        return _object(target, where)
    if target.startswith("caelab."):
        raise UserError(f"{where}: this caelab has no such {group}")
    if owner := next((name for name in _vouched() if _within(target, name)), None):
        with _elsewhere():
            one = _object(target, where)
        if _within(f"{getattr(one, '__module__', '')}.", owner):
            return one
        raise UserError(f"{where}: is not defined in {owner}, which only imports it")
    if target in _trained_with | _handed or _same_as_trained_with(target):
        return _object(target, where)
    if target.startswith(f"{notebook.MODULE}."):
        raise UserError(f"{where}: typed into a notebook and known only there; put the class into a module")
    raise UserError(
        f"{where}: code that is not the lab's and that you have not trained with, so it could do anything; "
        f"if you trust it: {_hint(target.rpartition('.')[0])}"
    )


def _hint(module: str) -> str:
    if not _command:
        return f"trust=[{module!r}]"
    return f"{_command[0]} {shlex.join([*sys.argv[1:], '--trust', module])}"


def _ours(target: str, group: str) -> bool:
    of_torch = _OF_TORCH.get(group)
    return target in _of_conf(group) or bool(of_torch and of_torch.fullmatch(target))


@cache
def _of_conf(group: str) -> frozenset[str]:
    """Every class that the lab's own conf/ names in a group."""
    texts = (file.read_text(encoding="utf-8") for file in Path(CONF, group).glob("*.yaml"))
    return frozenset(target for text in texts for target in re.findall(r"_target_: *([\w.]+)", text))


def _vouched() -> set[str]:
    return _modules | {point.module for point in installed.points(ENTRY_POINTS)}


def _within(name: str, module: str) -> bool:
    return name.startswith(f"{module}.")


def _object(target: str, where: str) -> Any:
    first, *parts = target.split(".")
    try:
        one: Any = import_module(first)
        name = first
        for part in parts:
            name += f".{part}"
            if not hasattr(one, part) and isinstance(one, ModuleType):
                import_module(name)
            one = getattr(one, part)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{where}: cannot be imported ({error})") from error
    return one


@contextmanager
def _elsewhere(first: str | None = None) -> Iterator[None]:
    """Import from ``first``, and not from the working directory unless PYTHONPATH names it."""
    before, during = sys.path[:], [*([first] if first else []), *installed.places()]
    sys.path[:] = during
    try:
        yield
    finally:
        sys.path[:] = [*before, *(place for place in sys.path if place not in during)]


def vouch(target: str) -> None:
    """Let records name a class that the user has given this process."""
    _handed.add(target)


def remember(config: Mapping[str, Any]) -> None:
    """Keep what the user trains with: records may name it as long as its code is the same.

    Args:
        config: of a run that the user has asked for, once its objects are built.

    Raises:
        OSError: the user's data folder cannot be written; this process knows it all the same.
    """
    theirs = {one for group in GROUPS for one in _targets(config.get(group)) if not _ours(one, group)}
    for target in sorted(theirs - _trained_with - {instances.TARGET}):
        _trained_with.add(target)
        if code := _code(target):
            path = _kept(target)
            path.parent.mkdir(parents=True, exist_ok=True)
            durable.write(path, json.dumps([code, *(one for one in _known(target) if one != code)]))


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if isinstance(target := node.get(_TARGET), str):
            yield target
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from _targets(value)


def _kept(target: str) -> Path:
    """File of what is kept of a target; an OSError where there is no home directory."""
    try:
        return platformdirs.user_data_path("caelab").expanduser() / "trained-with" / f"{target}.json"
    except RuntimeError:
        raise FileNotFoundError(errno.ENOENT, "no home directory", "~") from None


def _known(target: str) -> list[dict[str, Any]]:
    try:
        codes = json.loads(_kept(target).read_text())
    except (OSError, ValueError):
        return []
    return codes if isinstance(codes, list) else []


def _code(target: str) -> dict[str, Any] | None:
    """Folder that the code of a target was imported from, and the digest of each of its files; None without.

    Of an installed package these are its own modules, of a user's own folder all that were imported from it.
    """
    parts = target.split(".")
    names = (parts[:n] for n in range(len(parts) - 1, 0, -1))
    name, file = next(((name, file) for name in names if (file := _file(".".join(name)))), ([], None))
    if file is None:
        return None
    root = file.parents[len(name) - (file.name != "__init__.py")]
    of_a_package = root.name in ("site-packages", "dist-packages")
    files = {}
    for module in sorted(sys.modules):
        own = _file(module)
        if own and _is_at(own, root, module) and (module.split(".")[0] == parts[0] or not of_a_package):
            files[str(own.relative_to(root))] = _digest(own)
    return {"root": str(root), "files": files}


def _file(module: str) -> Path | None:
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file).absolute() if isinstance(file, str) and Path(file).is_file() else None


def _is_at(file: Path, root: Path, module: str) -> bool:
    place = root.joinpath(*module.split("."))
    return file in (place / "__init__.py", place.with_name(f"{place.name}{file.suffix}"))


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _same_as_trained_with(target: str) -> bool:
    """Import the code of a target that the user has trained with, where it is found unchanged."""
    for code in _known(target):
        for root in dict.fromkeys([*installed.places(), code["root"]]):
            if code["files"] and _unchanged(Path(root), code["files"]):
                with _elsewhere(root):
                    _object(target, "trained with")
                if root not in sys.path:
                    sys.path.append(root)  # for what it imports later
                return True
    return False


def _unchanged(root: Path, files: Mapping[str, str]) -> bool:
    try:
        return all(_digest(root / name) == digest for name, digest in files.items())
    except OSError:
        return False
