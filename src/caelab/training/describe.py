"""What a run record says of the network and the data."""

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from caelab.data.datamodule import ImageDataModule
from caelab.models.autoencoder import Autoencoder


def network(net: Autoencoder) -> dict[str, int]:
    """Sizes of a network: numbers learnt, latent, effective code, FLOPs of one forward pass, input."""
    image = torch.zeros(1, *net.shape, device=net.weight.device, dtype=net.weight.dtype)
    net.eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        code = net.encode(image)
        net.decode(code)
    return {
        "parameters": net.size,
        "latent": net.latent,
        "effective_code": code.numbers,
        "flops_per_image": counter.get_total_flops(),
        "input_numbers": image.numel(),
    }


def dataset(data: ImageDataModule) -> dict[str, Any]:
    """Name, images in each split, shape of an image, and checksum."""
    counts = {name: len(data.splits[name]) for name in ("train", "val", "test")}
    return {"name": data.name, **counts, "shape": list(data.shape), "sha256": data.sha256}
