"""Private names of other packages, in one place: a new version of theirs may lack them.

Checked on Hydra 1.3.8, OmegaConf 2.3.1, hydra-ray-launcher 1.2.2, Optuna 5.0.0 and torch 2.14.1. Each is
imported when it is asked for, since what composes nothing does without Hydra, and most runs without Optuna.
"""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna
    from hydra._internal.callbacks import Callbacks as Callbacks
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper as BasicSweeper
    from hydra._internal.hydra import Hydra as Hydra
    from hydra._internal.utils import get_args_parser as get_args_parser
    from hydra_plugins.hydra_ray_launcher._launcher_util import start_ray as start_ray
    from omegaconf import DictConfig

_HOMES: Mapping[str, str] = MappingProxyType(
    {
        "Callbacks": "hydra._internal.callbacks",
        "BasicSweeper": "hydra._internal.core_plugins.basic_sweeper",
        "Hydra": "hydra._internal.hydra",
        "get_args_parser": "hydra._internal.utils",
        "start_ray": "hydra_plugins.hydra_ray_launcher._launcher_util",
    }
)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(name)
    return getattr(import_module(_HOMES[name]), name)


def node(cfg: "DictConfig", key: Any) -> Any:
    """Return what stands at a key of a config, with its interpolations as they are."""
    return cfg._get_node(key)


def trial(study: "optuna.Study", frozen: "optuna.trial.FrozenTrial") -> "optuna.Trial":
    """Return a trial that another process has started."""
    import optuna

    return optuna.Trial(study, frozen._trial_id)


def suggest(trial: "optuna.Trial", key: str, distribution: "optuna.distributions.BaseDistribution") -> None:
    """Draw a value of a trial from a distribution; what was drawn before stays."""
    trial._suggest(key, distribution)


def bfloat16_on_cpu() -> bool:
    """Whether this machine's CPU multiplies bfloat16 in hardware."""
    from torch import cpu

    return bool(cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported())
