"""All that is measured of a model on some images, each thing when it is first asked for."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from caelab.analysis.look import codes, reconstructions, traversals
from caelab.analysis.look.codes import Directions, Floats
from caelab.models.autoencoder import Autoencoder, Code
from caelab.models.contract import require_contract

Rows = NDArray[np.int64]

BASES = 8
"""Images from which the effect of a direction is measured: the first ones."""


@dataclass(frozen=True)
class Portrait:
    """A trained network and the images that it is looked at with.

    Attributes:
        net: in eval mode, on the CPU.
        images: (N, C, H, W) of a split, N at least 10, in random order.
        labels: (N,) int64.
        seed: of what is random.
    """

    net: Autoencoder
    images: Tensor
    labels: Rows
    seed: int

    def __post_init__(self) -> None:
        require_contract(self.net, self.images)

    @cached_property
    def z(self) -> Floats:
        """Latents of all images, (N, latent)."""
        return codes.latents(self.net, self.images)

    @cached_property
    def decibels(self) -> Floats:
        """PSNR of each image's reconstruction in dB, (N,)."""
        return reconstructions.decibels(self.net, self.images)

    @cached_property
    def coordinates(self) -> Directions:
        """The coordinates of the code."""
        return codes.coordinates(self.z, np.arange(self.net.latent))

    @cached_property
    def axes(self) -> Directions:
        """The principal axes of the codes."""
        return codes.principal_axes(self.z)

    @cached_property
    def coordinate_effects(self) -> Floats:
        """Effect of each coordinate on the picture, (latent,), as a part of the range of pixel values."""
        return traversals.effects(self.net, self._bases, self.coordinates)

    @cached_property
    def axis_effects(self) -> Floats:
        """Effect of each principal axis on the picture, as a part of the range of pixel values."""
        return traversals.effects(self.net, self._bases, self.axes)

    @cached_property
    def _bases(self) -> Code:
        return codes.encode(self.net, self.images[:BASES])

    @property
    def around(self) -> int:
        """Numbers of an image that go around the latent."""
        return self._bases.numbers - self.net.latent

    @property
    def effective_dimension(self) -> float:
        """Participation ratio of the principal axes' variances."""
        return codes.effective_dimension(self.axes.deviations**2)

    @property
    def dead(self) -> int:
        """Coordinates that hardly vary."""
        return int(codes.dead(self.z).sum())

    @property
    def ignored(self) -> int:
        """Coordinates that the decoder ignores."""
        return int((self.coordinate_effects < traversals.IGNORED).sum())

    @property
    def typical(self) -> int:
        """The image whose latent is nearest to their mean."""
        return int(np.linalg.norm(self.z - self.z.mean(0), axis=1).argmin())

    def varied(self, count: int) -> Rows:
        """Choose images of as many classes as there are: the first of each, then the second of each."""
        seen: Counter[int] = Counter()
        turns = []
        for label in self.labels.tolist():
            turns.append(seen[label])
            seen[label] += 1
        return np.argsort(turns, kind="stable")[:count]
