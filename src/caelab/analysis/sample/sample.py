"""Samples of a trained network from priors of its code, held against images that it was not trained on."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import torch
from rich.console import RenderableType
from rich.table import Table
from torch import Tensor

from caelab import durable, terminal
from caelab.analysis.runner import Subject
from caelab.analysis.sample import DISTANCES, FIGURES, PRIORS, features, inception, picture
from caelab.analysis.sample.likeness import NEIGHBOURS, Reference
from caelab.analysis.sample.priors import FITS, save
from caelab.data.datamodule import EVALUATION_BATCH, Split
from caelab.errors import UserError
from caelab.inference.images import to_bytes
from caelab.metrics.reliance import starts
from caelab.models.autoencoder import Autoencoder, Code
from caelab.models.contract import encoded, evaluating, require_contract
from caelab.runs.analyses import Result

CODES = 50_000
"""Training images at most whose codes a prior is fitted to."""

IMAGES = 10_000
"""Images at most of each set that is compared."""

_HEADS = DISTANCES | {"frechet": "Fréchet distance"}
_SEED = 3_141_593  # of the images that are taken where there are more; the same for every run


def measure(subject: Subject, prior: tuple[str, ...], number: int, fid: bool, seed: int) -> Result:
    """Draw from priors, decode, and compare with validation images; test images are compared likewise.

    All sets have equally many images, so that their figures can be compared.

    Args:
        subject: the run.
        prior: names, keys of ``FITS``.
        number: of samples in the picture.
        fid: whether FID is measured, too.
        seed: of draws and fits.

    Returns:
        ``figures``; ``sets``, the figures of each set of images; ``priors``, what each is; ``images``, how
        many were used for what; ``classifier``; ``number`` and ``seed``.

    Raises:
        UserError: a discrete or very long code, skips, no classes, too few images, a code that is not
            finite, what a prior refuses, or what FID lacks.
    """
    run = terminal.shown(subject.run)
    _refuse(subject, run, fid)
    metric = inception.metric() if fid else None
    net, splits = subject.network, subject.data.splits
    if len(subject.data.class_names) < 2:
        raise UserError(
            f"{run}: its images have no classes, and samples are compared by the features of a classifier"
        )
    count = min(len(splits["val"]), len(splits["test"]), IMAGES)
    if count <= NEIGHBOURS:
        raise UserError(
            f"{run}: {count} validation or test images are too few; samples are compared with more than "
            f"{NEIGHBOURS} images"
        )
    train = splits["train"].some(CODES, _SEED)
    real, test = (splits[name].some(count, _SEED) for name in ("val", "test"))
    try:
        z = _codes(net, train)
        require_contract(net, test)
        priors = {name: FITS[name](z, net.bottleneck, seed) for name in prior}
    except UserError as error:
        raise UserError(f"{run}: {error}") from None
    sources = {name: partial(_samples, net, one.draw(count, seed)) for name, one in priors.items()}
    sources |= {"reconstructions": partial(_reconstructions, net, test), "images": partial(_batches, test)}
    judge = features.classifier(subject.data)
    seen = judge.read(_batches(real))
    reference = Reference(seen)
    distance = metric and inception.Fid(metric, _batches(real), net.weight.device)
    sets: dict[str, dict[str, float]] = {}
    shown: dict[str, Tensor] = {}
    for name, source in terminal.tracked(sources.items(), "comparing images", len(sources)):
        kept: list[Tensor] = []
        sets[name] = reference.likeness(judge.read(_keeping(source(), number, kept)))._asdict()
        if distance:
            sets[name]["fid"] = distance(source())
        shown[name] = torch.cat(kept)
    result = {
        "figures": _figures(sets),
        "sets": sets,
        "priors": {name: one.about for name, one in priors.items()},
        "images": {"train": len(train), "each": count},
        "classifier": {
            "accuracy": judge.accuracy(seen, real.targets),
            "classes": len(subject.data.class_names),
        },
        "number": number,
        "seed": seed,
    }
    save(priors, subject.picture.with_suffix(".npz"), seed)
    with durable.file(subject.picture) as file:
        picture.draw(run, {_title(name): (sets[name], x) for name, x in shown.items()}).savefig(file)
    return result


def _refuse(subject: Subject, run: str, fid: bool) -> None:
    """Refuse what has no prior of its latent alone, or no FID, before data are fetched for it."""
    subject.require_short()
    size, channels = subject.record.size, subject.record.data.shape[0]
    if fid and channels not in (1, 3):
        raise UserError(f"{run}: its images have {channels} channels; --fid takes grey or RGB images")
    if size.bits is not None:
        raise UserError(
            f"{run}: its latent is discrete ({size.bits:,.0f} bits an image); "
            "caelab sample needs a continuous one"
        )
    if size.effective_code > size.latent:
        raise UserError(
            f"{run}: {size.effective_code - size.latent:,} numbers an image go around its latent in "
            "skips, so a latent alone cannot be decoded; caelab sample takes networks without skips"
        )


def _codes(net: Autoencoder, train: Split) -> Tensor:
    """Latents (N, latent) float32 of training images."""
    watched = terminal.tracked(starts(train), "training codes")
    with evaluating(net):
        parts = [encoded(net, train.given[start : start + EVALUATION_BATCH]).z.float() for start in watched]
    z = torch.cat(parts)  # outside of inference, so that a prior may be fitted to it by gradients
    if not z.isfinite().all():
        raise UserError("the codes of its training images are not finite")
    return z


def _samples(net: Autoencoder, z: Tensor) -> Iterator[Tensor]:
    """What the decoder makes of codes (N, latent), in batches (n, C, H, W) uint8."""
    with evaluating(net):
        for part in torch.split(z, EVALUATION_BATCH):
            yield to_bytes(net.decode(Code(part.to(net.weight))))


def _reconstructions(net: Autoencoder, split: Split) -> Iterator[Tensor]:
    return (to_bytes(net.reconstruct(images)) for images in _batches(split.given))


def _batches(split: Split) -> Iterator[Tensor]:
    return (split[start : start + EVALUATION_BATCH] for start in starts(split))


def _keeping(batches: Iterator[Tensor], number: int, kept: list[Tensor]) -> Iterator[Tensor]:
    """Pass batches on, and keep the first images."""
    for batch in batches:
        if (missing := number - sum(map(len, kept))) > 0:
            kept.append(batch[:missing])
        yield batch


def _figures(sets: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    figures = {f"sample/{key}_{name}": value for name, found in sets.items() for key, value in found.items()}
    if "normal" in sets:
        normal = sets["normal"]
        for name in PRIORS.keys() & sets.keys() - {"normal"}:
            figures[f"sample/frechet_gain_{name}"] = normal["frechet"] - sets[name]["frechet"]
            figures[f"sample/coverage_gain_{name}"] = sets[name]["coverage"] - normal["coverage"]
    return figures


def _title(name: str) -> str:
    """What a set of images is called."""
    others = {"reconstructions": "reconstructions of test images", "images": "test images"}
    return others.get(name) or f"samples, {PRIORS[name]} prior"


def show(run: Path, result: Result) -> Iterator[RenderableType]:
    """Say what each prior is, and show the figures of each set of images."""
    lines = [f"{name}: {about}" for name, about in result["priors"].items()]
    yield "\n  ".join([f"{terminal.shown(run)}:", *lines])
    yield table(result)


def table(result: Result) -> Table:
    """Return the figures as a table, a line a set of images."""
    images, judge = result["images"], result["classifier"]
    measured = [key for key in FIGURES if all(key in found for found in result["sets"].values())]
    shown = terminal.table(
        f"{images['each']:,} images of each kind, held against {images['each']:,} validation images",
        *("images", *(_HEADS.get(key, key) for key in measured)),
        caption=f"on the features of a classifier, right about {100 * judge['accuracy']:.1f} % of them; "
        "test images have what samples of a perfect model would have",
    )
    for name, found in result["sets"].items():
        cells = [f"{found[key]:.2f}" if key in DISTANCES else f"{found[key]:.3f}" for key in measured]
        shown.add_row(_title(name), *cells)
    return shown
