"""The object that a node of a config describes, and what is wrong where it cannot be built."""

from collections.abc import Mapping
from typing import Any

import hydra.utils
from hydra.errors import InstantiationException

from caelab.config import options
from caelab.errors import UserError
from caelab.terminal import nearest, one_line

PARTIAL = {"optimizer": "the weights", "bottleneck": "the latent"}
"""Group whose class is called later -> what it is given then."""

_EXTRAS = {"vector_quantize_pytorch": "vq"}  # module -> extra that brings it
# What a run asks of an object: the names that it needs, and how it gets them.
_NEEDED = {
    "model": (("encode", "decode"), "give it encode(x) -> Code and decode(code) -> x_hat"),
    "dataset": (
        ("prepare_data", "setup", "splits", "shape"),
        "derive it from caelab.data.datamodule.ImageDataModule",
    ),
}


def instantiate(node: Any, group: str, **values: Any) -> Any:
    """Build the object that a config node describes.

    Args:
        node: mapping with ``_target_``.
        group: its name, for messages.
        values: of arguments that the run supplies; a network need not take them.

    Raises:
        UserError: a target that cannot be imported, a key that it does not take, or a value that it refuses
            (its ValueError).
    """
    if not isinstance(node, Mapping) or not isinstance(node.get("_target_"), str):
        raise UserError(f"{group}: _target_ is missing; give the class, as in _target_: package.Class")
    try:
        target = hydra.utils.get_object(node["_target_"])
    except Exception as error:
        missing = error if isinstance(error, ModuleNotFoundError) else error.__cause__
        if extra := _EXTRAS.get(getattr(missing, "name", None) or ""):
            line = f"{group}: {node['_target_']} needs an extra: pip install 'caelab[{extra}]'"
            raise UserError(line) from None
        raise UserError(f"{group}._target_={node['_target_']}: {one_line(error)}") from error
    if group in PARTIAL and not node.get("_partial_"):
        raise UserError(f"{group}: its config needs _partial_: true, since the run gives it {PARTIAL[group]}")
    if group == "model":
        known, others = options.arguments(target)
        values = {name: value for name, value in values.items() if others or name in known}
    _check_arguments(node, target, group, values)
    try:
        built = hydra.utils.instantiate(node, **values, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, (ValueError, ImportError)):
            raise UserError(complaint(group, node, cause)) from cause
        raise (cause or error) from None
    needed, mend = _NEEDED.get(group, ((), ""))
    for name in needed:
        kind = type(built)
        if not hasattr(kind, name) and not hasattr(built, name):  # a property may take long
            raise UserError(f"{group}: {kind.__module__}.{kind.__qualname__} has no '{name}'; {mend}")
    return built


def complaint(group: str, node: Mapping[str, Any], error: Exception) -> str:
    """One line of what an object says of its arguments: by the key, where it begins with one's name."""
    line = one_line(error)
    if line.startswith("bottleneck"):  # of the one that a network was given
        return line
    return f"{group}.{line}" if line.partition(" ")[0] in node else f"{group}: {line}"


def _check_arguments(node: Any, target: Any, group: str, values: Mapping[str, Any]) -> None:
    """Refuse what the target does not take, null where it takes none, and what it would miss."""
    known, others = options.arguments(target)
    names = [str(key) for key in node if not str(key).startswith("_")]
    for name in values if not others else ():
        if name not in known:
            mend = _NEEDED.get(group, ((), "derive it from the lab's class"))[1]
            raise UserError(f"{group}: {node['_target_']} takes no '{name}' from the run; {mend}")
    for name in names if not others else ():
        if name == "bottleneck" and name not in known:
            raise UserError(
                f"bottleneck: {node['_target_']} takes none; use bottleneck=none, or another model"
            )
        if name not in known:
            raise UserError(
                f"{group}.{name}: {node['_target_']} takes no '{name}'{nearest(name, list(known))}"
            )
    for name in names:
        if node[name] is None and name in known and not options.takes_none(known[name]):
            raise UserError(f"{group}.{name}=null: {node['_target_']} needs a value")
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in (*names, *values) and not _completed(node):
            raise UserError(f"{group}.{name} is required: {node['_target_']} has no default for it")


def _completed(node: Any) -> bool:
    """Whether arguments come from elsewhere: by position, or with a later call."""
    return bool(node.get("_partial_") or node.get("_args_"))
