"""The linear floor of codes that keep their place: principal components of patches."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from caelab.data.scale import unit
from caelab.models.autoencoder import Autoencoder, Code, Images, at_least, image_shape

_NUMBERS = 1 << 24  # of the patches that are summed up at a time


class PatchPCA(Autoencoder):
    """Projection of each patch on the principal components of all patches of the training images.

    An image is cut into squares of ``factor`` pixels a side; each becomes ``latent_channels`` numbers. That
    is block transform coding with the Karhunen-Loeve transform: Goyal, "Theoretical Foundations of Transform
    Coding" (2001). ``z`` holds the numbers of one patch behind those of another, row by row:
    ``z.reshape(N, h, w, latent_channels)`` has their places. Sides that ``factor`` does not divide are
    continued by their last pixels, and cut again.

    Fitted exactly by ``initialise``, in float64, with memory that does not grow with the number of images.

    Args:
        shape: (C, H, W) of one image, of any size.
        latent_channels: principal components of a patch, at most C * factor^2.
        factor: a patch's side in pixels, 1 or more.

    Raises:
        ValueError: a value that cannot be; the message starts with the parameter's name.
    """

    floor = "patch PCA"

    mean: Tensor
    components: Tensor

    def __init__(self, shape: Sequence[int], latent_channels: int = 12, factor: int = 8) -> None:
        super().__init__(shape, latent_of(shape, latent_channels, factor))
        self.factor = factor
        numbers = self.shape[0] * factor**2
        self.register_buffer("mean", torch.zeros(numbers))  # (D,)
        self.register_buffer("components", torch.zeros(latent_channels, numbers))  # (latent_channels, D)

    @property
    def size(self) -> int:
        """Numbers learnt from data: mean and components, none of them by gradient."""
        return sum(buffer.numel() for buffer in self.buffers())

    def initialise(self, images: Images) -> None:
        """Fit mean and components to the patches of images (N, C, H, W) of a split.

        Raises:
            ValueError: there are fewer patches than components.
        """
        mean, components = principal(images, self.factor, len(self.components))
        self.mean.copy_(mean)
        self.components.copy_(components)

    def encode(self, x: Tensor, key: Tensor | None = None) -> Code:
        """Map images ``x`` (N, C, H, W) in [0, 1] to ``Code(z)``, z (N, latent) float32."""
        with torch.autocast(x.device.type, enabled=False):
            parts = patches(x.float(), self.factor) - self.mean.float()
            return Code((parts @ self.components.float().T).flatten(1))

    def decode(self, code: Code) -> Tensor:
        """Map a code to ``x_hat`` (N, C, H, W), float32 in [0, 1]."""
        with torch.autocast(code.z.device.type, enabled=False):
            z = code.z.float().reshape(-1, self.latent // len(self.components), len(self.components))
            parts = z @ self.components.float() + self.mean.float()
        return joined(parts, self.shape, self.factor).clamp(0, 1)


def latent_of(shape: Sequence[int], latent_channels: int, factor: int) -> int:
    """Numbers of an image of ``shape`` (C, H, W) with so many numbers for each patch.

    Raises:
        ValueError: a value that cannot be; the message starts with the parameter's name.
    """
    most = image_shape(shape)[0] * at_least(1, "factor", factor) ** 2
    if at_least(1, "latent_channels", latent_channels) > most:
        raise ValueError(
            f"latent_channels must be at most {most}, the numbers in a patch, got {latent_channels}"
        )
    rows, columns = grid_of(shape, factor)
    return latent_channels * rows * columns


def grid_of(shape: Sequence[int], factor: int) -> tuple[int, int]:
    """Rows and columns of the patches of an image of ``shape`` (C, H, W)."""
    return -(-shape[1] // factor), -(-shape[2] // factor)


def patches(x: Tensor, factor: int) -> Tensor:
    """Cut images (N, C, H, W) into patches, row by row: (N, h*w, C*factor^2)."""
    height, width = x.shape[2:]
    if height % factor or width % factor:
        x = F.pad(x, (0, -width % factor, 0, -height % factor), mode="replicate")
    return F.pixel_unshuffle(x, factor).flatten(2).transpose(1, 2)


def joined(parts: Tensor, shape: Sequence[int], factor: int) -> Tensor:
    """Put patches (N, h*w, C*factor^2) together to images of ``shape`` (C, H, W)."""
    maps = parts.transpose(1, 2).reshape(-1, parts.shape[2], *grid_of(shape, factor))
    return F.pixel_shuffle(maps, factor)[:, :, : shape[1], : shape[2]]


@torch.no_grad()
def principal(images: Images, factor: int, count: int) -> tuple[Tensor, Tensor]:
    """Mean (D,) and the first principal components (count, D) of the patches of images, in float64.

    Raises:
        ValueError: there are fewer patches than components.
    """
    one = patches(images[:1].double(), factor)
    numbers, places = one.shape[2], one.shape[1]
    if len(images) * places < count:
        raise ValueError(
            f"latent_channels must be at most {len(images) * places}, the training patches, got {count}"
        )
    batch = max(1, _NUMBERS // one.numel())
    total = torch.zeros(numbers, dtype=torch.float64)
    squares = torch.zeros(numbers, numbers, dtype=torch.float64)
    for start in range(0, len(images), batch):
        parts = patches(unit(images[start : start + batch].cpu(), torch.float64), factor).flatten(0, 1)
        total += parts.sum(0)
        squares += parts.T @ parts
    n = len(images) * places
    mean = total / n
    _, vectors = torch.linalg.eigh(squares / n - mean[:, None] * mean)
    return mean, vectors.flip(1).T[:count]
