"""What is listed of runs: from here the screen, ``caelab runs`` and reports take their columns."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from caelab.metrics.measures import measures
from caelab.runs.record import Record

Bounds = tuple[float, float]

SHARE: Bounds = (0.0, 1.0)
"""Bounds of a share, an accuracy or a probability."""
POSITIVE: Bounds = (0.0, math.inf)
_SSIM: Bounds = (-1.0, 1.0)
_TIME = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True)
class Column:
    """A figure of a run, or what else is told of it.

    Attributes:
        path: key of a figure, such as ``test/psnr``; or its place in the record, such as ``size.latent``.
        meaning: what it is, with its unit.
        form: format of its numbers where people read them; empty: it is text.
        title: what tables on the screen and in reports call it; empty: they leave it out.
        bounds: least and greatest value that it can have.
        claims: whether a study's claim can be about it, if it is a figure: more of it is better.
    """

    path: str
    meaning: str
    form: str = ""
    title: str = ""
    bounds: Bounds = (-math.inf, math.inf)
    claims: bool = True

    @property
    def kind(self) -> str:
        """Its type in SQL."""
        if self.form == _TIME:
            return "TIMESTAMP"
        return {"f": "DOUBLE", "g": "DOUBLE", ",": "BIGINT", "d": "BIGINT"}.get(self.form[-1:], "VARCHAR")

    def value(self, record: Record, figures: Mapping[str, float]) -> Any:
        """Return what a run has; None where it has nothing.

        Args:
            record: of the run.
            figures: of the run, by key.
        """
        if "/" in self.path:
            return figures.get(self.path)
        value: Any = record
        for name in self.path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
        return None if value == "" else value

    def cell(self, value: Any) -> str:
        """Return a value as people read it; empty where there is none."""
        return "" if value is None else format(value, self.form)


_MEASURED = {
    name: Column(
        f"test/{name}",
        f"test {one.title}: {one.meaning}",
        one.form,
        one.title,
        one.bounds,
        claims=one.higher is not False,
    )
    for name, one in measures().items()
}
_VALIDATED = {
    f"val_{name}": Column(
        f"val/{name}",
        f"validation {one.title} of the chosen checkpoint",
        one.form,
        f"validation {one.title}",
        one.bounds,
        claims=False,
    )
    for name, one in measures().items()
}

COLUMNS = {
    "run": Column("", "directory, relative to the working directory"),
    "status": Column("status", "finished, failed, trial (not tested), or pruned by a search"),
    "dataset": Column("choices.dataset", "option of the group dataset"),
    "model": Column("choices.model", "option of the group model"),
    "loss": Column("choices.loss", "option of the group loss"),
    "optimizer": Column("choices.optimizer", "option of the group optimizer"),
    "seed": Column("seed", "seed of the run", "d"),
    "psnr": Column("test/psnr", "test PSNR in dB, mean over images", ".2f", "PSNR (dB)"),
    "psnr_pooled": Column("test/psnr_pooled", "test PSNR in dB of the pooled MSE", ".2f"),
    "ssim": Column("test/ssim", "test SSIM, at most 1", ".3f", "SSIM", _SSIM),
    "mse": Column("test/mse", "test mean squared error, pixels in [0, 1]", ".5f", claims=False),
    "l1": Column("test/l1", "test mean absolute error, pixels in [0, 1]", ".4f", claims=False),
    **_MEASURED,
    "published_psnr": Column("published/psnr", "PSNR in dB, one image per class", ".2f"),
    "published_ssim": Column("published/ssim", "SSIM, one image per class", ".3f", bounds=_SSIM),
    "val_psnr": Column(
        "val/psnr",
        "validation PSNR in dB of the chosen checkpoint",
        ".2f",
        "validation PSNR (dB)",
        claims=False,
    ),
    "val_ssim": Column(
        "val/ssim",
        "validation SSIM of the chosen checkpoint",
        ".3f",
        "validation SSIM",
        _SSIM,
        claims=False,
    ),
    "chosen_by": Column("select", "figure that the checkpoint was chosen by"),
    **_VALIDATED,
    "parameters": Column("size.parameters", "parameters of the network", ",", "parameters"),
    "latent": Column("size.latent", "numbers in the latent", ",", "latent"),
    "effective_code": Column("size.effective_code", "numbers that reach the decoder", ",", "effective code"),
    "bits": Column("size.bits", "bits of a discrete latent per image", ",.0f"),
    "coded_bits": Column(
        "test/bits",
        "bits per image by the learnt densities, before coding",
        ",.0f",
        "bits by densities",
        POSITIVE,
    ),
    "usage": Column(
        "test/usage", "share of the codebook that test codes use", ".3f", "codebook usage", SHARE
    ),
    "perplexity": Column(
        "test/perplexity",
        "codebook entries in use, by the entropy of their frequencies",
        ",.1f",
        "perplexity",
        (1.0, math.inf),
    ),
    "active_numbers": Column(
        "test/active_numbers", "numbers of the latent that are in use", ",.0f", "active numbers", POSITIVE
    ),
    "latent_reliance": Column(
        "test/latent_reliance",
        "share of the quality that comes through the latent",
        ".2f",
        "latent reliance",
        SHARE,
    ),
    "flops": Column("size.flops_per_image", "floating-point operations of a forward pass per image", ","),
    "epochs": Column("time.epochs", "epochs trained", "d", "epochs"),
    "best_epoch": Column("best_epoch", "epoch of the chosen checkpoint, from 1", "d"),
    "seconds": Column("time.seconds", "duration of fit and test, in s", ",.0f", "seconds"),
    "images_per_second": Column("time.images_per_second", "training images per second", ",.0f"),
    "train_images": Column("data.train", "images in the training split", ","),
    "test_images": Column("data.test", "images in the test split", ","),
    "data_sha256": Column("data.sha256", "SHA-256 of the images"),
    "started": Column("started", "UTC", _TIME),
    "finished": Column("finished", "UTC", _TIME),
    "error": Column("error", "why a failed run failed"),
    "fingerprint": Column("fingerprint", "SHA-256 of everything that affects the figures"),
    "overrides": Column("command", "settings given on the command line"),
    "commit": Column("code", "commit of the code, or code: and the digest of the code itself"),
    "own_code": Column("own_code", "digest of the source of classes from outside caelab"),
    "device": Column("environment.device", "device it ran on"),
    "size": Column("", "megabytes of its folder on disk", ",.1f"),
}
"""Name -> column of what the record of any run tells, and of its folder; analyses have their own."""


def column(key: str) -> Column:
    """Column of a figure; one that no list has is called by its key."""
    known = (one for one in COLUMNS.values() if one.path == key)
    return next(known, Column(key, key, ".4g", key.replace("val/", "validation ", 1)))


def figure(key: str, value: float) -> str:
    """Return a figure as a sentence shows it, with its unit."""
    return column(key).cell(value) + (" dB" if "psnr" in key else "")
