"""The linear floor: what a network must beat before its convolutions have earned anything."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from caelab.models.autoencoder import Autoencoder, Code, Images


class PCA(Autoencoder):
    """Projection on the principal components of the training images, the best linear autoencoder.

    ::

        x     (C, H, W)                                     x_hat (C, H, W)
              |                                                   ^
              | flatten, - mean, @ components^T                   | @ components, + mean, clamp, unflatten
              v                                                   |
              z latent ----------------- Code(z) -----------------+

    Fitted exactly by ``initialise``, with no gradient step; before it, all its numbers are 0. It computes
    in float32 whatever the training precision, so that the floor does not sink with it.

    Args:
        shape: (C, H, W) of one image.
        latent: principal components kept, at most C*H*W; with 0 every image becomes the mean image.

    Raises:
        ValueError: ``latent`` is more than there can be; the message names it.
    """

    least_latent = 0

    mean: Tensor
    components: Tensor

    def __init__(self, shape: Sequence[int], latent: int = 256) -> None:
        super().__init__(shape, latent)
        numbers = int(np.prod(self.shape))
        if latent > numbers:
            raise ValueError(f"latent must be at most {numbers}, the numbers in one image, got {latent}")
        self.register_buffer("mean", torch.zeros(numbers))  # (D,)
        self.register_buffer("components", torch.zeros(latent, numbers))  # (latent, D)

    @property
    def size(self) -> int:
        """Numbers learnt from data: the mean and the components, none of them by gradient."""
        return self.mean.numel() + self.components.numel()

    def initialise(self, images: Images) -> None:
        """Fit mean and components to images (N, C, H, W) uint8, exactly, in float64.

        Of fewer images than ``latent`` there are as many components as images, and ``latent`` becomes that.
        """
        from sklearn import decomposition  # half a second that the other models need not wait

        n, numbers = len(images), self.mean.numel()
        self.latent = min(self.latent, n)
        pixels = images[:].flatten(1).cpu().numpy().astype(np.float64)  # (N, D)
        pixels /= 255
        solver = "covariance_eigh" if n >= numbers else "full"
        fitted = decomposition.PCA(self.latent, svd_solver=solver, copy=False).fit(pixels)
        self.mean.copy_(torch.from_numpy(fitted.mean_))
        self.components = self.components[: self.latent].copy_(torch.from_numpy(fitted.components_))

    def encode(self, x: Tensor) -> Code:
        """Map images ``x`` (N, C, H, W) in [0, 1] to ``Code(z)``, z (N, latent) float32."""
        with torch.autocast(x.device.type, enabled=False):
            return Code((x.float().flatten(1) - self.mean.float()) @ self.components.float().T)

    def decode(self, code: Code) -> Tensor:
        """Map a code to ``x_hat`` (N, C, H, W), float32 in [0, 1]."""
        with torch.autocast(code.z.device.type, enabled=False):
            x = code.z.float() @ self.components.float() + self.mean.float()
        return x.clamp(0, 1).reshape(-1, *self.shape)  # (N, C, H, W)
