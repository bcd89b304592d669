"""What a training image becomes before the network sees it; the loss compares with what it has become.

What happens to an image is a function of its key, of (seed, epoch, image), and of nothing else: a run that
was killed, another batch size or several devices change none of it. Validation and test images stay as they
are.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import v2

from caelab.draws import uniform

_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601-2


class Augmentation(nn.Module, ABC):
    """Base of all augmentations.

    Attributes:
        random: whether it does anything, and needs keys.
    """

    random = True

    @abstractmethod
    def forward(self, x: Tensor, key: Tensor) -> Tensor:
        """Change images.

        Args:
            x: (N, C, H, W) float32 in [0, 1].
            key: of each image, (N,) int64.

        Returns:
            As ``x``; ``x`` itself stays as it is.
        """


class Plain(Augmentation):
    """No augmentation."""

    random = False

    def forward(self, x: Tensor, key: Tensor) -> Tensor:
        """Return ``x``."""
        return x


class Flip(Augmentation):
    """Mirrors each image, left to right, with a chance of one half."""

    def forward(self, x: Tensor, key: Tensor) -> Tensor:
        """Mirror some of ``x`` (N, C, H, W)."""
        return torch.where(uniform(key, 1)[..., None, None] < 0.5, x.flip(-1), x)


class CropShift(Augmentation):
    """Shifts each image by whole pixels, the border mirrored, as a crop from a padded image does.

    Args:
        pixels: the largest shift, up, down and to each side; each from there to its opposite is as likely.
    """

    def __init__(self, pixels: int) -> None:
        super().__init__()
        if isinstance(pixels, bool) or not isinstance(pixels, int) or pixels < 1:
            raise ValueError(f"pixels must be a whole number, at least 1, got {pixels!r}")
        self.pixels = pixels

    def forward(self, x: Tensor, key: Tensor) -> Tensor:
        """Shift ``x`` (N, C, H, W).

        Raises:
            ValueError: an image is too small to mirror so many pixels of it.
        """
        n, channels, height, width = x.shape
        if self.pixels >= min(height, width):
            raise ValueError(
                f"pixels must be below {min(height, width)}, the shorter side, got {self.pixels}"
            )
        padded = F.pad(x, (self.pixels,) * 4, mode="reflect")
        first = (uniform(key, 2) * (2 * self.pixels + 1)).long()  # (N, 2), first row and column of each crop
        rows = (first[:, :1] + torch.arange(height, device=x.device))[:, None, :, None]
        columns = (first[:, 1:] + torch.arange(width, device=x.device))[:, None, None]
        image = torch.arange(n, device=x.device)[:, None, None, None]
        return padded[image, torch.arange(channels, device=x.device)[:, None, None], rows, columns]


class Colour(Augmentation):
    """Changes brightness, then contrast, then saturation, each by a factor that an image draws for itself.

    The factors are uniform in [1 - amount, 1 + amount]; they act as those of torchvision's ColorJitter,
    without its changes of hue. Grey images and those of other than three bands have no saturation.

    Args:
        brightness: amount in [0, 1]; images are multiplied.
        contrast: likewise; images are mixed with the mean of their grey values.
        saturation: likewise; images are mixed with their grey values.
    """

    def __init__(self, brightness: float, contrast: float, saturation: float) -> None:
        super().__init__()
        amounts = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
        for name, amount in amounts.items():
            if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount <= 1:
                raise ValueError(f"{name} must be a number from 0 to 1, got {amount!r}")
        self.amounts: Tensor
        self.register_buffer("amounts", torch.tensor([*amounts.values()]), persistent=False)

    def forward(self, x: Tensor, key: Tensor) -> Tensor:
        """Change ``x`` (N, C, H, W)."""
        factors = 1 + self.amounts * (2 * uniform(key, 3) - 1)  # (N, 3)
        brightness, contrast, saturation = factors[..., None, None, None].unbind(1)
        x = (brightness * x).clamp(0, 1)
        x = _mixed(x, _grey(x).mean((1, 2, 3), keepdim=True), contrast)
        return _mixed(x, _grey(x), saturation) if x.shape[1] == 3 else x


class Trivial(Augmentation):
    """One change of a random strength an image, of fourteen: TrivialAugment (Müller and Hutter, ICCV 2021).

    The changes are those of torchvision's TrivialAugmentWide: shears, shifts, turns, colours and the like.
    Images are rounded to 8 bits first. Each is changed by itself, which takes longer than the other
    augmentations.
    """

    def __init__(self) -> None:
        super().__init__()
        self._change = v2.TrivialAugmentWide()

    def forward(self, x: Tensor, key: Tensor) -> Tensor:
        """Change ``x`` (N, C, H, W).

        Raises:
            ValueError: C is neither 1 nor 3.
        """
        if x.shape[1] not in (1, 3):
            raise ValueError(f"trivial takes images of 1 or 3 channels, not of {x.shape[1]}")
        images = (255 * x).round().byte()
        with torch.random.fork_rng(devices=[]):
            return torch.stack([self._changed(*one) for one in zip(images, key.tolist(), strict=True)]) / 255

    def _changed(self, image: Tensor, key: int) -> Tensor:
        torch.default_generator.manual_seed(key)  # torchvision draws from it
        changed: Tensor = self._change(image)
        return changed


def _grey(x: Tensor) -> Tensor:
    """Grey values (N, 1, H, W): the luma of colour images, else the mean over channels."""
    if x.shape[1] == 3:
        return (x * x.new_tensor(_LUMA)[:, None, None]).sum(1, keepdim=True)
    return x.mean(1, keepdim=True)


def _mixed(x: Tensor, other: Tensor, share: Tensor) -> Tensor:
    return (share * x + (1 - share) * other).clamp(0, 1)
