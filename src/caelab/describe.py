"""What a run record says of the network, the data and the machine."""

import platform
import subprocess
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch import Trainer
from torch.utils.flop_counter import FlopCounterMode

import caelab
from caelab import compose
from caelab.data.datamodule import ImageDataModule
from caelab.models.autoencoder import Autoencoder
from caelab.speed import Speed


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


def device(trainer: Trainer) -> str:
    """Name of the device that the trainer uses."""
    root = trainer.strategy.root_device
    return torch.cuda.get_device_name(root) if root.type == "cuda" else root.type


def environment(trainer: Trainer, speed: Speed) -> dict[str, Any]:
    """Versions, device, threads, and how the arithmetic was carried out."""
    return {
        "caelab": caelab.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "lightning": lightning.__version__,
        "device": device(trainer),
        "threads": torch.get_num_threads(),
        "devices": trainer.world_size,
        "precision": str(trainer.precision),
        "speed": str(speed),
        "commit": _commit(),
    }


def _commit() -> str | None:
    """Return the commit of the checkout that caelab runs from; None for an installed wheel."""
    conf = Path(compose.CONF)
    if conf.parent == Path(caelab.__file__).parent:
        return None
    try:
        done = subprocess.run(["git", "-C", conf, "rev-parse", "HEAD"], capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return done.stdout.strip() or None
