"""Curves of rate and distortion that others have published, on the data sets on which there are any.

Those on CIFAR-10 are read from the repository of COIN++ (Dupont et al., "COIN++: Neural Compression Across
Modalities", 2022, github.com/EmilienDupont/coinpp), whose authors also trained the two networks of
CompressAI. All are of the whole test split, in bits per pixel, or numbers of a code, and the
mean of each image's PSNR. BPG, JPEG
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
    lines = _lines("published.csv", dataset, test_images)
    return _curves(lines, "bits_per_pixel", pixels)


@cache
def numbers(dataset: str, test_images: int) -> dict[str, Curve]:
    """Name of a method -> numbers of a code, float32 each, and PSNR (dB); as ``curves`` otherwise.

    Args:
        dataset: its name.
        test_images: that were measured here.
    """
    return _curves(_lines("published_numbers.csv", dataset, test_images), "numbers")


def _lines(file: str, dataset: str, test_images: int) -> list[dict[str, str]]:
    text = files(__package__).joinpath(file).read_text(encoding="utf-8")
    every = csv.DictReader(text.splitlines())
    return [one for one in every if (one["dataset"], int(one["test_images"])) == (dataset, test_images)]


def _curves(lines: list[dict[str, str]], column: str, times: int = 1) -> dict[str, Curve]:
    found: dict[str, list[tuple[float, float]]] = {}
    for one in lines:
        found.setdefault(one["method"], []).append((times * float(one[column]), float(one["psnr_db"])))
    return dict(found)
