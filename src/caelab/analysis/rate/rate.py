"""Rate and distortion of a code, beside what owes nothing to the run."""

import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from caelab import durable, terminal
from caelab.analysis.rate import coded, distortion, indices, picture, published, tradeoff
from caelab.analysis.rate.floors import floors
from caelab.analysis.rate.tradeoff import LOST
from caelab.analysis.runner import Subject
from caelab.bottlenecks.entropy import Entropy
from caelab.bottlenecks.range_coder import library
from caelab.errors import UserError
from caelab.runs import results
from caelab.runs.analyses import Result
from caelab.runs.labels import labels, numbered


def measure(subject: Subject, bits: tuple[int, ...], force: bool) -> Result:
    """Measure rate and distortion of a network on the whole test split of its data.

    What was measured before is taken where it has all these bits. The indices of a discrete code are coded as
    they are, and so are numbers that the bottleneck has rounded, by its own densities.

    Args:
        subject: the run.
        bits: of each quantiser, whole numbers from 1 to 8.
        force: whether to measure again what was measured before.

    Returns:
        ``figures``; ``points``, a line a quantiser, one with ``bits`` 0 where none is needed;
        ``enough``, where ``LOST`` is lost, or None; ``code``: ``numbers``, its ``psnr`` as it is, the share
        ``clipped``, and ``bits`` of one that is discrete; ``images`` of each split; ``image``, its shape; and
        what ``floors`` returns.

    Raises:
        UserError: constriction is missing, fewer than 2 test images, a code that is not finite or partly
            discrete, or a network that does not keep the ``Code`` contract.
    """
    if subject.record.size.bits is not None or "test/bits" in subject.record.metrics:
        bits = (indices.AS_IT_IS,)
    earlier = None if force else subject.earlier
    if earlier is None or not {*bits} <= {point["bits"] for point in earlier["points"]}:
        result = _codes(subject, bits)
    else:
        terminal.note(f"{terminal.shown(subject.run)}: measured before; --force measures it again")
        if "transform" in earlier:
            return earlier
        result = dict(earlier)  # from before there were as many floors
    data = subject.data
    result |= floors(data.splits["train"], data.splits["test"], data.folder.parent)
    result["figures"] = _figures(result)
    _draw({subject.run: result})
    return result


def _codes(subject: Subject, bits: tuple[int, ...]) -> Result:
    """Measure what the codes themselves need."""
    library()
    net, splits = subject.network, subject.data.splits
    watch = partial(terminal.tracked, description="codes")
    try:
        fixed = net.bottleneck.bits
        if isinstance(net.bottleneck, Entropy):
            curve = coded.measure(net, splits["train"], splits["test"], watch)
        elif fixed is None:
            curve = distortion.measure(net, splits["train"], splits["test"], bits, watch)
        else:
            curve = indices.measure(net, splits["train"], splits["test"], watch)
    except UserError as error:
        raise UserError(f"{terminal.shown(subject.run)}: {error}") from None
    points = [point._asdict() for point in curve.points]
    return {
        "points": points,
        "enough": tradeoff.enough(curve.psnr, points),
        "code": {"numbers": curve.numbers, "psnr": curve.psnr, "clipped": curve.clipped}
        | ({} if fixed is None else {"bits": fixed}),
        "images": {"train": curve.training, "test": len(splits["test"])},
        "image": list(net.shape),
    }


def _curves(result: Mapping[str, Any], key: str = "payload") -> dict[str, tradeoff.Curve]:
    """Transform coding by PCA, and each codec: bytes and PSNR (dB) of each setting."""
    curves: dict[str, tradeoff.Curve] = {
        "transform": [(one["rate"] / 8, one["psnr"]) for one in result["transform"] if one["rate"]]
    }
    for name, settings in result["codecs"].items():
        curves[name] = [(one[key], one["psnr"]) for one in settings]
    return {name: curve for name, curve in curves.items() if curve}


def _beside(result: Mapping[str, Any], size: float) -> dict[str, float | None]:
    """What ``_curves`` reach with no more than so many bytes, in dB; None for one that takes more."""
    return {
        name: tradeoff.reached(size, *zip(*curve, strict=True)) for name, curve in _curves(result).items()
    }


def _figures(result: Mapping[str, Any]) -> dict[str, float]:
    code = result["code"]
    figures = {"rate/psnr": code["psnr"]}
    if result["points"][0]["bits"] == indices.AS_IT_IS:
        figures["rate/entropy"] = result["points"][0]["entropy"]
    else:
        figures["rate/float32_bits"] = 32.0 * code["numbers"]
        for point in result["points"]:
            for key, name in {"rate": "bits", "entropy": "entropy", "psnr": "psnr"}.items():
                figures[f"rate/{name}_{point['bits']}"] = point[key]
    if (end := result["enough"]) is not None:
        figures["rate/enough_bits"] = end["rate"]
        figures["rate/bits_per_number"] = end["rate"] / code["numbers"]
        for name, psnr in _beside(result, end["rate"] / 8).items():
            if psnr is not None:
                figures[f"rate/psnr_over_{name.lower()}"] = end["psnr"] - psnr
    return figures


def answer(result: Mapping[str, Any]) -> list[str]:
    """Say in a few lines how many bits the code needs, and what others make of as many."""
    code, end, points = result["code"], result["enough"], result["points"]
    whole = f"{code['psnr']:.2f} dB of {code['numbers']:,} numbers, {32 * code['numbers']:,} bits as float32"
    if end is None:
        lost = code["psnr"] - points[-1]["psnr"]
        line = f"more than {points[-1]['rate'] / code['numbers']:.2f} bits a number: with these "
        return [f"{line}({points[-1]['rate']:,.0f} an image) {lost:.2f} dB are still lost, of {whole}"]
    size = end["rate"] / 8
    if "bits" in code:
        line = f"{end['rate']:,.1f} bits an image; {code['bits']:,.1f} if every entry were as frequent"
    elif not points[0]["bits"]:
        pixels = math.prod(result["image"][1:])
        line = (
            f"{end['rate']:,.1f} bits an image, {end['rate'] / pixels:.3f} a pixel, as its densities code it"
        )
    else:
        bound = "at most " if end["rate"] == points[0]["rate"] else ""
        line = (
            f"{bound}{end['rate'] / code['numbers']:.2f} bits a number, {end['rate']:,.0f} an image, until "
        )
        line += f"{LOST:g} dB is lost, of {whole}"
    lines = [line]
    for key, what in (("payload", "without headers"), ("file", "as whole files")):
        others = []
        for name, curve in _curves(result, key).items():
            psnr = tradeoff.reached(size, *zip(*curve, strict=True))
            others.append(
                f"{name} {f'takes {curve[0][0]:.0f} or more' if psnr is None else f'{psnr:.2f} dB'}"
            )
        others += [f"{name} without loss takes {one[key]:,.0f}" for name, one in result["lossless"].items()]
        if others:
            lines.append(f"at {size:,.0f} bytes: model {end['psnr']:.2f} dB; {what} {', '.join(others)}")
    return lines


def table(result: Mapping[str, Any]) -> Table:
    """Return rate and distortion as a table: a line a quantiser, and the code as it is."""
    images, code = result["images"], result["code"]
    channels, height, width = result["image"]
    pixels = height * width
    shown = Table(
        title=f"{images['test']:,} test images; statistics of {images['train']:,} training images",
        title_justify="left",
        caption="transform coding by PCA, and codecs without headers: PSNR (dB) with no more bytes",
        caption_justify="left",
    )
    heads = ["step", "bits/number", "bits/image", "entropy", "bits/pixel", "bytes", "PSNR (dB)", "lost (dB)"]
    for column in (*heads, *_curves(result)):
        shown.add_column(column, justify="right")
    for point in result["points"]:
        bits = point["rate"]
        step = f"8 sd/{2 ** point['bits']}" if point["bits"] else ("indices" if "bits" in code else "learnt")
        cells = [step, f"{bits / code['numbers']:.2f}", f"{bits:,.1f}"]
        cells += [f"{point['entropy']:,.1f}", f"{bits / pixels:.3f}", f"{bits / 8:,.1f}"]
        cells += [f"{point['psnr']:.2f}", f"{code['psnr'] - point['psnr']:z.2f}"]
        beside = _beside(result, bits / 8).values()
        shown.add_row(*cells, *("-" if psnr is None else f"{psnr:.2f}" for psnr in beside))
    name, own = ("equal entries", code["bits"]) if "bits" in code else ("float32", 32.0 * code["numbers"])
    whole = 8.0 * channels * pixels
    for cells in (
        [name, f"{own / code['numbers']:.2f}", *_sizes(own, pixels), f"{code['psnr']:.2f}"],
        ["the image", "", *_sizes(whole, pixels)],
    ):
        shown.add_row(*cells, style="dim")
    return shown


def _sizes(bits: float, pixels: int) -> list[str]:
    return [f"{bits:,.0f}", "", f"{bits / pixels:.3f}", f"{bits / 8:,.0f}"]


_MINUS = {f"minus {name} (dB)": f"psnr_over_{name.lower()}" for name in ("transform", "JPEG", "WebP", "AVIF")}


def comparison(several: Mapping[Path, Mapping[str, Any]]) -> Table:
    """Return what several runs need as a table, a line a run."""
    heads = ("run", "numbers", "PSNR (dB)", "bits/number", "bits/image", *_MINUS)
    shown = terminal.table(f"until {LOST:g} dB is lost", *heads)
    for name, one in _named(several).items():
        code, figures = one["code"], one["figures"]
        keys = {"bits_per_number": ".2f", "enough_bits": ",.0f"} | dict.fromkeys(_MINUS.values(), "+z.2f")
        cells = [
            format(figures[f"rate/{key}"], form) if f"rate/{key}" in figures else "-"
            for key, form in keys.items()
        ]
        shown.add_row(name, f"{code['numbers']:,}", f"{code['psnr']:.2f}", *cells)
    return shown


def _named(several: Mapping[Path, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Name each run by what tells it from the others."""
    own = labels([results.finished(run) for run in several])
    names = numbered([", ".join(value for value in label.values() if value != "-") for label in own])
    return dict(zip(names, several.values(), strict=True))


def _draw(several: Mapping[Path, Mapping[str, Any]]) -> None:
    """Draw runs on the same test images in one picture, and leave it in the directory of each."""
    lines = {}
    for run, (name, one) in zip(several, _named(several).items(), strict=True):
        lines[name] = picture.line([one], results.finished(run).untrained)
    title = f"{len(several)} runs" if len(several) > 1 else terminal.shown(next(iter(several)))
    run, first = next(iter(several.items()))
    others = published.curves(
        results.finished(run).data.name, first["images"]["test"], math.prod(first["image"][1:])
    )
    figure = picture.draw(f"{title}: what rounding the code costs", lines, first, others)
    for run in several:
        with durable.file(run / "rate.png") as file:
            figure.savefig(file)


def show(run: Path, result: Result) -> Iterator[RenderableType]:
    """Say how many bits the code needs."""
    yield "\n  ".join([f"{terminal.shown(run)}:", *answer(result)])
    yield table(result)


def compare(several: Mapping[Path, Result]) -> Iterator[RenderableType]:
    """Show runs on the same test images in one table, and draw them in one picture."""
    groups: dict[tuple[str, int, str], dict[Path, Result]] = {}
    for run, one in several.items():
        record = results.finished(run)
        key = (record.data.sha256, one["images"]["test"], str(record.classes))
        groups.setdefault(key, {})[run] = one
    for group in groups.values():
        if len(group) > 1:
            yield comparison(group)
            _draw(group)
