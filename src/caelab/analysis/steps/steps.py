"""PSNR and time of an encoder that takes steps, for several numbers of them."""

import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from matplotlib.figure import Figure
from rich.console import RenderableType
from rich.table import Table
from torch import Tensor

from caelab import durable, terminal
from caelab.analysis.runner import Subject
from caelab.errors import UserError
from caelab.metrics import quality
from caelab.models.autoencoder import Autoencoder
from caelab.models.contract import evaluating, pixels, require_contract
from caelab.plotting.style import LABELS, line_style, sheet, styled
from caelab.runs.analyses import Result

MISSING = 0.05
"""PSNR in dB less than the best that counts as enough."""

_BATCH = 100


def measure(subject: Subject, steps: tuple[int, ...], images: int) -> Result:
    """Encode and decode test images with each number of steps.

    Args:
        subject: the run.
        steps: of the encoder, from few to many.
        images: how many of the test split's first images; all, where it has fewer.

    Returns:
        ``figures``; ``points``, of each number of steps ``steps``, ``psnr`` in dB, mean over the images,
        ``milliseconds`` an image of encoding and, where bits have a price, ``bits`` and ``objective``, which
        is squared error and price together, of a number of the image; ``trained``, the steps in training;
        ``images``; ``threads``.

    Raises:
        UserError: an encoder that takes no steps, or a network that does not keep the ``Code`` contract.
    """
    net, test = subject.network, subject.data.splits["test"]
    if (trained := net.steps) is None:
        shown, name = terminal.shown(subject.run), type(net).__name__
        raise UserError(f"{shown}: the encoder of this {name} takes no steps, unlike model=auto_decoder")
    require_contract(net, test)
    count = min(images, len(test))
    parts = (slice(start, min(start + _BATCH, count)) for start in range(0, count, _BATCH))
    batches = [test.pairs(part) for part in parts]
    points = []
    with evaluating(net):
        for one in terminal.tracked(steps, "encoding"):
            net.steps = one
            point, seconds = _encoded(net, batches)
            points.append({"steps": one, **point, "milliseconds": 1000 * seconds / count})
    best = max(points, key=_worth)
    enough = next(point["steps"] for point in points if _worth(point) >= _worth(best) - MISSING)
    _draw(subject, points, trained)
    return {
        "figures": {"steps/enough": float(enough), "steps/psnr": best["psnr"]},
        "points": points,
        "trained": trained,
        "images": count,
        "threads": torch.get_num_threads(),
    }


def _worth(point: dict[str, float]) -> float:
    """PSNR in dB; where bits have a price, that of an image with the squared error that both cost."""
    return -10 * math.log10(point["objective"]) if "objective" in point else point["psnr"]


def _encoded(net: Autoencoder, batches: list[tuple[Tensor, Tensor]]) -> tuple[dict[str, float], float]:
    """PSNR (dB) of images, with their bits and what these cost, and the seconds that their encoder takes."""
    errors, penalties, seconds = [], [], 0.0
    for given, clean in batches:
        x = pixels(net, given)
        began = time.perf_counter()
        code = net.encode(x)
        seconds += time.perf_counter() - began
        errors.append(quality.mse(net.decode(code), pixels(net, clean)))
        if code.penalty is not None:
            penalties.append(code.penalty)
    error = torch.cat(errors)
    point = {"psnr": quality.psnr(error).mean().item()}
    if (price := net.bottleneck.bit_price) is not None:
        penalty = torch.cat(penalties).mean().item()
        point["bits"] = penalty / price
        point["objective"] = error.mean().item() + penalty / math.prod(net.shape)
    return point, seconds


def _draw(subject: Subject, points: list[dict[str, float]], trained: int) -> None:
    figure = _figure(f"{terminal.shown(subject.run)}: {trained} steps in training", points)
    with durable.file(subject.picture) as file:
        figure.savefig(file)


@styled
def _figure(title: str, points: list[dict[str, float]]) -> Figure:
    figure = sheet(title, 3.2)
    axes = figure.subplots()
    x, y = ([point[key] for point in points] for key in ("milliseconds", "psnr"))
    axes.plot(x, y, **line_style(0))
    for point in points:
        place = (point["milliseconds"], point["psnr"])
        axes.annotate(str(point["steps"]), place, (0, -12), textcoords="offset points", ha="center")
    axes.margins(y=0.15)
    axes.set(xlabel="milliseconds an image; the numbers are steps", ylabel=LABELS["test/psnr"])
    return figure


def table(result: Result) -> Table:
    """Return PSNR and time of each number of steps as a table."""
    shown = Table(
        title=f"mean of {result['images']:,} test images, threads: {result['threads']}", title_justify="left"
    )
    first, priced = result["points"][0]["psnr"], "bits" in result["points"][0]
    for column in ("steps", "PSNR (dB)", "gained (dB)", *["bits"] * priced, "ms an image"):
        shown.add_column(column, justify="right")
    for point in result["points"]:
        steps = f"{point['steps']}{' (trained)' * (point['steps'] == result['trained'])}"
        bits = [f"{point['bits']:,.0f}"] if priced else []
        gained, milliseconds = f"{point['psnr'] - first:.2f}", f"{point['milliseconds']:.2f}"
        shown.add_row(steps, f"{point['psnr']:.2f}", gained, *bits, milliseconds)
    return shown


def show(run: Path, result: Result) -> Iterator[RenderableType]:
    """Say how many steps are enough."""
    enough, best = result["figures"]["steps/enough"], result["figures"]["steps/psnr"]
    priced = " with the price of the bits" if "bits" in result["points"][0] else ""
    yield (
        f"{terminal.shown(run)}: steps to come within {MISSING} dB of the best{priced}, {best:.2f} dB: "
        f"{enough:.0f}"
    )
    yield table(result)
