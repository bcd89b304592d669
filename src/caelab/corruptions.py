"""What is done to an image before the network sees it; the loss and all figures compare with the clean one.

Randomness is a function of an image's key: see ``caelab.draws``.
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caelab.data.scale import unit
from caelab.draws import keys, normal, uniform
from caelab.errors import UserError
from caelab.models.autoencoder import Images

VAL, TEST = 1, 2
"""Seeds of the corruption of the validation and the test split: the same in every run and epoch."""


class Corruption(nn.Module, ABC):
    """Base of all corruptions.

    Attributes:
        random: whether it needs keys.
    """

    random = True

    @abstractmethod
    def forward(self, x: Tensor, key: Tensor | None) -> Tensor:
        """Corrupt images.

        Args:
            x: (N, C, H, W) float32 in [0, 1].
            key: of each image, (N,) int64; may be None where ``random`` is False.

        Returns:
            As ``x``; ``x`` itself stays as it is.
        """


class Clean(Corruption):
    """No corruption."""

    random = False

    def forward(self, x: Tensor, key: Tensor | None) -> Tensor:
        """Return ``x``."""
        return x


class Corrupted:
    """Images as a network is given them in its first epoch, corrupted as they are asked for.

    Args:
        images: (N, C, H, W) of a split, before the corruption.
        corruption: of each image.
        seed: of the run.
    """

    def __init__(self, images: Images, corruption: Corruption, seed: int) -> None:
        self._images, self._corruption, self._seed = images, corruption, seed

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, rows: slice) -> Tensor:
        """Corrupted images (n, C, H, W) float32 in [0, 1]."""
        places = torch.arange(len(self))[rows]
        x = unit(self._images[rows])
        return self._corruption(x, keys(places.to(x.device), self._seed, 0))  # type: ignore[no-any-return]


def require_unpaired(paired: bool, corruption: Corruption) -> None:
    """Make sure that pictures are not corrupted that have been already.

    Args:
        paired: whether the data give networks other pictures than those that they are measured by.
        corruption: what would be done to these.

    Raises:
        UserError: they would be.
    """
    if paired and not isinstance(corruption, Clean):
        raise UserError(
            "corruption: the index has a column 'target', so the pictures in 'file' must stay as they are; "
            "use corruption=none, or leave out that column"
        )


class GaussianNoise(Corruption):
    """Adds independent normal noise to each number, then clamps to [0, 1].

    Args:
        std: standard deviation, above 0, where pixels are in [0, 1].
    """

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = _within("std", std, 0, 10)

    def forward(self, x: Tensor, key: Tensor | None) -> Tensor:
        """Corrupt ``x`` (N, C, H, W)."""
        noise = normal(_required(key), x[0].numel()).view_as(x)
        return (x + self.std * noise).clamp(0, 1)


class SaltPepper(Corruption):
    """Makes each pixel black or white, all its channels, with the same probability each.

    Args:
        amount: share of the pixels, in (0, 1].
    """

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = _within("amount", amount, 0, 1)

    def forward(self, x: Tensor, key: Tensor | None) -> Tensor:
        """Corrupt ``x`` (N, C, H, W)."""
        drawn = _drawn(x[:, :1], key)
        salted = torch.where(drawn < self.amount / 2, 1.0, x)
        return torch.where(drawn >= 1 - self.amount / 2, 0.0, salted)


class Masking(Corruption):
    """Makes square patches of a grid black, each with the same probability.

    Args:
        share: probability of a patch, in (0, 1].
        patch: side of a patch in pixels, at least 1; those at the right and lower edge may be cut.
    """

    def __init__(self, share: float, patch: int) -> None:
        super().__init__()
        self.share = _within("share", share, 0, 1)
        if isinstance(patch, bool) or not isinstance(patch, int) or patch < 1:
            raise ValueError(f"patch must be a whole number, at least 1, got {patch!r}")
        self.patch = patch

    def forward(self, x: Tensor, key: Tensor | None) -> Tensor:
        """Corrupt ``x`` (N, C, H, W)."""
        height, width = x.shape[2:]
        grid = x.new_zeros(len(x), 1, math.ceil(height / self.patch), math.ceil(width / self.patch))
        masked = _drawn(grid, key) < self.share
        masked = masked.repeat_interleave(self.patch, 2).repeat_interleave(self.patch, 3)
        return torch.where(masked[..., :height, :width], 0.0, x)


class Downsample(Corruption):
    """Averages squares of pixels, and enlarges the result to the old size by bicubic interpolation.

    Args:
        factor: side of a square in pixels, at least 2; it must divide height and width.
    """

    random = False

    def __init__(self, factor: int) -> None:
        super().__init__()
        if isinstance(factor, bool) or not isinstance(factor, int) or factor < 2:
            raise ValueError(f"factor must be a whole number, at least 2, got {factor!r}")
        self.factor = factor

    def forward(self, x: Tensor, key: Tensor | None) -> Tensor:
        """Corrupt ``x`` (N, C, H, W).

        Raises:
            ValueError: ``factor`` does not divide height and width.
        """
        if x.shape[2] % self.factor or x.shape[3] % self.factor:
            raise ValueError(f"factor must divide {x.shape[2]} and {x.shape[3]}, got {self.factor}")
        small = F.avg_pool2d(x, self.factor)
        return F.interpolate(small, size=x.shape[2:], mode="bicubic").clamp(0, 1)


class Blur(Corruption):
    """Convolves with a Gaussian, cut at 3 standard deviations; the border is mirrored.

    Args:
        sigma: standard deviation in pixels, above 0.
    """

    random = False

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = _within("sigma", sigma, 0, 100)

    def forward(self, x: Tensor, key: Tensor | None) -> Tensor:
        """Corrupt ``x`` (N, C, H, W).

        Raises:
            ValueError: the blur is wider than the image.
        """
        half = math.ceil(3 * self.sigma)
        if half >= min(x.shape[2:]):
            raise ValueError(
                f"sigma must be smaller for images of {x.shape[2]}x{x.shape[3]}, got {self.sigma}"
            )
        places = torch.arange(-half, half + 1, device=x.device)
        weights = torch.exp(-0.5 * (places / self.sigma) ** 2)
        weights = (weights / weights.sum()).expand(x.shape[1], 1, 1, -1)  # (C, 1, 1, 2 * half + 1)
        x = F.pad(x, (half,) * 4, mode="reflect")
        x = F.conv2d(x, weights, groups=x.shape[1])
        return F.conv2d(x, weights.transpose(2, 3), groups=x.shape[1]).clamp(0, 1)


def _drawn(like: Tensor, key: Tensor | None) -> Tensor:
    """Random numbers in [0, 1) of the shape of ``like``, (N, ...)."""
    return uniform(_required(key), like[0].numel()).view_as(like)


def _required(key: Tensor | None) -> Tensor:
    if key is None:
        raise ValueError("a random corruption needs keys")
    return key


def _within(name: str, value: object, low: float, high: float) -> float:
    """Return ``value`` if it is a number above ``low`` and at most ``high``.

    Raises:
        ValueError: it is not; the message starts with ``name``.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} must be a number, got {value!r}")
    if not low < value <= high:
        raise ValueError(f"{name} must be above {low} and at most {high}, got {value}")
    return float(value)
