"""PSNR, SSIM and other measures over many images, under the two protocols of ``docs/definitions``."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from caelab.metrics.measures import Measure
from caelab.metrics.quality import PSNR_CAP, psnr, require_window, ssim, unit_range


class ImageQuality(Metric):
    """PSNR, SSIM, MSE, L1 and further measures over all images it has seen: the ``full`` protocol.

    Each image counts once, however the images are split into batches or over processes. Images are clamped
    to [0, 1] and compared in float32, also under autocast; averages are taken in float64 on the CPU.

    Args:
        measures: name -> further measure.
        kwargs: of torchmetrics' ``Metric``.
    """

    higher_is_better = None
    is_differentiable = False
    full_state_update = False

    mse: list[Tensor]
    l1: list[Tensor]
    ssim: list[Tensor]

    def __init__(self, measures: Mapping[str, Measure] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.measures = dict(measures or {})
        for name in ("mse", "l1", "ssim", *self.measures):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, x_hat: Tensor, x: Tensor) -> None:
        """Add the images ``x`` (N, C, H, W) and their reconstructions, floating point in [0, 1].

        Raises:
            ValueError: the two differ in shape, are not floating point, have a side below 11, or are what a
                measure does not take.
        """
        x_hat, x = unit_range(x_hat, x)
        difference = x_hat - x
        self.mse.append(difference.square().mean((1, 2, 3)))
        self.l1.append(difference.abs().mean((1, 2, 3)))
        self.ssim.append(ssim(x_hat, x))
        with torch.autocast(x.device.type, enabled=False):
            for name, measure in self.measures.items():
                getattr(self, name).append(measure.of(x_hat, x))

    def per_image(self) -> dict[str, Tensor]:
        """Return ``psnr``, ``ssim``, ``mse``, ``l1`` and further measures of each image so far, in order.

        Each is (N,) float64 on the CPU.

        With several processes, those of this process.
        """
        names = ("ssim", "mse", "l1", *self.measures)
        values = {name: dim_zero_cat(getattr(self, name)).cpu().double() for name in names}
        return {"psnr": psnr(values["mse"]), **values}

    def compute(self) -> dict[str, float]:
        """Average over all images.

        Returns:
            ``psnr`` (mean of the images' PSNR), ``psnr_pooled`` (PSNR of the mean MSE), ``ssim``, ``mse``,
            ``l1``, each further measure, and ``perfect``, the number of images whose PSNR is capped.
        """
        images = self.per_image()
        means = {name: value.mean().item() for name, value in images.items()}
        pooled = psnr(images["mse"].mean()).item()
        perfect = (images["psnr"] >= PSNR_CAP).sum().item()
        return {**means, "psnr_pooled": pooled, "perfect": float(perfect)}


def published_protocol(x_hat: Tensor, x: Tensor) -> dict[str, float]:
    """PSNR and SSIM as the report's authors measured them: the ``published`` protocol.

    SSIM is scikit-image's with its defaults: a uniform window (7x7 on colour, 11x11 on grey), sample
    covariances, and the image's own range (max - min of ``x``) as data range. An image of one single value
    has no range, and gets 1. PSNR has peak 1, the cap, and no other departure from equation 1.

    Args:
        x_hat: reconstructions (N, C, H, W), floating point; clamped to [0, 1].
        x: the first test image of each class, of the same shape.

    Returns:
        ``psnr`` and ``ssim``, means over the given images.

    Raises:
        ValueError: the two differ in shape, are not floating point, or are smaller than the window.
    """
    import skimage.metrics  # a second that runs without this protocol need not wait

    structural_similarity: Callable[..., float] = skimage.metrics.structural_similarity
    x_hat, x = unit_range(x_hat, x)
    colour = x.shape[1] > 1
    window = 7 if colour else 11
    require_window(x, window)
    similarities, psnrs = [], []
    for image_hat, image in zip(x_hat.cpu().double(), x.cpu().double(), strict=True):
        pair = [(i if colour else i[0]).numpy() for i in (image, image_hat)]  # (C, H, W) or (H, W)
        value = structural_similarity(
            *pair,
            win_size=window,
            data_range=(image.max() - image.min()).item() or 1.0,
            channel_axis=0 if colour else None,
        )
        similarities.append(float(value))
        psnrs.append(psnr((image_hat - image).square().mean()))
    return {"psnr": torch.stack(psnrs).mean().item(), "ssim": sum(similarities) / len(similarities)}
