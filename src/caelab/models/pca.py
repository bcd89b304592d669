"""The linear floor: what a network must beat before its convolutions have earned anything."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf

import numpy as np
import torch
from torch import Tensor, nn

from caelab.data.scale import unit
from caelab.models.autoencoder import Autoencoder, Code, Images, at_least
from caelab.models.refinement import fit

_BATCH = 1000
_NUMBERS = 1 << 24  # of a batch
_CONSTANT = 1e-12  # variance of a number that rounding alone moves

IN_MEMORY = 1_250_000_000
"""Bytes of float64 up to which the pixels of all images are held at once: those of CIFAR-10 are."""

COVARIANCE = 4_096
"""Images, or numbers in an image, up to which all eigenvectors are found."""

SCATTER = 16_384
"""Numbers in an image up to which a covariance is held for iteration: 1 GiB of float32."""

_ROWS = 2_048  # of a covariance that are added up at a time
_PASSES, _USUAL = 40, 10  # at most, and mostly
_LEFT, _ALL = 5e-6, 1e-10  # shares of the variance, without and with what is kept, that a last pass may add


class PCA(Autoencoder):
    """Projection on the principal components of the training images, the best linear autoencoder.

    ::

        x     (C, H, W)                                     x_hat (C, H, W)
              |                                                   ^
              | flatten, - mean, @ components^T                   | @ components, + mean, clamp, unflatten
              v                                                   |
              z latent ----------------- Code(z) -----------------+

    Fitted by ``initialise``, see ``principal``, with no gradient step; before it, all its numbers are 0. It
    computes in float32 whatever the training precision, so that the floor does not sink with it.

    Args:
        shape: (C, H, W) of one image.
        latent: principal components kept, at most C*H*W; with 0 every image becomes the mean image.
        shrinkage: of the code of a corrupted image: ``none``, or ``auto``, fitted by ``initialise_from``.
        refine: steps by which ``encode`` then fits each code to its image, see
            ``caelab.models.refinement.fit``: the projection does not know that the decoder clamps. 0 with
            shrinkage, which it would undo.

    Raises:
        ValueError: a value that cannot be; the message starts with the parameter's name.
    """

    least_latent = 0

    mean: Tensor
    components: Tensor

    def __init__(
        self, shape: Sequence[int], latent: int = 256, shrinkage: str = "none", refine: int = 0
    ) -> None:
        super().__init__(shape, latent)
        numbers = int(np.prod(self.shape))
        if latent > numbers:
            raise ValueError(f"latent must be at most {numbers}, the numbers in one image, got {latent}")
        if shrinkage not in ("none", "auto"):
            raise ValueError(f"shrinkage must be none or auto, got {shrinkage!r}")
        self.refine = at_least(0, "refine", refine)
        if refine and shrinkage != "none":
            raise ValueError(f"refine must be 0 with shrinkage, which it would undo, got {refine}")
        self.register_buffer("mean", torch.zeros(numbers))  # (D,)
        self.register_buffer("components", torch.zeros(latent, numbers))  # (latent, D)
        self.shrinkage = Shrinkage(latent) if shrinkage == "auto" else None
        self.floor = "" if refine or self.shrinkage else "PCA"  # a projection, and nothing more

    @property
    def size(self) -> int:
        """Numbers learnt from data: mean, components and shrinkage, none of them by gradient."""
        return sum(buffer.numel() for buffer in self.buffers())

    def initialise(self, images: Images) -> None:
        """Fit mean and components to images (N, C, H, W) of a split.

        Of fewer images than ``latent`` there are as many components as images, and ``latent`` becomes that.
        """
        self.latent = min(self.latent, len(images))
        mean, components = principal(images, self.latent)
        self.mean.copy_(mean)
        self.components = self.components[: self.latent].copy_(components)
        if self.shrinkage is not None:
            self.shrinkage = Shrinkage(self.latent)

    def initialise_from(self, images: Images, corrupted: Images) -> None:
        """As ``initialise``, and fit the shrinkage to the codes of clean and of corrupted images."""
        self.initialise(images)
        if self.shrinkage is not None:
            self.shrinkage.fit(
                (self._project(unit(images[part])), self._project(corrupted[part])) for part in _parts(images)
            )

    def encode(self, x: Tensor, key: Tensor | None = None) -> Code:
        """Map images ``x`` (N, C, H, W) in [0, 1] to ``Code(z)``, z (N, latent) float32."""
        with torch.autocast(x.device.type, enabled=False):
            z = self._project(x)
            code = Code(z if self.shrinkage is None else self.shrinkage(z))
            return fit(self, x.float(), code, self.refine).code if self.refine else code

    def _project(self, x: Tensor) -> Tensor:
        return (x.float().flatten(1) - self.mean.float()) @ self.components.float().T

    def decode(self, code: Code) -> Tensor:
        """Map a code to ``x_hat`` (N, C, H, W), float32 in [0, 1]."""
        with torch.autocast(code.z.device.type, enabled=False):
            x = code.z.float() @ self.components.float() + self.mean.float()
        return x.clamp(0, 1).reshape(-1, *self.shape)  # (N, C, H, W)


def operations(images: int, numbers: int, count: int) -> float:
    """Operations, about, that ``principal`` takes for ``count`` components of so many images.

    They are counted as those in float64; in float32 a machine does twice as many.
    """
    if _held(images, numbers) or numbers <= COVARIANCE:
        least, most = sorted((images, numbers))
        return 2.0 * most * least**2 + 10.0 * least**3  # the products, and the eigenvectors
    return min(_iterations(images, numbers, count))


def _held(images: int, numbers: int) -> bool:
    return 8 * images * numbers <= IN_MEMORY and min(images, numbers) <= COVARIANCE


def _iterations(images: int, numbers: int, count: int) -> tuple[float, float]:
    """Operations of iteration that goes through a covariance, and through the images."""
    width = min(2 * count, images, numbers)
    summed = images * numbers**2 / 2 + _USUAL * numbers**2 * width
    return (summed if numbers <= SCATTER else inf), _USUAL * 2.0 * images * numbers * width


@torch.no_grad()
def principal(images: Images, count: int) -> tuple[Tensor, Tensor]:
    """Mean (D,) and first principal components (count, D) of images (N, C, H, W) of a split, in float64.

    Exact where an image has at most ``COVARIANCE`` numbers, and of at most so many images that fit
    ``IN_MEMORY``. Others are gone through, batch by batch, until the PSNR of the projection is within 1e-4 dB
    of the best one. Memory grows with ``count`` and D, not with N.
    """
    numbers = images[:1].numel()
    if _held(len(images), numbers):
        return _of_pixels(images, count)
    nothing = torch.zeros(numbers, dtype=torch.float64)
    mean = sum((x.sum(0) for x in _centred(images, nothing)), nothing) / len(images)
    return mean, (_of_covariance if numbers <= COVARIANCE else _by_iteration)(images, mean, count)


def _of_pixels(images: Images, count: int) -> tuple[Tensor, Tensor]:
    from sklearn import decomposition  # half a second that the other models need not wait

    pixels = torch.empty(len(images), images[:1].numel(), dtype=torch.float64)  # (N, D)
    for part in _parts(images):
        pixels[part] = unit(images[part].flatten(1).cpu(), torch.float64)
    solver = "covariance_eigh" if pixels.shape[0] >= pixels.shape[1] else "full"
    fitted = decomposition.PCA(count, svd_solver=solver, copy=False).fit(pixels.numpy())
    return torch.from_numpy(fitted.mean_), torch.from_numpy(fitted.components_)


def _of_covariance(images: Images, mean: Tensor, count: int) -> Tensor:
    vectors: Tensor = torch.linalg.eigh(_scatter(images, mean)).eigenvectors
    return vectors.flip(1).T[:count]


def _by_iteration(images: Images, mean: Tensor, count: int) -> Tensor:
    """Subspace iteration from random numbers: Halko, Martinsson and Tropp (SIAM Review 2011), algorithm 4.4.

    The subspace has twice as many directions as are wanted, so that those converge fast. Products are in
    float32: an error in a direction counts by its square.
    """
    width = max(1, min(2 * count, len(images), len(mean)))
    summed, through = _iterations(len(images), len(mean), count)
    times = _times_scatter(images, mean) if summed < through else _times_images(images, mean)
    draws = torch.Generator().manual_seed(0)
    basis: Tensor = torch.linalg.qr(torch.randn(len(mean), width, generator=draws, dtype=torch.float64)).Q
    kept = torch.zeros((), dtype=torch.float64)
    for _ in range(_PASSES):
        product, variance = times(basis)
        values, vectors = torch.linalg.eigh(basis.T @ product)
        before, kept = kept, values.flip(0)[:count].sum()
        if kept - before <= _LEFT * (variance - kept) + _ALL * variance:
            break
        basis = torch.linalg.qr(product).Q
    components: Tensor = (basis @ vectors).flip(1).T
    return components[:count]


_Times = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Maps directions (D, K) to the scatter matrix times them, and to its trace, all in float64."""


def _times_scatter(images: Images, mean: Tensor) -> _Times:
    scatter = _scatter(images, mean.float())
    variance = scatter.diagonal().double().sum()
    return lambda directions: ((scatter @ directions.float()).double(), variance)


def _times_images(images: Images, mean: Tensor) -> _Times:
    def times(directions: Tensor) -> tuple[Tensor, Tensor]:
        product, variance = torch.zeros_like(directions), torch.zeros((), dtype=torch.float64)
        single = directions.float()
        for x in _centred(images, mean.float()):
            product += x.T @ (x @ single)
            variance += x.square().sum(dtype=torch.float64)
        return product, variance

    return times


def _scatter(images: Images, mean: Tensor) -> Tensor:
    """The sum of x^T x (D, D) over centred images x, in the precision of their mean.

    It is symmetric, so only the blocks right of its diagonal are multiplied.
    """
    scatter = torch.zeros(len(mean), len(mean), dtype=mean.dtype)
    blocks = [slice(start, start + _ROWS) for start in range(0, len(mean), _ROWS)]
    for x in _centred(images, mean):
        for rows in blocks:
            scatter[rows, rows.start :].addmm_(x[:, rows].T, x[:, rows.start :])
    for rows in blocks:
        scatter[rows.stop :, rows] = scatter[rows, rows.stop :].T
    return scatter


def _parts(images: Images) -> Iterator[slice]:
    batch = max(1, min(_BATCH, _NUMBERS // images[:1].numel()))
    return (slice(start, start + batch) for start in range(0, len(images), batch))


def _centred(images: Images, mean: Tensor) -> Iterator[Tensor]:
    """Yield the numbers (n, D) of images in [0, 1], without their mean, in its precision."""
    return (unit(images[part].flatten(1).cpu(), mean.dtype) - mean for part in _parts(images))


class Shrinkage(nn.Module):
    """Least-squares estimate of each number of a clean image's code from that of the corrupted image.

    It is ``gain * z + offset``. For noise of variance s^2 that is independent of a component of variance w,
    the gain is w / (w + s^2): Wiener's filter ("Extrapolation, Interpolation, and Smoothing of Stationary
    Time Series", 1949), in the basis of principal components as in Muresan and Parks, "Adaptive Principal
    Components and Image Denoising" (ICIP 2003). Measured on pairs, it suits any corruption, and what clamping
    does to noise. Before it is fitted it changes nothing.

    Args:
        latent: numbers of a code.
    """

    gain: Tensor
    offset: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.register_buffer("gain", torch.ones(latent))
        self.register_buffer("offset", torch.zeros(latent))

    def fit(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Fit to pairs of codes, each (n, latent), of clean images and of the same ones corrupted."""
        count, sums = 0, torch.zeros(4, len(self.gain), dtype=torch.float64)
        for clean, given in ((a.double(), b.double()) for a, b in pairs):
            count += len(clean)
            sums += torch.stack([clean, given, given * clean, given * given]).sum(1)
        clean, given, product, square = sums / count
        variance = square - given * given
        gain = torch.where(variance > _CONSTANT, (product - given * clean) / variance, 0)
        self.gain.copy_(gain)
        self.offset.copy_(clean - gain * given)

    def forward(self, z: Tensor) -> Tensor:
        """Map codes of corrupted images (N, latent) to estimates of those of the clean ones, float32."""
        return z * self.gain.float() + self.offset.float()
