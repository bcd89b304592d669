"""Fits the latent of each test image to the image: what the encoder has lost."""

from collections.abc import Iterator
from pathlib import Path

import torch
from rich.console import RenderableType
from rich.table import Table

from caelab import terminal
from caelab.analysis.runner import Subject
from caelab.bottlenecks.bottleneck import Discrete
from caelab.bottlenecks.entropy import Entropy
from caelab.errors import UserError
from caelab.metrics import quality
from caelab.models import refinement
from caelab.models.contract import evaluating, pixels, require_contract
from caelab.plotting import figures
from caelab.runs.analyses import Result

_BATCH = 50  # little, for a bar that moves
_SHOWN = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500)


def measure(subject: Subject, steps: int, images: int) -> Result:
    """Fit the latents of test images to them.

    Args:
        subject: the run.
        steps: of the fit, as in ``caelab.models.refinement.fit``.
        images: how many of the test split's first images; all, where it has fewer.

    Returns:
        ``figures``; ``psnr``, in dB after each step, from that of the encoder's code on; ``images``.

    Raises:
        UserError: a run on corrupted images, a discrete or rounded latent, or a network that does not keep
            the ``Code`` contract.
    """
    _refuse_corrupted(subject)
    net, test = subject.network, subject.data.splits["test"]
    if isinstance(net.bottleneck, Discrete | Entropy):
        run, which = terminal.shown(subject.run), subject.record.choices["bottleneck"]
        why = (
            "is discrete: no small step leads from one entry to the next"
            if isinstance(net.bottleneck, Discrete)
            else "rounds the latent: a fitted one would lie between the steps that are coded"
        )
        raise UserError(f"{run}: bottleneck={which} {why}")
    require_contract(net, test)

    def fitted(rows: torch.Tensor | slice) -> tuple[torch.Tensor, refinement.Fitted]:
        x = pixels(net, test[rows])
        return x, refinement.fit(net, x, net.encode(x), steps)

    count = min(images, len(test))
    values = []
    with evaluating(net):
        for start in terminal.tracked(range(0, count, _BATCH), "fitting latents"):
            x, fit = fitted(slice(start, min(start + _BATCH, count)))
            values.append(quality.psnr(fit.errors.double() / x[0].numel()))
        x, fit = fitted(figures.first_rows(subject.data))
        rows = {"encoder's latent": net(x), f"fitted, {steps} steps": net.decode(fit.code)}
    figures.reconstructions(subject.picture, x.float(), rows)
    curve = torch.cat(values, 1).mean(1).tolist()
    return {
        "figures": {"refine/psnr": curve[-1], "refine/gain": curve[-1] - curve[0]},
        "psnr": curve,
        "images": count,
    }


def _refuse_corrupted(subject: Subject) -> None:
    if (corruption := subject.record.choices.get("corruption", "none")) != "none":
        raise UserError(
            f"{terminal.shown(subject.run)}: trained with corruption={corruption}; a latent fitted "
            "to the clean image would know what the encoder must not see"
        )
    if subject.record.data.paired:
        raise UserError(
            f"{terminal.shown(subject.run)}: trained on pairs of pictures; a latent fitted to the target "
            "would know what the encoder must not see"
        )


def table(result: Result) -> Table:
    """Return PSNR after the encoder and after steps of the fit as a table."""
    curve = result["psnr"]
    title = f"mean of {result['images']:,} test images"
    shown = terminal.table(title, "latent", "PSNR (dB)", "gained (dB)")
    for step in sorted({*(step for step in _SHOWN if step < len(curve)), len(curve) - 1}):
        name = f"fitted, {step} step{'s'[: step != 1]}" if step else "the encoder's"
        shown.add_row(name, f"{curve[step]:.2f}", f"{curve[step] - curve[0]:.2f}" if step else "")
    return shown


def show(run: Path, result: Result) -> Iterator[RenderableType]:
    """Say what the encoder loses."""
    gain = result["figures"]["refine/gain"]
    yield f"{terminal.shown(run)}: by this fit, the encoder loses {gain:.2f} dB"
    yield table(result)
