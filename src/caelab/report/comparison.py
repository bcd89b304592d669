"""The reconstructions of several runs below each other."""

from datetime import datetime
from pathlib import Path

from torch import Tensor

from caelab.data.contents import MARK
from caelab.inference.restore import corruption, datamodule, load
from caelab.plotting.figures import first_of_each_class, reconstructions
from caelab.report.pictures import below_the_given
from caelab.runs.labels import labels, lines, numbered
from caelab.runs.record import Complete


def compare_runs(records: dict[Path, Complete], output: Path) -> Path:
    """Draw the reconstructions of finished runs on the same test images below each other; return the path.

    Those that were given other images than the originals stand below what they were given.
    """
    made: dict[str, tuple[Tensor, Tensor]] = {}
    names = numbered(["\n".join(lines(label)) for label in labels(list(records.values()))])
    for name, (run_dir, record) in zip(names, records.items(), strict=True):
        data = datamodule(record)
        data.setup("test")
        originals, given, x_hat = first_of_each_class(data, load(run_dir), corruption(record))
        made[name] = (given, x_hat)
    rows = below_the_given(originals, made)
    folder = output / "comparisons"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()
    return reconstructions(folder / f"{datetime.now():%Y-%m-%d_%H-%M-%S}.png", originals, rows)
