"""What image processing does without training: the trivial answer to a corruption."""

from collections.abc import Callable, Sequence
from functools import partial
from math import prod

import numpy as np
import numpy.typing as npt
import skimage.restoration
import torch
from scipy import ndimage
from torch import Tensor

from caelab.models.autoencoder import Autoencoder, Code

Floats = npt.NDArray[np.float32]


class Classical(Autoencoder):
    """A filter of the image itself, with nothing learnt; its code is the whole image.

    ::

        x     (C, H, W)                                     x_hat (C, H, W)
              |                                                   ^
              | flatten                                           | unflatten, filter
              v                                                   |
              z C*H*W ----------------- Code(z) ------------------+

    Args:
        shape: (C, H, W) of one image.
        filter: ``none`` (what the network is given, as it is), ``median`` (3x3), or ``non_local_means``
            (scikit-image's, patches of 3x3, 11x11 searched; Buades, Coll and Morel, "A non-local algorithm
            for image denoising", CVPR 2005).
        noise: standard deviation that ``non_local_means`` takes the noise to have, above 0.

    Raises:
        ValueError: there is no such filter, or a noise that cannot be; the message names it.
    """

    def __init__(self, shape: Sequence[int], filter: str = "none", noise: float = 0.1) -> None:
        super().__init__(shape, prod(shape))
        filters: dict[str, Callable[[Floats], Floats]] = {
            "none": _none,
            "median": _median,
            "non_local_means": partial(_non_local_means, noise=noise),
        }
        if filter not in filters:
            raise ValueError(f"filter must be one of {', '.join(filters)}, got {filter!r}")
        if isinstance(noise, bool) or not isinstance(noise, int | float) or not noise > 0:
            raise ValueError(f"noise must be a number above 0, got {noise!r}")
        self.filter = filters[filter]

    def encode(self, x: Tensor, key: Tensor | None = None) -> Code:
        """Map images ``x`` (N, C, H, W) in [0, 1] to ``Code(z)``, z (N, C*H*W)."""
        return Code(x.flatten(1))

    def decode(self, code: Code) -> Tensor:
        """Map a code to ``x_hat`` (N, C, H, W), float32 in [0, 1]."""
        images = code.z.float().cpu().numpy().reshape(-1, *self.shape)
        return torch.from_numpy(self.filter(images)).to(code.z.device).clamp(0, 1)


def _none(x: Floats) -> Floats:
    return x


def _median(x: Floats) -> Floats:
    filtered: Floats = ndimage.median_filter(x, size=(1, 1, 3, 3))
    return filtered


def _non_local_means(x: Floats, noise: float) -> Floats:
    denoise: Callable[..., Floats] = partial(
        skimage.restoration.denoise_nl_means,
        patch_size=3,
        patch_distance=5,
        h=0.8 * noise,  # what scikit-image's documentation advises where sigma is given
        sigma=noise,
        channel_axis=0,
    )
    return np.stack([denoise(image) for image in x]).reshape(x.shape)  # one channel is squeezed away
