"""A class or an object from Python in place of the name of an option."""

import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from hydra.core.config_store import ConfigStore

from caelab.config import instances, notebook, options
from caelab.config.build import PARTIAL
from caelab.config.fingerprint import GROUPS
from caelab.errors import UserError
from caelab.runs import trust

if TYPE_CHECKING:  # it brings Lightning
    from caelab.data.in_memory import Given


class Data(Protocol):
    """A datamodule."""

    def setup(self, stage: Any = None) -> None:
        """Open the images."""


Option = str | Callable[..., Any] | Data
"""Of a group: an option by its name, a class, ``functools.partial`` of a class, or an object."""


class Keys(TypedDict, total=False):
    """What a run may be given by keyword."""

    model: Option
    bottleneck: Option
    loss: Option
    optimizer: Option
    scheduler: Option
    dataset: "Option | Given"
    corruption: Option
    augment: Option
    logger: str | list[str]
    callbacks: str | list[str]
    experiment: str
    debug: str
    seed: int
    speed: str
    flip: bool
    ema: float | None
    compile: bool
    metrics: list[str]
    select: str
    keep: str
    force: bool


class SweptKeys(TypedDict, total=False):
    """What a sweep may be given by keyword: one value, or several."""

    model: Option | Iterable[Option]
    bottleneck: Option | Iterable[Option]
    loss: Option | Iterable[Option]
    optimizer: Option | Iterable[Option]
    scheduler: Option | Iterable[Option]
    dataset: Option | Iterable[Option]
    corruption: Option | Iterable[Option]
    augment: Option | Iterable[Option]
    logger: str | list[str]
    callbacks: str | list[str]
    experiment: str | Iterable[str]
    debug: str
    seed: int | Iterable[int]
    speed: str | Iterable[str]
    flip: bool | Iterable[bool]
    ema: float | None | Iterable[float | None]
    compile: bool | Iterable[bool]
    metrics: list[str]
    select: str | Iterable[str]
    keep: str
    force: bool


_LIBRARIES = ("torch", "torchvision", "lightning")
# arguments that no config has
_OF_THE_RUN = {"model": ("shape", "bottleneck"), "bottleneck": ("latent",), "dataset": ("order_seed",)}


def several(value: Any) -> bool:
    """Whether a value from Python stands for more than one."""
    return isinstance(value, Iterable) and not isinstance(value, str) and not callable(value)


def is_images(value: Any) -> bool:
    """Whether a value from Python is images: arrays, a dataset of PyTorch, or splits of them."""
    if value is None or isinstance(value, str | Path | type | partial) or hasattr(value, "setup"):
        return False
    from caelab.data import in_memory  # Lightning, which words alone need not wait for

    return in_memory.holds(value)


def _images(value: Any, once: bool) -> dict[str, Any]:
    from caelab.data import in_memory

    if not once:
        raise UserError("dataset: only caelab.run takes images from Python; save them for dataset=array")
    keys = {f"dataset.{key}": one for key, one in in_memory.hold(value).items()}
    return {"dataset": in_memory.OPTION} | keys


def is_instance(group: str, value: Any) -> bool:
    """Whether a value is an object that acts itself: no name, and nothing that a run could build again."""
    plain = value is None or isinstance(value, str | int | float | Path | type | partial)
    return group in GROUPS and not plain and not several(value) and not is_images(value)


def names(values: Mapping[str, Any], once: bool) -> dict[str, Any]:
    """Put the name of an option in the place of each class and object, and the arguments beside it.

    Args:
        values: key -> value, as from Python.
        once: whether they are those of one run, which an object can be part of.

    Raises:
        UserError: a class that no other process could import, arguments that a config cannot hold, or an
            object where it cannot act.
    """
    plain: dict[str, Any] = {}
    for key, value in values.items():
        if key not in GROUPS:
            plain[key] = value
        elif key == "dataset" and is_images(value):
            plain |= _images(value, once)
        elif several(value):
            plain[key] = tuple(_one_of_several(key, one) for one in value)
        elif is_instance(key, value):
            plain[key] = _instance(key, value, once)
        elif isinstance(value, type | partial):
            plain[key], arguments = _option(key, value)
            plain |= {f"{key}.{name}": one for name, one in arguments.items()}
        else:
            plain[key] = value
    return plain


def free(values: Mapping[str, Any]) -> set[str]:
    """Groups in which ``names`` has put a class or an object: a key below may be any of its arguments."""
    return {
        group
        for group in GROUPS
        for one in (values[group] if several(values.get(group)) else [values.get(group)])
        if one in options.classes.get(group, {})
    }


def _one_of_several(group: str, value: Any) -> Any:
    if isinstance(value, partial):
        raise UserError(
            f'{group}: for several classes, give arguments by key, as in {{"{group}.KEY": (1, 2)}}'
        )
    if is_instance(group, value):
        return _instance(group, value, once=False)
    return _option(group, value)[0] if isinstance(value, type) else value


def _instance(group: str, value: Any, once: bool) -> str:
    kind = type(value).__name__
    if group == "optimizer":
        raise UserError(
            f"optimizer: {kind} has its weights already; give the class, as in partial(Adam, lr=1e-3)"
        )
    if not once:
        raise UserError(f"{group}: this {kind} is one object, which serves one run only; give its class")
    _store(group, f"{kind}.object", instances.node(value))
    return f"{kind}.object"


def _option(group: str, value: Any) -> tuple[str, dict[str, Any]]:
    """Name of the option that a class is, with its arguments where it can be, and those that are left."""
    kind, keywords = (value.func, value.keywords) if isinstance(value, partial) else (value, {})
    if not isinstance(kind, type) or (isinstance(value, partial) and value.args):
        raise UserError(f"{group}: {value!r}: give a class, and its arguments by name")
    target = _target(group, kind)
    arguments = {name: _plain(f"{group}.{name}", one) for name, one in keywords.items()}
    node = _node(group, kind, target)
    trust.vouch(target)
    leaves = {name: options.node(group, file) for name, file in options.files(group).items()}
    for whole, left in ((node | arguments, {}), (node, arguments)):
        if same := next((name for name, leaf in leaves.items() if leaf == whole), None):
            return same, left
    _store(group, target, node)
    return target, arguments


def _store(group: str, name: str, node: dict[str, Any]) -> None:
    ConfigStore.instance().store(name, node, group=group, provider="caelab")
    options.classes.setdefault(group, {})[name] = node


def _target(group: str, kind: type) -> str:
    """Dotted name by which any process can import a class; of a notebook's only this one.

    Raises:
        UserError: there is none.
    """
    target = f"{_module(kind)}.{kind.__qualname__}"
    if "<locals>" in target:
        raise UserError(f"{group}: {target}: defined in a function; move it to the top of its module")
    try:
        now = resolve_name(target)
    except (ImportError, AttributeError, ValueError):
        now = None
    if now is not kind:
        raise UserError(f"{group}: {target}: an outdated class; give the one that has this name now")
    return target


def _module(kind: type) -> str:
    """Module of a class: of a library the shortest that has it, and of a script its file's name."""
    module = kind.__module__
    if module == notebook.MODULE:
        return _script(sys.modules[module])
    parts = module.split(".")
    if parts[0] not in _LIBRARIES:
        return module
    names = (".".join(parts[:n]) for n in range(1, len(parts)))
    return next((name for name in names if getattr(sys.modules[name], kind.__name__, None) is kind), module)


def _script(main: Any) -> str:
    """Name by which other processes import what Python was started with; the same module here."""
    if not hasattr(main, "__file__"):
        return notebook.MODULE
    name: str = main.__spec__.name if main.__spec__ else Path(main.__file__).stem
    own = all(part.isidentifier() for part in name.split(".")) and sys.modules.setdefault(name, main) is main
    return name if own else notebook.MODULE


def _node(group: str, kind: type, target: str) -> dict[str, Any]:
    """Config of a class: its own defaults, but of a library's class, where they change with the version."""
    node: dict[str, Any] = {"_target_": target} | ({"_partial_": True} if group in PARTIAL else {})
    known, _ = options.arguments(kind)
    if "data_dir" in known and group == "dataset":
        node["data_dir"] = "${paths.data}"
    for name, parameter in known.items() if target.partition(".")[0] not in _LIBRARIES else ():
        if name not in (*node, *_OF_THE_RUN.get(group, ())) and parameter.default is not parameter.empty:
            with suppress(UserError):  # what no config can hold stays the class's own
                node[name] = _plain(name, parameter.default)
    return node


def _plain(key: str, value: Any) -> Any:
    """Return a value as a config holds it."""
    if isinstance(value, list | tuple):
        return [_plain(key, one) for one in value]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise UserError(f"{key}: {value!r}: a config holds numbers, text and lists; give the object that has it")
