"""Variants: what a run is but for its seed, as overrides and as a config composed once for all seeds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from caelab import compose, results
from caelab.words import written

if TYPE_CHECKING:  # it brings torch
    from caelab.data.datamodule import ImageDataModule


@cache
def _options(overrides: tuple[str, ...]) -> DictConfig:
    return compose.config([*overrides, "logger=none"])[0]


@cache
def _composed(overrides: tuple[str, ...]) -> DictConfig:
    """Compose a variant once for all of its seeds; what it logs to is no part of what it is.

    Composing takes Hydra a tenth of a second, so variants of the same options share that, and only get their
    values here.
    """
    parsed = OverridesParser.create().parse_overrides([o for o in overrides if not o.startswith("logger")])
    values = [o for o in parsed if "." in o.key_or_group and not (o.is_add() or o.is_delete())]
    cfg = _options(tuple(str(o.input_line) for o in parsed if o not in values)).copy()
    OmegaConf.set_struct(cfg, True)
    for override in values:
        try:
            OmegaConf.update(cfg, override.key_or_group, override.value())
        except OmegaConfBaseException:
            return compose.config([*overrides, "logger=none"])[0]  # which says what is wrong
    OmegaConf.set_struct(cfg, False)
    return cfg


@dataclass(frozen=True)
class Variant:
    """One row of a study on one dataset: everything but the seed.

    Attributes:
        label: its name, unique in the study and dataset.
        dataset: option of the dataset group.
        overrides: all of its overrides but the seed, in the order in which they hold.
        settings: the point of the row's grid: ``{"model.latent": 64}``.
        floor: whether it is fitted without training, so that a seed changes nothing.
    """

    label: str
    dataset: str
    overrides: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    floor: bool = False

    def at(self, seed: int) -> tuple[str, ...]:
        """Overrides of its run with this seed."""
        return (*self.overrides, f"seed={seed}")

    def identity(self, seed: int) -> str:
        """Fingerprint of its run with this seed."""
        cfg = self.config.copy()
        cfg.seed = seed
        return results.fingerprint(cfg)

    @property
    def config(self) -> DictConfig:
        """The job config of its run with the default seed, unchecked."""
        return _composed(self.overrides)

    def data(self) -> "ImageDataModule":
        """Build its dataset, whose arrays are opened later."""
        built: ImageDataModule = compose.build(compose.plain(self.config.dataset), "dataset")
        return built


def point_text(point: Mapping[str, Any]) -> str:
    """Return the settings of a point as a label shows them."""
    return ", ".join(f"{key}={written(value)}" for key, value in point.items())
