"""What a model must beat before its figures say anything: PCA on as many numbers, and the mean image."""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from torch import nn

from caelab.data.datamodule import ImageDataModule, Split
from caelab.inference.restore import corruption
from caelab.metrics.reliance import mean_image
from caelab.models.pca import PCA
from caelab.runs import records, results
from caelab.runs.record import Complete
from caelab.training.scoring import score

NAME = "floors"


class Floor(NamedTuple):
    """A floor, measured as the run was: on the same images, corrupted alike.

    Attributes:
        numbers: of PCA's latent; with 0 every image becomes the mean training image.
        metrics: as in a record; empty where it was not measured.
        note: where the figures come from, or why there are none.
        of: what it is, but for the mean image.
    """

    numbers: int
    metrics: dict[str, float]
    note: str
    of: str = "PCA"

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self.of} of {self.numbers:,} numbers" if self.numbers else "mean training image"


def floors(run: Path, record: Complete, data: ImageDataModule | None) -> list[Floor]:
    """Find or measure the floors of a run, most numbers first.

    They are PCA of as many numbers as the latent has and as reach the decoder, where the image has more, and
    the mean image. Each is taken from a run of PCA beside this one, or else fitted to the training images,
    which is done once: ``floors.json`` in the run's directory keeps it.

    Args:
        run: the run's directory.
        record: its record.
        data: of the run, set up; None where they are not on this machine.
    """
    sizes = _sizes(record)
    found = _of_runs(run, record, sizes) | _kept(run, record)
    missing = [numbers for numbers in sizes if numbers not in found]
    if data is None:
        found |= {n: Floor(n, {}, "not measured: the data are not on this machine") for n in missing}
    elif missing:
        found |= _measured(record, data, missing)
        _keep(run, record, found)
    return [found[numbers] for numbers in sizes]


def _of_runs(run: Path, record: Complete, sizes: list[int]) -> dict[int, Floor]:
    runs = {numbers: records.floor(run.absolute().parent, record, numbers) for numbers in sizes}
    return {
        n: Floor(n, other.metrics, f"run {other.fingerprint[:10]}", other.floor)
        for n, other in runs.items()
        if other
    }


def _kept(run: Path, record: Complete) -> dict[int, Floor]:
    found = results.analysis(run, NAME, record) or {"floors": []}
    return {one["numbers"]: Floor(**one) for one in found["floors"]}


def _keep(run: Path, record: Complete, found: dict[int, Floor]) -> None:
    with suppress(OSError):  # a run that cannot be written to can be exported elsewhere
        kept = [one._asdict() for one in found.values()]
        results.write_analysis(run, NAME, record, {"figures": {}, "floors": kept})


def _measured(record: Complete, data: ImageDataModule, sizes: list[int]) -> dict[int, Floor]:
    train = data.splits["train"]
    few = f"not measured: {len(train):,} training images have not so many components"
    found = {numbers: Floor(numbers, {}, few) for numbers in sizes}
    for numbers, pca in _fitted(train, [numbers for numbers in sizes if numbers <= len(train)]).items():
        metrics = score(pca, data, nn.MSELoss(), corruption(record))[0]
        found[numbers] = Floor(numbers, metrics, "fitted for this card")
    return found


def _sizes(record: Complete) -> list[int]:
    """Latents of the PCAs that stand below a run; below PCA itself only the mean image does."""
    size = record.size
    code = [] if record.floor else [size.latent, size.effective_code]
    return sorted({0, *(numbers for numbers in code if numbers < size.input_numbers)}, reverse=True)


def _fitted(train: Split, sizes: list[int]) -> dict[int, PCA]:
    """Fit PCAs of several sizes at once: the components of a small one are the first of a larger one."""
    shape = train[:1].shape[1:]
    largest = PCA(shape, max(sizes, default=0))
    if largest.latent:
        largest.initialise(train)
    else:
        largest.mean.copy_(mean_image(train).flatten())
    fitted = {numbers: PCA(shape, numbers) for numbers in sizes}
    for numbers, pca in fitted.items():
        pca.mean.copy_(largest.mean)
        pca.components.copy_(largest.components[:numbers])
    return fitted
