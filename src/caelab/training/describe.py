"""What a run record says of the network and the data."""

from dataclasses import replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from caelab.data.datamodule import ImageDataModule
from caelab.models.autoencoder import Autoencoder
from caelab.runs.record import Data, Size


def network(net: Autoencoder) -> Size:
    """Sizes of a network: numbers learnt, latent, effective code, FLOPs of one forward pass, input, bits."""
    image = torch.zeros(1, *net.shape, device=net.weight.device, dtype=net.weight.dtype)
    net.eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        code = net.encode(image)
        net.decode(code)
    return Size(
        net.size, net.latent, code.numbers, counter.get_total_flops(), image.numel(), net.bottleneck.bits
    )


def dataset(data: ImageDataModule) -> Data:
    """Name, images in each split, shape of one, and checksum; type and range where values are no bytes."""
    train, val, test = (data.splits[name] for name in ("train", "val", "test"))
    known = Data(
        data.name, len(train), len(val), len(test), list(data.shape), data.sha256, paired=data.paired
    )
    if train.images.dtype == torch.uint8:
        return known
    dtype = str(train.images.dtype).removeprefix("torch.")
    return replace(known, dtype=dtype, between=list(train.between))
