"""Features of images: what a small classifier makes of them, which is trained once for each dataset."""

import hashlib
import json
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caelab import terminal
from caelab.data.cache import Arrays, open_or_build
from caelab.data.datamodule import ImageDataModule, Split
from caelab.data.scale import unit

FOLDER = "features"
"""How the name of the folder begins, beside those of datasets, that keeps the classifier of one."""

WIDTHS = (32, 64, 64)
"""Channels of the classifier's stages; the last are the features."""

STEPS = 800
"""Of training: as many images as 50,000 twice."""

_BATCH = 128
_RATE = 0.01  # the highest learning rate
_SEED = 1_414_213  # of weights and batches, the same for every run


class Classifier(nn.Module):
    """Three stages of convolution, norm, ReLU and 2x2 pooling; their mean over the image; a linear layer.

    Args:
        channels: of an image.
        classes: how many there are.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for n_in, n_out in zip((channels, *WIDTHS), WIDTHS, strict=False):
            stages += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU()]
            stages += [nn.MaxPool2d(2, ceil_mode=True)]
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(WIDTHS[-1], classes)

    def features(self, images: Tensor) -> Tensor:
        """Map images (N, C, H, W) of a split to their features (N, ``WIDTHS[-1]``) float32."""
        features: Tensor = self.stages(unit(images)).mean((2, 3))
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, C, H, W) of a split to a score of each class, (N, classes)."""
        scores: Tensor = self.head(self.features(images))
        return scores

    @torch.inference_mode()
    def read(self, batches: Iterable[Tensor]) -> Tensor:
        """Features of images that come in batches (n, C, H, W) of a split: (N, ``WIDTHS[-1]``)."""
        return torch.cat([self.features(batch) for batch in batches])

    @torch.inference_mode()
    def accuracy(self, features: Tensor, labels: Tensor) -> float:
        """Share of images whose class (N,) is told from their features (N, ``WIDTHS[-1]``)."""
        return float((self.head(features).argmax(1) == labels).double().mean())


def classifier(data: ImageDataModule) -> Classifier:
    """Return the classifier of a dataset, in eval mode: from the data folder, or trained now and kept there.

    It sees all training images of the dataset, whichever of them a run was trained on, so that all runs have
    the same features.

    Args:
        data: set up.

    Raises:
        UserError: the data folder cannot be read or written.
    """
    splits, sha256 = data.load()
    train = splits["train"]
    recipe = [sha256, WIDTHS, STEPS, _BATCH, _RATE, _SEED]
    key = hashlib.sha256(json.dumps(recipe).encode() + train.index.numpy().tobytes()).hexdigest()
    folder = data.folder.parent / f"{FOLDER}-{data.name}-{key[:16]}"
    opened = open_or_build(
        folder, f"features of {data.name}", lambda: _arrays(trained(train, len(data.class_names)))
    )
    net = Classifier(train.images.shape[1], len(data.class_names))
    net.load_state_dict(opened.arrays)
    return net.eval()


def _arrays(net: Classifier) -> Arrays:
    return {name: np.ascontiguousarray(value.numpy()) for name, value in net.state_dict().items()}


def trained(train: Split, classes: int) -> Classifier:
    """Train a classifier, in ``STEPS`` steps with one cycle of the learning rate (Smith 2018)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        net = Classifier(train.images.shape[1], classes)
    optimizer = torch.optim.Adam(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, STEPS)
    labels, generator = train.targets, torch.Generator().manual_seed(_SEED)
    for _ in terminal.tracked(range(STEPS), "training the classifier whose features are compared"):
        rows = torch.randint(len(train), (_BATCH,), generator=generator)
        loss = F.cross_entropy(net(train[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return net.eval()
