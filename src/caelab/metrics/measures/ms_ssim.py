"""MS-SSIM: Wang et al., "Multiscale Structural Similarity for Image Quality Assessment" (2003)."""

from typing import TYPE_CHECKING

from caelab.metrics.measures import Measure

if TYPE_CHECKING:
    from torch import Tensor

_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of each scale, finest first
_LEAST = 1e-6  # of a similarity: a power of 0 has no gradient


def ms_ssim(x_hat: "Tensor", x: "Tensor") -> "Tensor":
    """Multi-scale structural similarity of each image: eq. 7 of the paper.

    Each scale halves the image by averaging. Five scales with SSIM's window want 176 pixels a side; smaller
    images have fewer, as ``scales`` says, and the weights of those that are left add up to 1. A similarity
    below 1e-6 counts as that.

    Args:
        x_hat: (N, C, H, W) in [0, 1], float32.
        x: of the same shape.

    Returns:
        (N,) float32 in [0, 1].

    Raises:
        ValueError: the images are smaller than a window of 7.
    """
    from torch.nn.functional import avg_pool2d

    from caelab.metrics.quality import similarity

    count, window = scales(min(x.shape[-2:]))
    weights = [weight / sum(_WEIGHTS[:count]) for weight in _WEIGHTS[:count]]
    product = x.new_ones(len(x))
    for scale, weight in enumerate(weights, start=1):
        whole, contrast = similarity(x_hat, x, window)
        product = product * (whole if scale == count else contrast).clamp(min=_LEAST) ** weight
        x_hat, x = avg_pool2d(x_hat, 2), avg_pool2d(x, 2)
    return product


def scales(side: int) -> tuple[int, int]:
    """Scales and window of MS-SSIM for images whose shorter side has so many pixels.

    Raises:
        ValueError: not even one scale fits.
    """
    for count, window in ((5, 11), (4, 11), (3, 11), (3, 7), (2, 7), (1, 7)):
        if side >> (count - 1) >= window:
            return count, window
    raise ValueError(f"image_size must be at least 7 for MS-SSIM, got {side}")


MEASURE = Measure(
    ms_ssim,
    "MS-SSIM",
    "structural similarity over several scales, at most 1",
    ".3f",
    higher=True,
    bounds=(0.0, 1.0),
)
