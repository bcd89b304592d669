"""From YAML and overrides to checked objects, and how a mistake in them is told."""

import math
import os
import re
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import hydra
import platformdirs
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import (
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from caelab import hints, machine, mistakes, options, places, refusals, results, words
from caelab.errors import UserError
from caelab.mistakes import nearest
from caelab.screen import one_line
from caelab.words import written

# of one type only
_TYPED = ("seed", "force", "speed", "compile", "flip", "trainer.max_epochs", "trainer.detect_anomaly")

# What a run asks of an object: the class that has it, and the names that tell.
_NEEDED = {
    "model": ("caelab.models.autoencoder.Autoencoder", ("encode", "decode", "initialise", "latent")),
    "dataset": ("caelab.data.datamodule.ImageDataModule", ("prepare_data", "setup", "splits", "shape")),
}

# A launcher's file in conf/ holds what differs from its plugin's defaults, which Hydra 1.3 adds by name.
warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore", UserWarning)


def run_dir(base: str | None = None, *, _root_: DictConfig) -> str:
    """Directory of a run: the same command finds its own run again, and different runs never collide.

    Args:
        base: where given, the path is relative to it (Hydra joins the two in a sweep).
    """
    choice = _root_.hydra.runtime.choices
    name = (
        f"{choice.model}-{choice.loss}-{choice.optimizer}-s{_root_.seed}-{results.fingerprint(_root_)[:10]}"
    )
    path = Path("runs", places.one_name(str(choice.dataset)), places.one_name(name))
    return str(path if base is not None else Path(_root_.paths.output) / path)


def data_folder() -> str:
    """Where data lie unless ``paths.data`` says it: ``CAELAB_DATA``, or ``caelab`` in the user's cache.

    Raises:
        UserError: the user has no home directory, so no cache.
    """
    if own := os.environ.get("CAELAB_DATA"):
        return os.path.abspath(words.expanded(own))
    try:
        return str(platformdirs.user_cache_path("caelab").expanduser())
    except RuntimeError:
        raise UserError(
            "there is no home directory for data; give paths.data=FOLDER, or set CAELAB_DATA"
        ) from None


def at_once(*, _root_: DictConfig) -> int:
    """How many runs of a parallel sweep this machine has room for."""
    return machine.at_once(str(_root_.trainer.accelerator))


def variant() -> str:
    """Name what a run compares: its overrides without dataset, seed, trainer and where things lie."""
    settings = HydraConfig.get()
    shared = ("dataset", "seed", "trainer", "paths", "logger", "hydra", "force")
    kept = [o for o in settings.overrides.task if o.lstrip("+~").split("=")[0].split(".")[0] not in shared]
    return " ".join(kept) or str(settings.runtime.choices["model"])


def register_resolvers() -> None:
    """Make the resolvers that conf/ uses, such as ``${run_dir:}``, known; may be called again."""
    OmegaConf.register_new_resolver("data_folder", data_folder, replace=True)
    OmegaConf.register_new_resolver("run_dir", run_dir, replace=True)
    OmegaConf.register_new_resolver("variant", variant, replace=True)
    OmegaConf.register_new_resolver("at_once", at_once, replace=True)


def check(cfg: DictConfig, choices: dict[str, Any]) -> None:
    """Refuse what a composed config must not hold, before anything is built from it.

    Args:
        cfg: the composed job config.
        choices: option chosen in each group.

    Raises:
        UserError: a required key is missing, a top-level key is unknown, a value has another type than its
            default, or is out of range.
    """
    top, groups = options.top(), options.groups()
    for key in cfg:
        if key not in (*groups, *top):
            raise UserError(hints.unknown(str(key)))
    try:
        plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} is required: give {error.full_key}=VALUE") from None
    assert isinstance(plain, dict)
    values = {str(key): value for key, value in plain.items()}
    _check_finite(options.flat(values))
    for group in groups:
        leaf = options.options(group).get(str(choices.get(group)), {})
        _check_kinds(options.flat(values.get(group, {}), f"{group}."), leaf)
    _check_values(values, top)
    _check_values(options.flat(values["trainer"], "trainer."), options.options("trainer")["train"])
    _check_ranges(values)
    refusals.check(values["trainer"])


def _check_finite(values: dict[str, Any]) -> None:
    """Refuse infinity and NaN, which no record can hold."""
    for key, value in values.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, float) and not math.isfinite(one):
                raise UserError(f"{key}={one}: must be a finite number")


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


def _check_kinds(values: dict[str, Any], defaults: dict[str, Any]) -> None:
    for key, default in defaults.items():
        value = values.get(key)
        if value is None or default is None or isinstance(default, dict):
            continue
        pairs = [(value, default)]
        if isinstance(default, list) and isinstance(value, list):
            pairs = [(item, default[0]) for item in value if default]
        for given, example in pairs:
            got, want = _kind(given), _kind(example)
            if got == want or (got, want) == ("a whole number", "a number") or default == "???":
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
    if not 0 <= seed < 2**32:
        raise UserError(f"seed={seed}: must be within 0..{2**32 - 1}")


def build(node: Any, group: str, **given: Any) -> Any:
    """Build the object that a config node describes.

    Args:
        node: mapping with ``_target_``.
        group: its name, for messages.
        given: arguments that the code supplies.

    Raises:
        UserError: a target that cannot be imported, a key that it does not take, or a value that it refuses
            (its ValueError).
    """
    if not isinstance(node, Mapping) or not isinstance(node.get("_target_"), str):
        raise UserError(f"{group}: _target_ is missing, the class to build, as in _target_: package.Class")
    try:
        target = get_object(node["_target_"])
    except Exception as error:
        raise UserError(f"{group}._target_={node['_target_']}: {one_line(error)}") from error
    if group == "optimizer" and not node.get("_partial_"):
        raise UserError("optimizer: its config needs _partial_: true, since the run gives it the weights")
    _check_arguments(node, target, group, given)
    try:
        made = instantiate(node, **given, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, (ValueError, ImportError)):
            raise UserError(f"{group}: {one_line(cause)}") from cause
        raise (cause or error) from None
    base, needed = _NEEDED.get(group, ("", ()))
    for name in needed:
        if not hasattr(made, name):
            raise UserError(f"{group}: {node['_target_']} has no '{name}'; derive it from {base}")
    return made


def _check_arguments(node: Any, target: Any, group: str, given: Mapping[str, Any]) -> None:
    """Refuse what the target does not take, null where it takes none, and what it would miss."""
    known, others = options.arguments(target)
    names = [str(key) for key in node if not str(key).startswith("_")]
    for name in given if not others else ():
        if name not in known:
            base = _NEEDED.get(group, ("the lab's class", ()))[0]
            raise UserError(
                f"{group}: {node['_target_']} takes no '{name}' from the run; derive it from {base}"
            )
    for name in names if not others else ():
        if name not in known:
            raise UserError(
                f"{group}.{name}: {node['_target_']} takes no '{name}'{nearest(name, list(known))}"
            )
    for name in names:
        if node[name] is None and name in known and not options.takes_none(known[name]):
            raise UserError(f"{group}.{name}=null: {node['_target_']} needs a value")
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in (*names, *given) and not _settled(node):
            raise UserError(f"{group}.{name} is required: {node['_target_']} has no default for it")


def _settled(node: Any) -> bool:
    """Whether arguments come from elsewhere: by position, or with a later call."""
    return bool(node.get("_partial_") or node.get("_args_"))


def config(overrides: list[str]) -> tuple[DictConfig, dict[str, Any]]:
    """Compose a job config outside a job of Hydra's.

    Returns:
        The unchecked config, and the option chosen in each group.
    """
    register_resolvers()
    overrides = words.read(overrides)
    started = GlobalHydra.instance().is_initialized()  # by the command line of a sweep
    with nullcontext() if started else hydra.initialize_config_dir(options.CONF, version_base="1.3"):
        cfg = hydra.compose("train", overrides, return_hydra_config=True)
    choices = dict(cfg.hydra.runtime.choices)
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    return cfg, choices


def explain(error: BaseException) -> str | None:
    """One line for an error that the user made, Hydra's among them; None for a bug."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, option = error.missing_cfg_file.rpartition("/")
        return f"{group}={option}: there is no such {group}{nearest(option, list(map(str, error.options)))}"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: not of the form KEY=VALUE ({one_line(error)}); quotes may be missing"
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        if several := re.search(r"Ambiguous value for argument '([^']+)'", str(error)):
            return f"{several[1]}: several values are a sweep, which takes -m; text with a comma takes quotes"
        if key := re.search(r"[Cc]ould not override '([^']+)'", str(error)):
            return (hints.elsewhere if key[1] in options.every_key() else hints.unknown)(key[1])
        return one_line(error).removeprefix("UserError raised while resolving interpolation: ")
    return mistakes.explain(error)


def plain(cfg: DictConfig | ListConfig) -> Any:
    """Resolve a config to dicts, lists and scalars."""
    return OmegaConf.to_container(cfg, resolve=True)
