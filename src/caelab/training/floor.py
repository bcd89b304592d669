"""PCA of as many numbers as a run's code: the floor that a logger shows the run's gain over."""

import json
from pathlib import Path

import torch

from caelab.corruptions import TEST, Corruption
from caelab.data import floors
from caelab.data.datamodule import EVALUATION_BATCH, ImageDataModule
from caelab.data.scale import unit
from caelab.draws import keys
from caelab.metrics.quality import mse, psnr
from caelab.models.pca import PCA, operations
from caelab.runs.record import Complete

_RATE = 1e10  # operations in float64 that two cores do a second, at least


def measured(record: Complete, data: ImageDataModule, corruption: Corruption, folder: Path) -> float | None:
    """Test PSNR (dB) of PCA: from the cache, or fitted now, which is done once per data and size.

    Args:
        record: of a run, tested.
        data: of the run, set up.
        corruption: of the run, on the CPU.
        folder: of all data.

    Returns:
        None where there is no such floor, and where fitting it would take longer than the run did.
    """
    if record.floor or "test/psnr" not in record.metrics:
        return None
    found = kept(record, folder)
    if found is not None or not _pays(record):
        return found
    pca = PCA(data.shape, record.size.effective_code)
    pca.initialise(data.splits["train"])
    found = _psnr(pca, data, corruption)
    floors.keep(folder, _key(record), {"test/psnr": found, "data": record.data.plain()})
    return found


def kept(record: Complete, folder: Path) -> float | None:
    """Return what the cache holds for such a run; None where it holds nothing."""
    found = floors.kept(folder, _key(record))
    return None if found is None else float(found["test/psnr"])


def _key(record: Complete) -> str:
    """What a floor depends on: the images, what is done to them, and the numbers of the code."""
    same = {"dataset.root": None} | {  # as those before 0.15 are kept
        key: value
        for key, value in record.anywhere.items()
        if key.startswith(("dataset.", "corruption.")) and key != "dataset.batch_size"
    }
    return json.dumps([record.size.effective_code, record.data.plain(), same], sort_keys=True)


def _pays(record: Complete) -> bool:
    """Whether PCA of so many numbers is a floor of the run, and fitting it takes less time than the run."""
    size, images = record.size, record.data.train
    seconds = operations(images, size.input_numbers, size.effective_code) / _RATE
    least = min(images, size.input_numbers)
    return bool(size.effective_code < least and seconds < record.time.fit_seconds)


def _psnr(pca: PCA, data: ImageDataModule, corruption: Corruption) -> float:
    test = data.splits["test"]
    found = []
    for rows in torch.split(torch.arange(len(test)), EVALUATION_BATCH):
        x = unit(test[rows])
        given = corruption(unit(test.given[rows]), keys(rows, TEST))
        found.append(psnr(mse(pca.reconstruct(given), x)))
    return torch.cat(found).mean().item()
