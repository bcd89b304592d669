"""How many bits does a trained model's code really need? ``python -m caelab.rate RUN...``."""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from caelab import after, compose, durable, locate, mistakes, rate_floors, records, results, screen, trust
from caelab.analysis import tradeoff
from caelab.analysis.tradeoff import FINEST, LOST
from caelab.errors import UserError
from caelab.labels import labels

if TYPE_CHECKING:  # it brings torch
    from caelab.data.datamodule import ImageDataModule

_USAGE = """caelab-rate RUN [RUN ...] [--bits 2,4,8] [--force]

Rounds the codes of each finished run in directory RUN to steps of several sizes, really codes them with a
range coder and decodes them again, and measures bits per image and the PSNR of what the decoder makes of
them, on the whole test split, beside transform coding by PCA, JPEG, WebP and AVIF. Steps, axes and the
coder's models come from training images alone. Writes RUN/rate.json and RUN/rate.png; runs of one dataset
that are given together share it.

  caelab-rate multirun/runs/cifar10/improved-mse-adam-s0-0123456789
  caelab-rate multirun/runs/cifar10/{pca,base,improved}-* --bits 2,4,6
"""

NAME = "rate"
BITS = (1, 2, 3, 4, 5, 6, 8)
"""Of the quantisers: 2^b steps span eight standard deviations."""


def rate(run: Path, bits: Sequence[int] = BITS) -> dict[str, Any]:
    """Measure rate and distortion of a finished run's best checkpoint on the whole test split of its data.

    Args:
        run: the run's directory.
        bits: of each quantiser, whole numbers from 1 to 8.

    Returns:
        ``figures``, by key as in ``docs/metrics.md``; ``points``, a line a quantiser; ``enough``, where
        ``LOST`` is lost, or None; ``code``: ``numbers``, its ``psnr`` as it is, and the share ``clipped``;
        ``images`` of each split; ``image``, its shape; ``seconds`` of these; and what ``rate_floors.floors``
        returns. Also written to ``rate.json`` of the run's directory, beside ``rate.png``.

    Raises:
        UserError: bits that cannot be, constriction is missing, no finished run, no checkpoint, data that
            cannot be had, fewer than 2 test images, a code that is not finite, or a network that does not
            keep the ``Code`` contract.
    """
    bits = _checked(bits)
    record = results.finished(run)
    from caelab.analysis import distortion, quantisation
    from caelab.restore import datamodule, load

    quantisation.library()
    began = time.perf_counter()
    net, data = load(run), datamodule(record)
    data.prepare_data()
    data.setup("test")
    train, test = data.splits["train"], data.splits["test"]
    try:
        curve = distortion.measure(net, train, test, bits, partial(screen.tracked, description="codes"))
    except UserError as error:
        raise UserError(f"{screen.shown(run)}: {error}") from None
    points = [point._asdict() for point in curve.points]
    found = {
        "figures": {},
        "points": points,
        "enough": tradeoff.enough(curve.psnr, points),
        "code": {"numbers": curve.numbers, "psnr": curve.psnr, "clipped": curve.clipped},
        "images": {"train": curve.training, "test": len(test)},
        "image": list(net.shape),
        "seconds": time.perf_counter() - began,
    }
    return _beside_floors(run, record, found, data)


def _beside_floors(
    run: Path, record: results.Record, found: dict[str, Any], data: "ImageDataModule"
) -> dict[str, Any]:
    """Measure the floors on the same images, and leave all that was found with the run."""
    found |= rate_floors.floors(data.splits["train"], data.splits["test"])
    found["figures"] = _figures(found)
    results.write_analysis(run, NAME, record, found)
    draw({run: found})
    return found


def _checked(bits: Sequence[int]) -> list[int]:
    """Refuse bits that no quantiser here has."""
    good = all(type(b) is int and 1 <= b <= FINEST for b in bits)
    if not bits or not good:
        given = ",".join(map(str, bits))
        raise UserError(f"--bits {given}: give whole numbers from 1 to {FINEST}, such as --bits 2,4,8")
    return sorted(set(bits))


def _curves(found: Mapping[str, Any], key: str = "payload") -> dict[str, tradeoff.Curve]:
    """Transform coding by PCA, and each codec: bytes and PSNR (dB) of each setting."""
    curves: dict[str, tradeoff.Curve] = {
        "transform": [(one["rate"] / 8, one["psnr"]) for one in found["transform"] if one["rate"]]
    }
    for name, settings in found["codecs"].items():
        curves[name] = [(one[key], one["psnr"]) for one in settings]
    return {name: curve for name, curve in curves.items() if curve}


def _beside(found: Mapping[str, Any], size: float) -> dict[str, float | None]:
    """What ``_curves`` reach with no more than so many bytes, in dB; None for one that takes more."""
    return {name: tradeoff.reached(size, *zip(*curve, strict=True)) for name, curve in _curves(found).items()}


def _figures(found: Mapping[str, Any]) -> dict[str, float]:
    code = found["code"]
    figures = {f"{NAME}/psnr": code["psnr"], f"{NAME}/float32_bits": 32.0 * code["numbers"]}
    for point in found["points"]:
        for key, name in {"rate": "bits", "entropy": "entropy", "psnr": "psnr"}.items():
            figures[f"{NAME}/{name}_{point['bits']}"] = point[key]
    if (end := found["enough"]) is not None:
        figures[f"{NAME}/enough_bits"] = end["rate"]
        figures[f"{NAME}/bits_per_number"] = end["rate"] / code["numbers"]
        for name, psnr in _beside(found, end["rate"] / 8).items():
            if psnr is not None:
                figures[f"{NAME}/psnr_over_{name.lower()}"] = end["psnr"] - psnr
    return figures


def answer(found: Mapping[str, Any]) -> list[str]:
    """Say in a few lines how many bits the code needs, and what others make of as many."""
    code, end, points = found["code"], found["enough"], found["points"]
    whole = f"{code['psnr']:.2f} dB of {code['numbers']:,} numbers, {32 * code['numbers']:,} bits as float32"
    if end is None:
        lost = code["psnr"] - points[-1]["psnr"]
        line = f"more than {points[-1]['rate'] / code['numbers']:.2f} bits a number: with these "
        return [f"{line}({points[-1]['rate']:,.0f} an image) {lost:.2f} dB are still lost, of {whole}"]
    bound = "at most " if end["rate"] == points[0]["rate"] else ""
    size = end["rate"] / 8
    lines = [
        f"{bound}{end['rate'] / code['numbers']:.2f} bits a number, {end['rate']:,.0f} an image, until "
        f"{LOST:g} dB is lost, of {whole}"
    ]
    for key, what in (("payload", "without headers"), ("file", "as whole files")):
        others = []
        for name, curve in _curves(found, key).items():
            psnr = tradeoff.reached(size, *zip(*curve, strict=True))
            others.append(
                f"{name} {f'takes {curve[0][0]:.0f} or more' if psnr is None else f'{psnr:.2f} dB'}"
            )
        others += [f"{name} without loss takes {one[key]:,.0f}" for name, one in found["lossless"].items()]
        if others:
            lines.append(f"at {size:,.0f} bytes: model {end['psnr']:.2f} dB; {what} {', '.join(others)}")
    return lines


def table(found: Mapping[str, Any]) -> Table:
    """Return rate and distortion as a table: a line a quantiser, and the code as it is."""
    images, code = found["images"], found["code"]
    channels, height, width = found["image"]
    pixels = height * width
    shown = Table(
        title=f"{images['test']:,} test images; statistics of {images['train']:,} training images",
        title_justify="left",
        caption="transform coding by PCA, and codecs without headers: PSNR (dB) with no more bytes",
        caption_justify="left",
    )
    heads = ["step", "bits/number", "bits/image", "entropy", "bits/pixel", "bytes", "PSNR (dB)", "lost (dB)"]
    for column in (*heads, *_curves(found)):
        shown.add_column(column, justify="right")
    for point in found["points"]:
        bits = point["rate"]
        cells = [f"8 sd/{2 ** point['bits']}", f"{bits / code['numbers']:.2f}", f"{bits:,.1f}"]
        cells += [f"{point['entropy']:,.1f}", f"{bits / pixels:.3f}", f"{bits / 8:,.1f}"]
        cells += [f"{point['psnr']:.2f}", f"{code['psnr'] - point['psnr']:z.2f}"]
        beside = _beside(found, bits / 8).values()
        shown.add_row(*cells, *("-" if psnr is None else f"{psnr:.2f}" for psnr in beside))
    for name, each, numbers, psnr in (
        ("float32", "32.00", 4 * code["numbers"], f"{code['psnr']:.2f}"),
        ("the image", "", channels * pixels, ""),
    ):
        cells = [name, each, f"{8 * numbers:,}", "", f"{8 * numbers / pixels:.3f}", f"{numbers:,}", psnr]
        shown.add_row(*cells, style="dim")
    return shown


_MINUS = {f"minus {name} (dB)": f"psnr_over_{name.lower()}" for name in ("transform", "JPEG", "WebP", "AVIF")}


def comparison(found: Mapping[Path, Mapping[str, Any]]) -> Table:
    """Return what several runs need as a table, a line a run."""
    shown = Table(title=f"until {LOST:g} dB is lost", title_justify="left")
    heads = ("run", "numbers", "PSNR (dB)", "bits/number", "bits/image", *_MINUS)
    for column in heads:
        shown.add_column(column, justify="left" if column == "run" else "right")
    for name, one in _named(found).items():
        code, figures = one["code"], one["figures"]
        keys = {"bits_per_number": ".2f", "enough_bits": ",.0f"} | dict.fromkeys(_MINUS.values(), "+z.2f")
        cells = [
            format(figures[f"{NAME}/{key}"], form) if f"{NAME}/{key}" in figures else "-"
            for key, form in keys.items()
        ]
        shown.add_row(name, f"{code['numbers']:,}", f"{code['psnr']:.2f}", *cells)
    return shown


def _named(found: Mapping[Path, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Name each run by what tells it from the others."""
    told = labels([results.finished(run) for run in found])
    names = [", ".join(value for value in label.values() if value != "-") for label in told]
    return dict(zip(names, found.values(), strict=True))


def draw(found: Mapping[Path, Mapping[str, Any]]) -> None:
    """Draw runs on the same test images in one picture, and leave it in the directory of each."""
    from caelab.report import rates

    lines = {}
    for run, (name, one) in zip(found, _named(found).items(), strict=True):
        lines[name] = rates.line([one], records.untrained(results.finished(run)))
    title = f"{', '.join(screen.shown(run) for run in found)}" if len(found) == 1 else f"{len(found)} runs"
    figure = rates.draw(f"{title}: what rounding the code costs", lines, next(iter(found.values())))
    for run in found:
        with durable.file(run / f"{NAME}.png") as file:
            figure.savefig(file)


def _taken(run: Path, bits: Sequence[int], force: bool) -> dict[str, Any]:
    """What was measured before, where it has all these bits; else measure."""
    record = results.finished(run)
    found = None if force else results.analysis(run, NAME, record)
    if found is None or not {*bits} <= {point["bits"] for point in found["points"]}:
        return rate(run, bits)
    screen.note(f"{screen.shown(run)}: measured before; --force measures it again")
    return found if "transform" in found else _completed(run, record, found)


def _completed(run: Path, record: results.Record, found: dict[str, Any]) -> dict[str, Any]:
    """Measure the floors anew, beside codes that were measured before there were as many floors."""
    from caelab.restore import datamodule

    data = datamodule(record)
    data.prepare_data()
    data.setup("test")
    return _beside_floors(run, record, found, data)


def _show(run: Path, found: dict[str, Any]) -> None:
    screen.say("\n  ".join([f"{screen.shown(run)}:", *answer(found)]))
    screen.console.print(table(found))


def main() -> None:
    """Entry point: exit status 0 when every run was measured."""
    parser = argparse.ArgumentParser(prog=f"caelab-{NAME}", usage=_USAGE)
    parser.add_argument("runs", nargs="+", type=locate.argument, metavar="RUN", help=locate.HELP)
    default = ",".join(map(str, BITS))
    steps = f"2^B steps span eight standard deviations, for each B from 1 to {FINEST} (default {default})"
    parser.add_argument("--bits", default=default, metavar="B,...", help=steps)
    parser.add_argument("--force", action="store_true", help="measure again what was measured before")
    trust.option(parser)
    given = parser.parse_args()
    with mistakes.told(compose.explain):
        bits = _checked([int(b) if b.isdecimal() else b for b in given.bits.split(",")])
    found: dict[Path, dict[str, Any]] = {}

    def show(run: Path, one: dict[str, Any]) -> None:
        found[run] = one
        _show(run, one)

    good = after.each(NAME, given.runs, partial(_taken, bits=bits, force=given.force), show)
    for group in _by_images(found):
        if len(group) > 1:
            screen.console.print(comparison(group))
            draw(group)
    if not good:
        sys.exit(1)


def _by_images(found: Mapping[Path, dict[str, Any]]) -> list[dict[Path, dict[str, Any]]]:
    """The runs that were measured on the same test images, together."""
    groups: dict[tuple[str, int], dict[Path, dict[str, Any]]] = {}
    for run, one in found.items():
        key = (results.finished(run)["data"]["sha256"], one["images"]["test"])
        groups.setdefault(key, {})[run] = one
    return list(groups.values())


if __name__ == "__main__":
    main()
