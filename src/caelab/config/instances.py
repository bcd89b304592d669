"""Objects that Python gives a run in place of an option: no other process has them, so they act once."""

import secrets
from collections.abc import Mapping
from typing import Any
from weakref import WeakSet

from caelab.errors import UserError

TARGET = "caelab.config.instances.take"
"""Stands in a config for the class of an object."""
MEND = "give caelab.run its class instead"

_waiting: dict[str, Any] = {}
_trained: WeakSet[Any] = WeakSet()


def node(value: Any) -> dict[str, str]:
    """Return what stands for an object in the config of a run, so that no two runs have the same."""
    key = secrets.token_hex(8)
    _waiting[key] = value
    return {"_target_": TARGET, "kind": type(value).__name__, "key": key}


def take(kind: str, key: str, **values: Any) -> Any:
    """Return the object that a node stands for.

    Args:
        kind: name of its class.
        key: of this one use.
        values: what the run would give the class: ``shape`` (C, H, W) to a network, ``order_seed`` to data.

    Raises:
        UserError: another process had it, it is trained already, or its images have another shape.
    """
    one = _waiting.pop(key, None)
    if one is None:
        raise UserError(f"{kind}: an object of a process that has ended; {MEND}")
    if "order_seed" in values:
        one.order_seed = values["order_seed"]
    if "shape" in values:
        shape = tuple(values["shape"])
        if tuple(getattr(one, "shape", shape)) != shape:
            raise UserError(
                f"model: this {kind} is for images of {tuple(one.shape)}, the dataset's are {shape}"
            )
        if one in _trained:
            raise UserError(f"model: this {kind} is trained already; make a new one, or {MEND}")
        _trained.add(one)
    return one


def groups(config: Mapping[str, Any]) -> list[str]:
    """Groups of a run's config in which an object stands."""
    return [key for key, one in config.items() if isinstance(one, Mapping) and one.get("_target_") == TARGET]
