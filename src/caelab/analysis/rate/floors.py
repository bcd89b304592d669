"""What stands beside a code's bits and owes nothing to its run: codecs, and transform coding by PCA."""

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import PIL

from caelab import terminal
from caelab.analysis.rate import codecs, transform
from caelab.config import source
from caelab.data.datamodule import EVALUATION_BATCH, Batches, Split
from caelab.data.floors import keep, kept
from caelab.runs import results
from caelab.runs.analyses import Result
from caelab.version import __version__


def floors(train: Split, test: Split, folder: Path) -> Result:
    """Measure the floors of the axis of bits on all test images, once for all runs on them.

    Args:
        train: training images, whose components and frequencies transform coding takes.
        test: test images.
        folder: of all data, which keeps what was measured.

    Returns:
        ``codecs``: name -> its settings; ``lossless``: name -> its bytes; ``measured``: when, and by which
        Pillow; ``transform``: a point a step, in bits.
    """
    own = _digest(test)
    others = ["codecs", own, PIL.__version__, *codecs.missing()]
    axes = ["transform", own, _digest(train)]
    return _once(folder, others, lambda: _of_codecs(test)) | _once(
        folder, axes, lambda: _transform(train, test)
    )


def _digest(split: Split) -> str:
    # The same bytes may be pixels of another size or type.
    found = hashlib.sha256(f"{split.images.dtype} {tuple(split.images.shape[1:])}".encode())
    for batch in Batches(split, EVALUATION_BATCH):
        found.update(batch.numpy().data)
    return found.hexdigest()


def _once(folder: Path, what: list[str], measure: Callable[[], Result]) -> Result:
    files = sorted(Path(__file__).parent.glob("*.py"))
    code = [source.digest(file.read_text(encoding="utf-8")) for file in files]
    key = json.dumps([__version__, *code, *what])
    found = kept(folder, key)
    if found is None:
        found = measure()
        keep(folder, key, found)
    return found


def _of_codecs(test: Split) -> Result:
    """Codecs with and without loss; those that cannot show the images, or are not there, are left out."""
    for name in codecs.missing():
        terminal.note(f"{name} is left out: this Pillow was built without it; pip install 'caelab[rate]'")
    if not codecs.known(test):
        terminal.note(
            "JPEG, WebP, AVIF and PNG are left out: they take 8-bit images of 1 or 3 channels, up to "
            f"{codecs.SIDE:,} pixels a side"
        )
    with terminal.item_progress() as progress:
        tick = partial(progress.advance, progress.add_task("JPEG, WebP, AVIF, PNG", total=codecs.ticks(test)))
        curves = {name: codecs.curve(test, name, tick) for name in codecs.NAMES}
        sizes = {name: codecs.lossless(test, name, tick) for name in codecs.LOSSLESS}
    return {
        "codecs": {name: [one._asdict() for one in curve] for name, curve in curves.items() if curve},
        "lossless": {name: size._asdict() for name, size in sizes.items() if size},
        "measured": {"when": results.now(), "pillow": PIL.__version__},
    }


def _transform(train: Split, test: Split) -> Result:
    watch = partial(terminal.tracked, description="transform coding")
    points = transform.curve(train, test, watch=watch)
    if not points:
        terminal.note(f"PCA of all numbers is left out: images have more than {transform.LARGEST:,} numbers")
    return {"transform": [point._asdict() for point in points]}
