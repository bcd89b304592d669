"""From YAML and overrides to the checked, plain config of a run, and how a mistake in them is told."""

import json
import os
import re
import warnings
from contextlib import nullcontext, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import hydra
import platformdirs
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import caelab.config
from caelab import compat, durable, texts
from caelab.composition import words
from caelab.config import grammar, machine, places, source
from caelab.config.check import check
from caelab.config.fingerprint import IRRELEVANT, acting, fingerprint
from caelab.config.job import Job
from caelab.errors import UserError
from caelab.metrics import measures
from caelab.runs import tracking

# A launcher's file in conf/ holds what differs from its plugin's defaults, which Hydra 1.3 adds by name.
warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore", UserWarning)

_OF_HYDRA = re.compile(r"\$\{(hydra:[^}]*)\}")


def run_dir(base: str | None = None, *, _root_: DictConfig) -> str:
    """Directory of a run: the same command finds its own run again, and different runs never collide.

    Args:
        base: where given, the path is relative to it (Hydra joins the two in a sweep).
    """
    choice = _root_.hydra.runtime.choices
    name = f"{choice.model}-{choice.loss}-{choice.optimizer}-s{_root_.seed}-{identity(_root_)[:10]}"
    path = Path("runs", texts.one_name(str(choice.dataset)), texts.one_name(name))
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


def variant_of_job() -> str:
    """Name what the job at hand compares: see ``tracking.variant``."""
    settings = HydraConfig.get()
    return tracking.variant(settings.overrides.task, str(settings.runtime.choices["model"]))


def mode(monitor: str) -> str:
    """What Lightning calls whether more of a figure is better: ``max`` or ``min``.

    Raises:
        UserError: that is not known of it.
    """
    try:
        return "max" if measures.higher(monitor) else "min"
    except ValueError as error:
        raise UserError(f"callbacks.early_stopping.monitor: {error}, or give its mode, min or max") from None


def register_resolvers() -> None:
    """Make the resolvers that conf/ uses, such as ``${run_dir:}``, known; may be called again."""
    OmegaConf.register_new_resolver("data_folder", data_folder, replace=True)
    OmegaConf.register_new_resolver("run_dir", run_dir, replace=True)
    OmegaConf.register_new_resolver("mode", mode, replace=True)
    OmegaConf.register_new_resolver("variant", variant_of_job, replace=True)
    OmegaConf.register_new_resolver("at_once", at_once, replace=True)


def job(cfg: DictConfig) -> Job:
    """Check what Hydra has composed for a run, and resolve it; Hydra's settings are those of the process.

    Raises:
        UserError: what ``check`` and ``identity`` refuse.
    """
    settings = HydraConfig.get()
    choices, overrides = dict(settings.runtime.choices), list(settings.overrides.task)
    config = plain(cfg)
    check(config, choices)
    return Job(
        config,
        choices,
        overrides,
        identity(cfg),
        Path(settings.runtime.output_dir),
        Path(settings.runtime.cwd, config["paths"]["output"]),
        places.of_dataset(config["dataset"], _here()),
        _origin(config),
        partial(_save, cfg, settings),
        _sources(config),
    )


def _save(cfg: DictConfig, settings: Any, folder: Path) -> None:
    durable.write(folder / "config.yaml", OmegaConf.to_yaml(cfg))
    durable.write(folder / "hydra.yaml", OmegaConf.to_yaml(OmegaConf.create({"hydra": settings})))
    durable.write(folder / "overrides.yaml", OmegaConf.to_yaml(settings.overrides.task))


def _here() -> Path:
    """Working directory of the command, which Hydra may have left since."""
    settings = HydraConfig.get() if HydraConfig.initialized() else None
    return Path(settings.runtime.cwd if settings is not None and settings.job.chdir else os.getcwd())


def identity(cfg: DictConfig) -> str:
    """Fingerprint of a composed config, whose folders of images stand for what lies in them.

    Raises:
        UserError: a folder of images, or the run that it starts from, cannot be read.
    """
    nodes = {key: _apart_from_hydra(compat.node(cfg, key)) for key in cfg if key not in IRRELEVANT}
    named = plain(OmegaConf.create(nodes | {"paths": {key: str(key) for key in cfg.paths}}))
    dataset = {key: value for key, value in named["dataset"].items() if f"dataset.{key}" not in IRRELEVANT}
    named["dataset"] = places.by_content(dataset, plain(cfg.dataset), plain(cfg.paths), _here())
    if origin := _origin(named):
        named["from"] = origin["weights"]
    return fingerprint(named, _sources(named))


def _apart_from_hydra(node: Any) -> Any:
    """Leave what only Hydra knows of a job, such as its directory, unread: a run is the same anywhere."""
    if not OmegaConf.is_config(node):
        return node
    text = json.dumps(OmegaConf.to_container(node), default=str)
    return OmegaConf.create(json.loads(_OF_HYDRA.sub(r"\1", text))) if _OF_HYDRA.search(text) else node


def _sources(config: dict[str, Any]) -> dict[str, str]:
    """Digest of each class that is not the lab's, among those that can change a figure."""
    return source.digests({key: node for key, node in acting(config).items() if key not in IRRELEVANT})


def _origin(config: dict[str, Any]) -> dict[str, str] | None:
    """What a record says of the run that a config starts from."""
    if config.get("from") is None:
        return None
    from caelab.inference.origin import describe  # which torch reads

    return describe(config["from"])


def identity_of(file: Path) -> str:
    """Fingerprint of the config that a run has saved; a damaged file raises an error of any kind."""
    cfg = OmegaConf.load(file)
    if not isinstance(cfg, DictConfig):
        raise UserError("no mapping")
    return identity(cfg)


def config(overrides: list[str]) -> tuple[DictConfig, dict[str, Any]]:
    """Compose a job config outside a job of Hydra's.

    Returns:
        The unchecked config, and the option chosen in each group.
    """
    register_resolvers()
    overrides = words.read(overrides)
    started = GlobalHydra.instance().is_initialized()  # by the command line of a sweep
    with nullcontext() if started else hydra.initialize_config_dir(caelab.config.CONF, version_base="1.3"):
        cfg = hydra.compose("train", overrides, return_hydra_config=True)
    choices = dict(cfg.hydra.runtime.choices)
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    return cfg, choices


@cache
def variant(overrides: tuple[str, ...]) -> DictConfig:
    """Compose the job config of a study's variant once for all of its seeds, without loggers.

    Composing takes Hydra a tenth of a second, so variants of the same options share that, and only get their
    values here.
    """
    parsed = grammar.parse(o for o in overrides if not o.startswith("logger"))
    values = [o for o in parsed if "." in o.key_or_group and not (o.is_add() or o.is_delete())]
    cfg = _options(tuple(str(o.input_line) for o in parsed if o not in values)).copy()
    OmegaConf.set_struct(cfg, True)
    for override in values:
        try:
            OmegaConf.update(cfg, override.key_or_group, override.value())
        except OmegaConfBaseException:
            return config([*overrides, "logger=none"])[0]  # which says what is wrong
    OmegaConf.set_struct(cfg, False)
    return _apart_from_hydra(cfg)  # type: ignore[no-any-return]


@cache
def _options(overrides: tuple[str, ...]) -> DictConfig:
    return config([*overrides, "logger=none"])[0]


def plain(cfg: DictConfig | ListConfig) -> Any:
    """Resolve a config to dicts, lists and scalars."""
    return OmegaConf.to_container(cfg, resolve=True)


def without_loggers(cfg: DictConfig) -> dict[str, Any]:
    """Resolve a job's config but for its loggers, which ask for Hydra's settings; empty if it is invalid."""
    keys = [str(key) for key in cfg if key != "logger"]
    with suppress(OmegaConfBaseException):  # the job has said what is wrong
        config: dict[str, Any] = plain(OmegaConf.masked_copy(cfg, keys))
        return config
    return {}
