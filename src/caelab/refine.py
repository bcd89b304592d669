"""Is the encoder or the decoder the limit? ``python -m caelab.refine RUN...``."""

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from caelab import after, compose, locate, mistakes, results, screen, trust
from caelab.errors import UserError

_USAGE = """caelab-refine RUN [RUN ...] [--steps 20] [--images 1000]

Fits the latent of each test image to the image, from the encoder's on, by the decoder of each finished run in
directory RUN: what that gains, the encoder has lost. Skips stay as they are. Takes the first images of the
test split. Writes RUN/refine.json and RUN/refine.png.

  caelab-refine multirun/runs/cifar10/improved-mse-adam-s0-0123456789
  caelab-refine multirun/runs/cifar10/{base,improved}-* --images 10000
"""

NAME = "refine"
STEPS, IMAGES = 20, 1000
_BATCH = 50  # little, for a bar that moves
_SHOWN = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500)


def refine(run: Path, steps: int = STEPS, images: int = IMAGES) -> dict[str, Any]:
    """Fit the latents of test images to them, with a finished run's best checkpoint.

    Args:
        run: the run's directory.
        steps: of the fit, as in ``caelab.refinement.fit``.
        images: how many of the test split's first images; all, where it has fewer.

    Returns:
        ``figures``, by key as in ``docs/metrics.md``; ``psnr``, in dB after each step, from that of the
        encoder's code on; ``images``; ``seconds``. Also written to ``refine.json`` of the run's directory,
        beside ``refine.png``.

    Raises:
        UserError: steps or images below 1, a run on corrupted images, no finished run, no checkpoint, data
            that cannot be had, or a network that does not keep the ``Code`` contract.
    """
    _check(steps, images)
    record = results.finished(run)
    if (corruption := record["choices"].get("corruption", "none")) != "none":
        raise UserError(
            f"{screen.shown(run)}: trained with corruption={corruption}; a latent that is fitted to the "
            "clean image would know what the encoder must not see"
        )
    import torch

    from caelab import figures, quality, refinement
    from caelab.analysis import bypass
    from caelab.restore import datamodule, load

    began = time.perf_counter()
    net, data = load(run), datamodule(record)
    data.prepare_data()
    data.setup("test")
    test = data.splits["test"]
    bypass.require_contract(net, test)

    def fitted(rows: torch.Tensor | slice) -> tuple[torch.Tensor, refinement.Fitted]:
        x = (test[rows].float() / 255).to(net.weight.dtype)
        return x, refinement.fit(net, x, net.encode(x), steps)

    count = min(images, len(test))
    found = []
    with bypass.evaluating(net):
        for start in screen.tracked(range(0, count, _BATCH), "fitting latents"):
            x, fit = fitted(slice(start, min(start + _BATCH, count)))
            found.append(quality.psnr(fit.errors.double() / x[0].numel()))
        x, fit = fitted(figures.first_rows(data))
        rows = {"encoder's latent": net(x), f"fitted, {steps} steps": net.decode(fit.code)}
    figures.reconstructions(run / f"{NAME}.png", x.float(), rows)
    curve = torch.cat(found, 1).mean(1).tolist()
    result = {
        "figures": {f"{NAME}/psnr": curve[-1], f"{NAME}/gain": curve[-1] - curve[0]},
        "psnr": curve,
        "images": count,
        "seconds": time.perf_counter() - began,
    }
    results.write_analysis(run, NAME, record, result)
    return result


def _check(steps: int, images: int) -> None:
    for name, value in (("steps", steps), ("images", images)):
        if value < 1:
            raise UserError(f"--{name} {value}: must be at least 1")


def table(found: dict[str, Any]) -> Table:
    """Return PSNR after the encoder and after steps of the fit as a table."""
    curve = found["psnr"]
    shown = Table(title=f"mean of {found['images']:,} test images", title_justify="left")
    for column in ("latent", "PSNR (dB)", "gained (dB)"):
        shown.add_column(column, justify="left" if column == "latent" else "right")
    for step in sorted({*(step for step in _SHOWN if step < len(curve)), len(curve) - 1}):
        name = f"fitted, {step} step{'s'[: step != 1]}" if step else "the encoder's"
        shown.add_row(name, f"{curve[step]:.2f}", f"{curve[step] - curve[0]:.2f}" if step else "")
    return shown


def _show(run: Path, found: dict[str, Any]) -> None:
    gain = found["figures"][f"{NAME}/gain"]
    screen.say(f"{screen.shown(run)}: {gain:.2f} dB are lost in the encoder, as far as this finds")
    screen.console.print(table(found))


def main() -> None:
    """Entry point: exit status 0 when every run was measured."""
    parser = argparse.ArgumentParser(prog=f"caelab-{NAME}", usage=_USAGE)
    parser.add_argument("runs", nargs="+", type=locate.argument, metavar="RUN", help=locate.HELP)
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of the fit (default {STEPS})")
    images = f"how many of the test split's first images (default {IMAGES:,})"
    parser.add_argument("--images", type=int, default=IMAGES, help=images)
    trust.option(parser)
    given = parser.parse_args()
    with mistakes.told(compose.explain):
        _check(given.steps, given.images)
    if not after.each(NAME, given.runs, partial(refine, steps=given.steps, images=given.images), _show):
        sys.exit(1)


if __name__ == "__main__":
    main()
