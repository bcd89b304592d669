"""From YAML and overrides to checked objects, and how a mistake in them is told."""

import difflib
import inspect
import re
import warnings
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

from caelab import machine, mistakes, refusals, results, trust
from caelab.errors import UserError
from caelab.mistakes import NEAR, nearest
from caelab.screen import one_line

CONF = trust.CONF

_PLAIN = re.compile(r"[\w./+:@-]+")  # text that an override takes as it is

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
    path = Path("runs", str(choice.dataset), name)
    return str(path if base is not None else Path(_root_.paths.output) / path)


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
    OmegaConf.register_new_resolver(
        "user_cache", lambda: str(platformdirs.user_cache_path("caelab")), replace=True
    )
    OmegaConf.register_new_resolver("run_dir", run_dir, replace=True)
    OmegaConf.register_new_resolver("variant", variant, replace=True)
    OmegaConf.register_new_resolver("at_once", at_once, replace=True)


def _flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in node.items():
        flat[prefix + str(key)] = value
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
    return flat


def _read_yaml(path: Path) -> dict[str, Any]:
    plain = OmegaConf.to_container(OmegaConf.load(path))
    return {str(k): v for k, v in plain.items()} if isinstance(plain, dict) else {}


def _known_keys() -> list[str]:
    """Every key that some choice of options offers, as the user types it."""
    top = _read_yaml(Path(CONF, "train.yaml"))
    keys = set(_flatten({k: v for k, v in top.items() if k not in ("defaults", "hydra")}))
    for leaf in Path(CONF).glob("*/*.yaml"):
        keys |= {leaf.parent.name, *_flatten(_read_yaml(leaf), leaf.parent.name + ".")}
    for leaf in Path(CONF).glob("hydra/launcher/*.yaml"):
        keys |= set(_flatten(_read_yaml(leaf), "hydra.launcher."))
    return sorted(key for key in keys if "_target_" not in key)


def _hint(key: str) -> str:
    keys = _known_keys()
    if difflib.get_close_matches(key, keys, n=1, cutoff=NEAR):
        return nearest(key, keys)
    parent = key.rpartition(".")[0]
    beside = [other for other in keys if other.rpartition(".")[0] == parent]
    more = "; any other argument of Lightning's Trainer takes a + in front" if parent == "trainer" else ""
    return nearest(key, beside or [other for other in keys if "." not in other]) + more


def check(cfg: DictConfig, choices: dict[str, Any]) -> None:
    """Refuse what a composed config must not hold, before anything is built from it.

    Args:
        cfg: the composed job config.
        choices: option chosen in each group.

    Raises:
        UserError: a required key is missing, a top-level key is unknown, a value has another type than its
            default, or is out of range.
    """
    top = _read_yaml(Path(CONF, "train.yaml"))
    groups = sorted(path.name for path in Path(CONF).iterdir() if path.is_dir())
    known = [*groups, *(key for key in top if key not in ("defaults", "hydra"))]
    for key in cfg:
        if key not in known:
            raise UserError(f"{key!s}: there is no such key{nearest(str(key), known)}")
    try:
        plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} is required: give {error.full_key}=VALUE") from None
    assert isinstance(plain, dict)
    values = {str(key): value for key, value in plain.items()}
    for group in groups:
        leaf = Path(CONF, group, f"{choices.get(group)}.yaml")
        if leaf.is_file():
            _check_kinds(_flatten(values[group], group + "."), _flatten(_read_yaml(leaf), group + "."))
    _check_kinds(values, {key: top[key] for key in ("seed", "force", "speed", "compile", "flip")})
    _check_kinds(values["trainer"], {"max_epochs": 1}, "trainer.")
    _check_ranges(values)
    refusals.check(values["trainer"])


def has(group: str, option: str) -> bool:
    """Whether conf/ has that option of a group."""
    return option in {leaf.stem for leaf in Path(CONF, group).glob("*.yaml")}


def written(value: Any) -> str:
    """Return a value as it is written in an override, with quotes where the grammar asks for them."""
    if isinstance(value, list | tuple):
        return "[" + ",".join(written(one) for one in value) + "]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    text = str(value)
    return text if _PLAIN.fullmatch(text) else "'" + text.replace("'", r"\'") + "'"


def _kind(value: Any) -> str:
    for kind, types in {"true or false": bool, "a whole number": int, "a number": float}.items():
        if isinstance(value, types):
            return kind
    return "a list" if isinstance(value, list) else "text"


def _check_kinds(values: dict[str, Any], defaults: dict[str, Any], prefix: str = "") -> None:
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
            wrong, right = (f"{prefix}{key}={written(one)}" for one in (value, default))
            raise UserError(f"{wrong}: expected {want}, as in {right}")


def _check_ranges(values: dict[str, Any]) -> None:
    epochs, seed = values["trainer"]["max_epochs"], values["seed"]
    if epochs is None or epochs < 1:
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
    try:
        target = get_object(node["_target_"])
    except Exception as error:
        raise UserError(f"{group}._target_={node['_target_']}: {one_line(error)}") from error
    _check_arguments(node, target, group)
    try:
        return instantiate(node, **given, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, (ValueError, ImportError)):
            raise UserError(f"{group}: {one_line(cause)}") from cause
        raise (cause or error) from None


def _check_arguments(node: Any, target: Any, group: str) -> None:
    known: list[str] = []
    for function in inspect.getmro(target) if inspect.isclass(target) else [target]:
        parameters = inspect.signature(function).parameters.values()
        known += [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    for key in node:
        if not str(key).startswith("_") and key not in known:
            raise UserError(f"{group}.{key}: {node['_target_']} takes no '{key}'{nearest(str(key), known)}")


def config(overrides: list[str]) -> tuple[DictConfig, dict[str, Any]]:
    """Compose a job config outside a job of Hydra's.

    Returns:
        The unchecked config, and the option chosen in each group.
    """
    register_resolvers()
    started = GlobalHydra.instance().is_initialized()  # by the command line of a sweep
    with nullcontext() if started else hydra.initialize_config_dir(CONF, version_base="1.3"):
        cfg = hydra.compose("train", overrides, return_hydra_config=True)
    choices = dict(cfg.hydra.runtime.choices)
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    only_the_run(cfg)
    return cfg, choices


def only_the_run(cfg: DictConfig) -> None:
    """Drop the keys of a study, which are no part of its runs' configs."""
    OmegaConf.set_struct(cfg, False)
    for key in results.OF_A_STUDY:
        cfg.pop(key, None)


def explain(error: BaseException) -> str | None:
    """One line for an error that the user made, Hydra's among them; None for a bug."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, option = error.missing_cfg_file.rpartition("/")
        options = [str(o) for o in error.options]
        return f"{group}={option}: there is no such {group}{nearest(option, options)}"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: not of the form KEY=VALUE ({one_line(error)}); quotes may be missing"
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        key = re.search(r"[Cc]ould not override '([^']+)'", str(error))
        if key and key[1] in _known_keys():
            group = "hydra/launcher" if key[1].startswith("hydra.") else key[1].partition(".")[0]
            return f"{key[1]}: the chosen {group} has no such key, only others have; + in front adds it"
        if key:
            return f"{key[1]}: there is no such key{_hint(key[1])}"
        return one_line(error)
    return mistakes.explain(error)


def plain(cfg: DictConfig | ListConfig) -> Any:
    """Resolve a config to dicts, lists and scalars."""
    return OmegaConf.to_container(cfg, resolve=True)
