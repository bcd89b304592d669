"""Variants: what a run is but for its seed, as overrides and as a config composed once for all seeds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from caelab.composition import compose
from caelab.config.build import instantiate
from caelab.config.grammar import written

if TYPE_CHECKING:  # it brings torch
    from caelab.data.datamodule import ImageDataModule


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
        cfg = compose.variant(self.overrides).copy()
        cfg.seed = seed
        return compose.identity(cfg)

    @property
    def config(self) -> dict[str, Any]:
        """The config of its run with the default seed, unchecked."""
        config: dict[str, Any] = compose.plain(compose.variant(self.overrides))
        return config

    def data(self) -> "ImageDataModule":
        """Build its dataset, whose arrays are opened later."""
        built: ImageDataModule = instantiate(self.config["dataset"], "dataset")
        return built


def point_text(point: Mapping[str, Any]) -> str:
    """Return the settings of a point as a label shows them."""
    return ", ".join(f"{key}={written(value)}" for key, value in point.items())
