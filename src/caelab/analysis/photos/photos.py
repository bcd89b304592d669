"""Bits and PSNR of photographs, each coded whole by a network, and by codecs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import torch
from rich.console import RenderableType
from rich.table import Table
from torch import Tensor

from caelab import durable, terminal
from caelab.analysis.photos import picture
from caelab.analysis.rate import codecs, tradeoff
from caelab.analysis.runner import Subject
from caelab.bottlenecks.entropy import Entropy
from caelab.bottlenecks.entropy_coder import Coder
from caelab.bottlenecks.range_coder import library
from caelab.data.datamodule import Split
from caelab.data.pictures import MODES
from caelab.data.scale import unit
from caelab.errors import UserError
from caelab.inference import inputs, stream
from caelab.inference.fitting import WHOLE, Fit
from caelab.inference.images import to_bytes
from caelab.metrics.quality import mse, psnr
from caelab.models.autoencoder import Code
from caelab.models.contract import evaluating
from caelab.models.spatial import Spatial
from caelab.runs import results
from caelab.runs.analyses import Result


class Coded(NamedTuple):
    """A picture, or the mean of several.

    Attributes:
        bits: per pixel, without headers.
        psnr: in dB, of the picture rounded to 8 bits.
    """

    bits: float
    psnr: float


def measure(subject: Subject, images: str | None) -> Result:
    """Code each picture of a folder whole.

    Args:
        subject: a run of ``model=spatial`` with ``bottleneck=entropy``, ``hyperprior`` or ``context``.
        images: path of the folder, or of one picture.

    Returns:
        ``figures``; ``pictures``, of each its ``name``, ``size`` (height, width), ``bits`` per pixel and
        ``psnr`` in dB; ``codecs``: name -> of each quality the means of ``bits`` and ``psnr``; ``skipped``,
        files that could not be read; ``images``, the folder's name.

    Raises:
        UserError: no folder, another network, constriction is missing, or no picture can be read.
    """
    if images is None:
        raise UserError("--images is missing: give the folder of the pictures, such as --images kodak")
    library()
    network = _spatial(subject)
    read = stream.Stream(inputs.sources([Path(images)], subject.run), Fit(network.shape, WHOLE), "coding")
    coder = _entropy(network).coder()
    pictures, others = [], []
    with evaluating(network):
        for x in read.batches(1):
            pixels = to_bytes(x)
            if max(pixels.shape[2:]) > codecs.SIDE:
                file = read.entries.pop().source.file
                read.skipped[file] = f"a side has more than the {codecs.SIDE:,} pixels that WebP can hold"
                continue
            pictures.append(_by_network(network, coder, pixels))
            others.append(_by_codecs(pixels))
    read.tell()
    if not pictures:
        raise UserError(f"--images {images}: no picture in it can be read")
    own, curves = _mean(pictures), _means(others)
    result = {
        "figures": _figures(own, curves),
        "pictures": [
            {"name": entry.source.name, "size": list(entry.size)} | one._asdict()
            for entry, one in zip(read.entries, pictures, strict=True)
        ],
        "codecs": {name: [one._asdict() for one in curve] for name, curve in curves.items()},
        "skipped": sorted(map(str, read.skipped)),
        "images": Path(images).resolve().name,
    }
    _draw({subject.run: result})
    return result


def _spatial(subject: Subject) -> Spatial:
    network, run = subject.network, terminal.shown(subject.run)
    if not (isinstance(network, Spatial) and isinstance(network.bottleneck, Entropy)):
        raise UserError(
            f"{run}: photographs are coded whole by model=spatial or "
            "spatial_auto_decoder with bottleneck=entropy, hyperprior or context; train such a run"
        )
    if network.shape[0] not in MODES:
        raise UserError(
            f"{run}: the network takes images of {network.shape[0]} channels, no pictures; "
            "give a run on grey or RGB images"
        )
    return network


def _entropy(network: Spatial) -> Entropy:
    assert isinstance(network.bottleneck, Entropy)
    return network.bottleneck


def _by_network(network: Spatial, coder: Coder, pixels: Tensor) -> Coded:
    """Code and decode a picture (1, C, H, W) uint8."""
    sized, x = network.at(pixels.shape[1:]), unit(pixels)
    bottleneck = _entropy(sized)
    z = sized.encode(x).z
    symbols = bottleneck.whole(z).int().numpy()
    grids = [bottleneck.grid]
    coded = coder.encode(symbols, grids)
    decoded = bottleneck.value(torch.from_numpy(coder.decode(coded, len(symbols), grids)).float())
    x_hat = unit(to_bytes(sized.decode(Code(decoded.reshape(z.shape)))))
    return Coded(8 * coded.nbytes / pixels[0, 0].numel(), psnr(mse(x_hat, x)).item())


def _by_codecs(pixels: Tensor) -> dict[str, list[Coded]]:
    """Code and decode a picture (1, C, H, W) uint8 by each codec, at each quality."""
    row = torch.zeros(1, dtype=torch.int64)
    split, area = Split(pixels, row, row), pixels[0, 0].numel()
    return {
        name: [Coded(8 * one.payload / area, one.psnr) for one in codecs.curve(split, name)]
        for name in codecs.NAMES
        if name not in codecs.missing()
    }


def _mean(several: Sequence[Coded]) -> Coded:
    return Coded(fmean(one.bits for one in several), fmean(one.psnr for one in several))


def _means(several: Sequence[Mapping[str, Sequence[Coded]]]) -> dict[str, list[Coded]]:
    """Mean over pictures of each codec at each quality."""
    return {
        name: [_mean(one) for one in zip(*(curves[name] for curves in several), strict=True)]
        for name in several[0]
    }


def _figures(own: Coded, curves: Mapping[str, Sequence[Coded]]) -> dict[str, float]:
    """Means over the pictures, and how far they lie above each codec with no more bits."""
    figures = {"photos/bits_per_pixel": own.bits, "photos/psnr": own.psnr}
    for name, curve in curves.items():
        if (other := tradeoff.reached(own.bits, *zip(*curve, strict=True))) is not None:
            figures[f"photos/psnr_over_{name.lower()}"] = own.psnr - other
    return figures


def _points(results: Mapping[Path, Result]) -> list[tuple[float, float]]:
    """Bits per pixel and PSNR of each run, from few bits to many."""
    figures = [one["figures"] for one in results.values()]
    return sorted((one["photos/bits_per_pixel"], one["photos/psnr"]) for one in figures)


def _draw(results: Mapping[Path, Result]) -> None:
    """Draw runs in one picture, and leave it in the directory of each."""
    first = next(iter(results.values()))
    title = f"{len(first['pictures'])} pictures of {first['images']}, coded whole"
    figure = picture.draw(title, _points(results), first["codecs"])
    for run in results:
        with durable.file(run / "photos.png") as file:
            figure.savefig(file)


def table(results: Mapping[Path, Result]) -> Table:
    """Return runs and codecs as a table, a line a setting."""
    first = next(iter(results.values()))
    count = len(first["pictures"])
    shown = Table(title=f"mean of {count:,} pictures of {first['images']}", title_justify="left")
    shown.add_column("coded by", overflow="fold")
    for column in ("bits/pixel", "PSNR (dB)"):
        shown.add_column(column, justify="right")
    for run, one in results.items():
        figures = one["figures"]
        bits, decibels = figures["photos/bits_per_pixel"], figures["photos/psnr"]
        shown.add_row(terminal.shown(run), f"{bits:.3f}", f"{decibels:.2f}")
    for name, curve in first["codecs"].items():
        shown.add_section()
        for point in curve:
            shown.add_row(name, f"{point['bits']:.3f}", f"{point['psnr']:.2f}")
    return shown


def show(run: Path, result: Result) -> Iterator[RenderableType]:
    """Show a run beside codecs."""
    yield table({run: result})


def compare(found: Mapping[Path, Result]) -> Iterator[RenderableType]:
    """Show runs on the same pictures in one table, and draw them as one curve.

    The same are those of one folder, by their names, in grey or in colour.
    """
    groups: dict[str, dict[Path, Result]] = {}
    for run, one in found.items():
        names = [picture["name"] for picture in one["pictures"]]
        channels = results.finished(run).data.shape[0]
        groups.setdefault(json.dumps([one["images"], names, channels]), {})[run] = one
    for group in groups.values():
        if len(group) > 1:
            _draw(group)
            yield table(group)
