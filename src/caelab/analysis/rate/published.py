"""Curves of rate and distortion that others have published, on the data sets on which there are any.

Those on CIFAR-10 are read from the repository of COIN++ (Dupont et al., "COIN++: Neural Compression Across
Modalities", 2022, github.com/EmilienDupont/coinpp), whose authors also trained the two networks of
CompressAI. All are of the whole test split, in bits per pixel and the mean of each image's PSNR. BPG, JPEG
and JPEG 2000 count with their headers, which weigh much at 32 pixels a side; the networks without.
"""

import csv
from functools import cache
from importlib.resources import files

from caelab.analysis.rate.tradeoff import Curve


@cache
def curves(dataset: str, test_images: int, pixels: int) -> dict[str, Curve]:
    """Name of a method -> bits per image and PSNR (dB) of what was published; empty where nothing was.

    Args:
        dataset: its name.
        test_images: that were measured here; on others than the whole test split nothing compares.
        pixels: of an image, H * W.
    """
    text = files(__package__).joinpath("published.csv").read_text(encoding="utf-8")
    found: dict[str, list[tuple[float, float]]] = {}
    for one in csv.DictReader(text.splitlines()):
        if (one["dataset"], int(one["test_images"])) == (dataset, test_images):
            bits = pixels * float(one["bits_per_pixel"])
            found.setdefault(one["method"], []).append((bits, float(one["psnr_db"])))
    return dict(found)
