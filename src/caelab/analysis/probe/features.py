"""What a network makes of images: its code and what each encoder stage puts out, a row an image."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caelab.data.datamodule import Batches, ImageDataModule, Split
from caelab.data.prefetch import require_fit
from caelab.models import contract
from caelab.models.autoencoder import Autoencoder
from caelab.models.pca import PCA
from caelab.models.taps import tapped

IMAGES = {"train": 50_000, "val": 10_000, "test": 10_000}
"""Images of each split at most: more would cost minutes and gigabytes, and move no figure by its interval."""

NUMBERS = 1_024
"""Numbers of a stage's features at most."""

BATCH = 500
_SEED = 2_718_283  # of the images that are taken where there are more; the same for every run

Features = dict[str, Tensor]
"""Split -> (N, D), a row an image; float32, but for pixels."""


def chosen(data: ImageDataModule) -> dict[str, Split]:
    """The images that stand for each split: all, or a fixed subset of ``IMAGES`` where there are more."""
    return {name: data.splits[name].some(limit, _SEED) for name, limit in IMAGES.items()}


def stages(net: nn.Module) -> list[nn.Module]:
    """The stages of ``net.encoder``, outermost first; none where a network has no such module."""
    encoder = getattr(net, "encoder", None)
    return list(encoder.children()) if isinstance(encoder, nn.Module) else []


def pooled(x: Tensor) -> Tensor:
    """Flatten ``x`` (N, C, H, W), or (N, ...), to (N, D).

    Maps of more than ``NUMBERS`` are averaged over blocks of 2x2 first, again and again until they are not,
    or until one number is left of each channel. A block over the edge is averaged over what it has.
    """
    while x.ndim == 4 and x[0].numel() > NUMBERS and max(x.shape[2:]) > 1:
        x = F.avg_pool2d(x, 2, ceil_mode=True)
    return x.flatten(1)  # (N, D)


@torch.inference_mode()
def encode(net: Autoencoder, images: Tensor, taps: Sequence[nn.Module]) -> dict[str, Tensor]:
    """Name -> features of images (N, C, H, W) of a split: ``z``, and ``stage1`` ... of tapped modules."""
    with tapped(taps) as outputs:
        z = net.encode(contract.pixels(net, images)).z
    return {"z": z.float()} | {
        f"stage{place + 1}": pooled(output.float()) for place, output in sorted(outputs.items())
    }


def read(
    net: Autoencoder, splits: Mapping[str, Split], taps: Sequence[nn.Module], tick: Callable[[], object]
) -> dict[str, Features]:
    """Features of every image, in eval mode.

    Args:
        net: the network.
        splits: the images.
        taps: modules whose outputs are features too, ``stage1`` being the first one's.
        tick: called after each of the ``batches(splits)``.

    Returns:
        Name -> split -> (N, D) float32, ``z`` first.
    """
    net.eval()
    found: dict[str, Features] = {}
    for name, split in splits.items():
        parts = []
        for images in Batches(split, BATCH):
            parts.append(encode(net, images, taps))
            tick()
        for key in list(parts[0]):
            found.setdefault(key, {})[name] = torch.cat([part.pop(key) for part in parts])
    return found


def batches(splits: Mapping[str, Split]) -> int:
    """How many batches ``read`` goes through."""
    return sum(len(Batches(split, BATCH)) for split in splits.values())


def pixels(splits: Mapping[str, Split]) -> Features:
    """The images themselves as features, (N, C*H*W) uint8: in float32 they would be four times as large.

    Raises:
        UserError: probing them takes too much memory.
    """
    images, numbers = sum(map(len, splits.values())), splits["train"].images[0].numel()
    least = min(len(splits["train"]), numbers)
    # as they are, centred, and of the smaller Gram matrix a factor and what they are made of
    require_fit("pixels: a probe of them", 5 * images * numbers + 24 * least**2)
    return {name: torch.cat([*Batches(split, BATCH)]).flatten(1) for name, split in splits.items()}


def components(splits: Mapping[str, Split], latent: int) -> Features:
    """Principal components of the training images as features, (N, latent), or as many as there can be."""
    train = splits["train"]
    shape = train.images.shape[1:]
    net = PCA(shape, min(latent, shape.numel(), len(train)))
    net.initialise(train)
    return read(net, splits, [], lambda: None)["z"]
