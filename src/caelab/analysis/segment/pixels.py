"""How well the class of each pixel can be told from feature maps: a linear probe, scored by overlap."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F

from caelab.data.datamodule import Split
from caelab.data.scale import unit
from caelab.models.autoencoder import Autoencoder
from caelab.models.taps import tapped

STAGES = 3
"""Stages of a decoder whose outputs are the features of a pixel: the last ones."""

IMAGES, PLACES = 4_000, 32
"""Training images that a probe is fitted to at most, the first ones, and the pixels of each."""

BATCH = 100
_SEED = 2_718_285  # of those pixels; the same for every run and every kind of feature

DEFINITIONS = {
    "features": f"outputs of the decoder's last {STAGES} stages, enlarged to the image's size (bilinear), "
    "side by side in each pixel; the reconstruction where a decoder has no stages",
    "probe": "multinomial logistic regression; half the squared weights as its penalty, on features of mean "
    "0 and standard deviation 1",
    "pixels": f"{PLACES} of each of the first {IMAGES} training images, at places drawn at random",
    "iou": "right pixels of a class over those that are of it or are taken for it, in all test images "
    "together; mean over the classes that there are",
}
"""What the figures are, as it is written beside them."""

Maps = Callable[[Tensor], Tensor]
"""Images (N, C, H, W) of a split -> features of each pixel (N, D, H, W) float32."""


@dataclass(frozen=True)
class Pixels:
    """Images, and the class of each of their pixels.

    Attributes:
        images: N of them.
        classes: (N, H, W) uint8, from 0.
    """

    images: Split
    classes: Tensor

    def batches(self, maps: Maps, images: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Features (n, P, D) and classes (n, P) int64 of the P pixels of a batch of the first images."""
        count = min(images or len(self.images), len(self.images))
        for start in range(0, count, BATCH):
            part = slice(start, min(start + BATCH, count))
            yield by_pixel(maps(self.images[part])), self.classes[part].flatten(1).long()


def by_pixel(maps: Tensor) -> Tensor:
    """Turn maps (N, D, H, W) into the features of each pixel, (N, H * W, D) float32."""
    return maps.float().flatten(2).mT


def images_as_maps(images: Tensor) -> Tensor:
    """The pixels themselves: (N, C, H, W) in [0, 1]."""
    return unit(images)


def reconstructed(net: Autoencoder) -> Maps:
    """What a network makes of the images, as features."""
    return net.reconstruct


def decoded(net: Autoencoder) -> Maps:
    """What the last ``STAGES`` of a network's decoder put out, as features."""
    decoder = getattr(net, "decoder", None)
    stages = list(decoder)[-STAGES:] if isinstance(decoder, nn.ModuleList) else []

    def maps(images: Tensor) -> Tensor:
        with tapped(stages) as outputs:
            x_hat = net.reconstruct(images)
        found = [outputs[place].float() for place in sorted(outputs)] or [x_hat]
        size = list(images.shape[2:])
        return torch.cat([F.interpolate(x, size, mode="bilinear", align_corners=False) for x in found], 1)

    return maps


@dataclass(frozen=True)
class Probe:
    """A linear classifier of pixels.

    Attributes:
        mean: of each feature, (D,).
        spread: standard deviation of each, (D,); 1 for one that does not vary.
        model: fitted to features less their mean, divided by their spread.
    """

    mean: Tensor
    spread: Tensor
    model: LogisticRegression

    def predict(self, features: Tensor) -> Tensor:
        """Classes (...) int64 of pixels with features (..., D)."""
        x = ((features - self.mean) / self.spread).flatten(0, -2).numpy()
        return torch.from_numpy(self.model.predict(x)).reshape(features.shape[:-1])


def fit(maps: Maps, train: Pixels) -> Probe:
    """Multinomial logistic regression on ``PLACES`` pixels of each of the first ``IMAGES`` images.

    ``W = argmin sum_i -log softmax(x_i W + b)_{y_i} + |W|^2 / 2``, with features x of mean 0 and standard
    deviation 1 over these pixels.

    Args:
        maps: brings the features.
        train: the images.

    Raises:
        ValueError: no feature varies, or one is not finite, or all pixels are of one class.
    """
    x, y = _sample(maps, train)
    mean, spread = x.mean(0), x.std(0, correction=0)
    if not spread.isfinite().all() or not spread.any():
        raise ValueError("the same in every pixel, or not finite, so there is nothing to read")
    spread = torch.where(spread > 0, spread, 1.0)
    model = LogisticRegression(solver="newton-cholesky", max_iter=200)
    return Probe(mean, spread, model.fit(((x - mean) / spread).numpy(), y.numpy()))


def _sample(maps: Maps, train: Pixels) -> tuple[Tensor, Tensor]:
    """Features (M, D) and classes (M,) of the pixels that a probe is fitted to."""
    generator = torch.Generator().manual_seed(_SEED)
    features, classes = [], []
    for x, y in train.batches(maps, IMAGES):
        places = torch.randint(y.shape[1], (len(y), PLACES), generator=generator)
        features.append(x.gather(1, places[..., None].expand(-1, -1, x.shape[2])).flatten(0, 1))
        classes.append(y.gather(1, places).flatten())
    return torch.cat(features), torch.cat(classes)


def confusion(probe: Probe, maps: Maps, test: Pixels, classes: int) -> Tensor:
    """Count the pixels of each class (rows) that are taken for each (columns), (K, K) int64."""
    counts = torch.zeros(classes**2, dtype=torch.int64)
    for features, truth in test.batches(maps):
        counts += torch.bincount((truth * classes + probe.predict(features)).flatten(), minlength=classes**2)
    return counts.reshape(classes, classes)


def scores(counts: Tensor) -> Mapping[str, float]:
    """Figures of a confusion of which class 0 is the background.

    Returns:
        ``iou``, the mean intersection over union of the classes that there are; ``foreground``, that of all
        that is not background, whichever class it is taken for; ``accuracy``, the share of right pixels. Each
        in [0, 1].
    """
    right, union = counts.diagonal(), counts.sum(0) + counts.sum(1) - counts.diagonal()
    there = union > 0
    shape = counts[1:, 1:].sum()
    return {
        "iou": float((right[there] / union[there]).mean()),
        "foreground": float(shape / (counts.sum() - counts[0, 0])),
        "accuracy": float(right.sum() / counts.sum()),
    }
