"""Pictures of what a model does."""

from pathlib import Path

from caelab.errors import installed
from caelab.runs.analyses import Analysis, Option, whole_number
from caelab.runs.columns import Column
from caelab.terminal import nearest

MAPS = ("pca", "tsne", "umap")
"""Ways to map codes to the plane."""

IMAGES = 2_000
"""Test images that are looked at unless --images says otherwise, where there are as many."""

LEAST = 10
"""Images without which there is nothing to compare."""


def map_method(text: str) -> str:
    """Read the name of a map.

    Raises:
        ValueError: there is no such method, or it needs a package that is not installed.
    """
    if text not in MAPS:
        raise ValueError(f"there is no such map{nearest(text, list(MAPS))}")
    if text == "umap" and not installed("umap-learn"):
        raise ValueError("umap-learn is not installed; pip install 'caelab[umap]', or take --map tsne")
    return text


ANALYSIS = Analysis(
    __name__,
    """What does the model do? Pictures on one offline page.

Draws what the best checkpoint of each run does with test images: reconstructions, walks through its code,
interpolations, neighbours, a map, how much of the code is used, what coordinates look at, filters. Writes
index.html, one file that opens offline, and each picture as PNG to RUN/look, and the figures to
RUN/look.json. Trains nothing.
""",
    examples=(
        "multirun/runs/cifar10/improved-mse-adam-s0-0123456789",
        "multirun/runs/mnist/* --map pca --images 500",
        "last --interactive",
    ),
    files=("look/index.html",),
    columns={
        "effective_dimension": Column("look/effective_dimension", "axes of the code that are in use", ".1f"),
        "dead": Column("look/dead", "numbers of the code that hardly vary", ",.0f", claims=False),
        "ignored": Column(
            "look/ignored", "numbers of the code that the decoder ignores", ",.0f", claims=False
        ),
    },
    options={
        "map": Option("tsne", "map of the codes: pca, tsne or umap", "METHOD", map_method),
        "images": Option(
            None,
            f"test images to use (default: all, up to {IMAGES:,})",
            "N",
            whole_number(LEAST, 10**9),
        ),
        "seed": Option(0, "seed for the choice of images and for the map", "S", whole_number(0, 2**32 - 1)),
        "out": Option(None, "folder for the page, instead of RUN/look", "DIR", Path, single=True),
    },
)
