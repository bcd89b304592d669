"""What the config of a run must not hold: unknown keys, missing ones, values of a wrong kind or range."""

import math
from typing import Any

from caelab.config import hints, options, refusals
from caelab.config.grammar import MISSING, written
from caelab.errors import UserError
from caelab.metrics import measures
from caelab.terminal import nearest

KEEP = {"both": ("best", "last"), "best": ("best",), "none": ()}
"""Checkpoints that a finished run keeps, by the value of its ``keep``."""

# of one type only
_TYPED = (
    "seed",
    "force",
    "speed",
    "compile",
    "flip",
    "metrics",
    "select",
    "keep",
    "trainer.max_epochs",
    "trainer.detect_anomaly",
)


def check(config: dict[str, Any], choices: dict[str, Any]) -> None:
    """Refuse what the config of a run must not hold, before anything is built from it.

    Args:
        config: of the run, plain.
        choices: option chosen in each group.

    Raises:
        UserError: a top-level key is unknown, a required one is missing, a value has another type than its
            default, or is out of range.
    """
    top, groups = options.top(), options.groups()
    for key in config:
        if key not in (*groups, *top):
            raise UserError(hints.unknown(key))
    for key, value in options.flat(config).items():
        for one in value if isinstance(value, list) else [value]:
            if one == MISSING:
                raise UserError(hints.required(key, choices))
            if isinstance(one, float) and not math.isfinite(one):  # which no record can hold
                raise UserError(f"{key}={one}: must be a finite number")
    for group in groups:
        leaf = options.option(group, str(choices.get(group)))
        _check_kinds(options.flat(config.get(group, {}), f"{group}."), leaf, leaf.get(f"{group}._target_"))
    _check_values(config, top)
    _check_values(options.flat(config["trainer"], "trainer."), options.options("trainer")["train"])
    _check_ranges(config)
    _check_measures(config["metrics"], config["select"])
    refusals.check(config["trainer"])


def _check_values(values: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Refuse a value of another kind than the default, and null where the default is none."""
    for key, default in defaults.items():
        if default is not None and key in values and values[key] is None:
            raise UserError(f"{key}=null: a value is needed, as in {key}={written(default)}")
    _check_kinds(values, {key: default for key, default in defaults.items() if key in _TYPED})


def _kind(value: Any) -> str:
    for kind, types in {"true or false": bool, "a whole number": int, "a number": float}.items():
        if isinstance(value, types):
            return kind
    return "a list" if isinstance(value, list) else "text"


def _check_kinds(values: dict[str, Any], defaults: dict[str, Any], target: Any = None) -> None:
    for key, default in defaults.items():
        value = values.get(key)
        if value is None or default is None or isinstance(default, dict):
            continue
        pairs = [(value, default)]
        if isinstance(default, list) and isinstance(value, list):
            pairs = [(item, default[0]) for item in value if default]
        for given, example in pairs:
            got, want = _kind(given), _kind(example)
            if got == want or (got, want) == ("a whole number", "a number") or default == MISSING:
                continue
            if got == "a list" and hints.takes_list(key, target):
                continue
            wrong, right = (f"{key}={written(one)}" for one in (value, default))
            raise UserError(f"{wrong}: expected {want}, as in {right}")


def _check_ranges(values: dict[str, Any]) -> None:
    epochs, seed = values["trainer"]["max_epochs"], values["seed"]
    if epochs < 1:
        raise UserError(f"trainer.max_epochs={epochs}: must be at least 1")
    ema = values["ema"]
    if ema is not None and not (isinstance(ema, float) and 0 < ema < 1):
        raise UserError(f"ema={ema}: must be between 0 and 1, such as ema=0.999, or null")
    if values["keep"] not in [*KEEP]:
        raise UserError(f"keep={values['keep']}: not a choice{nearest(str(values['keep']), list(KEEP))}")
    if not 0 <= seed < 2**32:
        raise UserError(f"seed={seed}: must be within 0..{2**32 - 1}")


def _check_measures(names: Any, select: Any) -> None:
    try:
        known = measures.selectable(names)
    except ValueError as error:
        raise UserError(f"metrics={written(names)}: {error}") from None
    if select in [*known]:  # a mapping has no hash
        return
    if select in [*measures.selectable([*measures.measures()])]:
        raise UserError(f"select={select}: it is not measured; give metrics=[{select.removeprefix('val/')}]")
    raise UserError(f"select={select}: no checkpoint can be chosen by that{nearest(str(select), [*known])}")
