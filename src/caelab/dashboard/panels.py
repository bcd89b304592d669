"""The panels that a workspace and a report share; each names keys that the runs have, and no others."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import wandb_workspaces.reports.v2 as wr

from caelab.dashboard.board import Keys
from caelab.metrics.measures import measures
from caelab.report.rows import Run
from caelab.training import pictures

Panel = Any
"""One of ``wandb_workspaces.reports.v2``, such as ``LinePlot``."""

VARIANT = wr.Config("variant")
"""What runs that differ in their seed share."""

_CURVES = {
    "val/psnr": "PSNR (dB), validation",
    "val/ssim": "SSIM, validation",
    "train/loss": "Loss, training",
    "val/loss": "Loss, validation",
    **{f"val/{name}": f"{one.title}, validation" for name, one in measures().items()},
}
_BARS = {
    "test/psnr": "PSNR (dB), test",
    "test/ssim": "SSIM, test",
    **{f"test/{name}": f"{one.title}, test" for name, one in measures().items()},
    "pca/gain": "PSNR (dB) over PCA of as many numbers, test",
    "test/latent_reliance": "Latent reliance: below 0.5 the picture goes around the latent",
}
_SCORE = "test/psnr"


def only(runs: Sequence[Run]) -> str:
    """Filter that leaves these runs alone, whatever else lies in their project."""
    return f"Config('fingerprint') in {[run.record.fingerprint for run in runs]}"


def curves(keys: Keys) -> list[Panel]:
    """A line for each variant over epochs, with its seeds as a band."""
    return [
        wr.LinePlot(
            title=title,
            x="epoch",
            y=[key],
            groupby=VARIANT,
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
        )
        for key, title in _CURVES.items()
        if key in keys.history
    ]


def bars(keys: Keys) -> list[Panel]:
    """A bar for each variant: the mean over its seeds, with their standard deviation."""
    return [_bar(key, title, VARIANT) for key, title in _BARS.items() if key in keys.summary]


def against(keys: Keys) -> list[Panel]:
    """PSNR against the numbers that reach the decoder, and against what a sweep has varied."""
    if _SCORE not in keys.summary:
        return []
    size = wr.SummaryMetric("size/effective_code")
    groups = [
        _bar(_SCORE, f"PSNR (dB), test, by {group}", wr.Config(f"choices.{group}")) for group in keys.choices
    ]
    return [
        _scatter("PSNR (dB), test, against the numbers that reach the decoder", size, log=True),
        *(_scatter(f"PSNR (dB), test, against {key}", wr.Config(key)) for key in keys.numbers),
        *groups,
    ]


def images(keys: Keys) -> list[Panel]:
    """Pictures over epochs, those of the test images, and their table."""
    titles = {
        pictures.DURING: "Originals, what was given, and reconstructions, over epochs",
        pictures.AFTER: "Test images and their reconstructions",
    }
    browsers: list[Panel] = [
        wr.MediaBrowser(title=title, media_keys=[key], num_columns=2)
        for key, title in titles.items()
        if key in keys.history
    ]
    tables: list[Panel] = [wr.WeavePanelSummaryTable(table_name=pictures.TABLE)]
    return browsers + (tables if pictures.TABLE in keys.history else [])


GROUPS: Mapping[str, Callable[[Keys], list[Panel]]] = {
    "Curves": curves,
    "By variant": bars,
    "Against": against,
    "Pictures": images,
}
"""Heading -> its panels."""


def _bar(key: str, title: str, by: wr.Config) -> wr.BarPlot:
    return wr.BarPlot(
        title=title,
        metrics=[key],
        groupby=by,
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
        orientation="h",
    )


def _scatter(title: str, x: wr.Config | wr.SummaryMetric, log: bool = False) -> wr.ScatterPlot:
    return wr.ScatterPlot(title=title, x=x, y=wr.SummaryMetric(_SCORE), log_x=log or None)
