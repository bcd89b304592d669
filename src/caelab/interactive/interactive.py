"""Trained networks in one HTML file, which needs no other: ``caelab look RUN --interactive``."""

import base64
import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from caelab import durable, terminal
from caelab.analysis.look import ANALYSIS, LEAST
from caelab.analysis.runner import Subject
from caelab.composition.compose import data_folder
from caelab.data.datamodule import ImageDataModule, permutation
from caelab.errors import UserError
from caelab.interactive import runtime
from caelab.interactive.exhibit import Exhibit, exhibit
from caelab.plotting import bands
from caelab.plotting.embed import environment

PAGE = "interactive.html"
SHOWN = 48
"""Test images that a page holds, where there are as many."""

IMAGES = 500
"""Test images whose codes show the directions, unless more are asked for: an encoder may take steps."""

_MOST = 1 << 20  # bytes of the images that a page holds
SCRIPTS = (
    "data.js",
    "networks.js",
    "state.js",
    "codes.js",
    "pictures.js",
    "controls.js",
    "parts.js",
    "places.js",
    "bench.js",
    "main.js",
)
"""JavaScript of the page, in order; all of it is one module."""


def interactive(
    runs: Sequence[Path], images: int | None = None, seed: int = 0, out: Path | None = None
) -> Path:
    """Write a page in which one run is taken hold of, or two side by side.

    Args:
        runs: directories of one or two finished runs; the images are test images of the first.
        images: how many show by their codes the directions along which codes are moved; ``IMAGES`` at most
            without it.
        seed: of the choice of the images.
        out: folder of the page; ``look/`` in the first run's directory without it.

    Returns:
        Path of the page.

    Raises:
        UserError: more than two runs, a run on pairs, runs of images of different shapes, too few images, a
            network that ONNX cannot hold, or no ONNX Runtime Web.
    """
    if len(runs) > 2:
        raise UserError(f"--interactive shows one RUN or two side by side, not {len(runs)}")
    subjects = [Subject(ANALYSIS, run) for run in runs]
    for subject in subjects:
        if subject.record.data.paired:
            raise UserError(
                f"{terminal.shown(subject.run)}: trained on pairs of pictures, which a page cannot show"
            )
    shapes = {tuple(subject.record.data.shape) for subject in subjects}
    if len(shapes) > 1:
        texts = " and ".join("x".join(map(str, shape)) for shape in sorted(shapes))
        raise UserError(f"--interactive: two runs on a page need images of one shape; these take {texts}")
    data = subjects[0].data
    rows = _rows(data, images, seed)
    split = data.splits["test"]
    with bands.of_run(subjects[0].record.config):
        shown = split[rows[: _count(shapes.pop(), len(rows))]]
        pictures = _pictures(shown, rows, data)
    exhibits = []
    for subject in terminal.tracked(subjects, "exporting", len(subjects)):
        try:
            exhibits.append(exhibit(subject, split[rows], shown))
        except UserError as error:
            reason = str(error).partition("; --format")[0]
            raise UserError(f"{terminal.shown(subject.run)}: no interactive page: {reason}") from None
    page = (out or subjects[0].picture.parent) / PAGE
    page.parent.mkdir(parents=True, exist_ok=True)
    durable.write(page, _rendered(exhibits, pictures, shown))
    return page


def _rows(data: ImageDataModule, images: int | None, seed: int) -> Tensor:
    """Places of the images in the test split, in random order."""
    there = len(data.splits["test"])
    if there < LEAST:
        raise UserError(f"the test split has {there} images; caelab look needs {LEAST} or more")
    if images is not None and not LEAST <= images <= there:
        raise UserError(f"--images {images}: the test split has {there:,} images; ask for {LEAST} to {there}")
    return permutation(there, seed)[: images or IMAGES]


def _count(shape: tuple[int, ...], there: int) -> int:
    """How many images a page holds."""
    return max(2, min(SHOWN, there, _MOST // torch.Size(shape).numel()))


def _pictures(shown: Tensor, rows: Tensor, data: ImageDataModule) -> dict[str, Any]:
    channels = shown.shape[1]
    labels = data.splits["test"].targets[rows[: len(shown)]].tolist()
    return {
        "count": len(shown),
        "bytes": shown.dtype == torch.uint8,
        "bands": bands.shown(torch.arange(channels)[:, None, None]).flatten().tolist(),
        "rows": rows[: len(shown)].tolist(),
        "names": [str(data.class_names[label]) for label in labels] if data.class_names else [],
    }


def _rendered(exhibits: Sequence[Exhibit], pictures: dict[str, Any], shown: Tensor) -> str:
    blobs = {f"runtime-{name}": content for name, content in runtime.runtime(Path(data_folder())).items()}
    blobs["images"] = shown.numpy().tobytes()
    for place, one in enumerate(exhibits):
        blobs |= {f"{name}-{place}": content for name, content in one.blobs.items()}
    return (
        environment(".html", Path(__file__).parent)
        .get_template("interactive.html.j2")
        .render(
            title=" and ".join(dict.fromkeys(one.about["name"] for one in exhibits)),
            runs=[one.about for one in exhibits],
            about={"runs": [one.about for one in exhibits], "images": pictures},
            blobs={name: packed(content) for name, content in blobs.items()},
            scripts=SCRIPTS,
        )
    )


def packed(content: bytes) -> str:
    """Bytes as text for a page: gzipped, then base64."""
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()
