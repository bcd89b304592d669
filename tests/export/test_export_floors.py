"""The floors below a model: from runs of PCA beside it, or fitted."""

import json
from dataclasses import replace

import numpy as np
import pytest
from toys import leave_whole_run

from caelab.export import floors as module
from caelab.export.floors import floors
from caelab.inference import restore
from caelab.runs import results

SKIPS = {
    "_target_": "caelab.models.improved_skip.ImprovedSkip",
    **{"latent": 6, "channels": [2, 2], "skip_levels": [2]},
}
AROUND = 2 * 4 * 4  # numbers of the skip


def opened(run):
    record = results.finished(run)
    data = restore.datamodule(record)
    data.setup()
    return record, data


@pytest.fixture
def run(tmp_path):
    return leave_whole_run(tmp_path / "run", SKIPS, image_size=16)


def pixels(split):
    return split[:].flatten(1).numpy().astype(np.float64) / 255


def pca(train, test, numbers):
    """PSNR of PCA, by a singular value decomposition."""
    mean = train.mean(0)
    axes = np.linalg.svd(train - mean, full_matrices=False)[2][:numbers]
    x_hat = np.clip((test - mean) @ axes.T @ axes + mean, 0, 1)
    return float(np.mean(-10 * np.log10(np.square(x_hat - test).mean(1))))


def test_they_are_fitted_to_the_training_images(run):
    record, data = opened(run)
    found = floors(run, record, data)
    assert [(one.numbers, one.name) for one in found] == [
        (6 + AROUND, "PCA of 38 numbers"),
        (6, "PCA of 6 numbers"),
        (0, "mean training image"),
    ]
    train, test = pixels(data.splits["train"]), pixels(data.splits["test"])
    for one in found:
        assert one.metrics["test/psnr"] == pytest.approx(pca(train, test, one.numbers), abs=1e-3)
        assert one.note == "fitted for this card"


def test_they_are_fitted_once(run, monkeypatch):
    record, data = opened(run)
    found = floors(run, record, data)
    monkeypatch.setattr(module, "score", None)
    assert floors(run, record, data) == floors(run, record, None) == found
    assert results.analyses(run, record) == {}  # no figures of the model itself
    again = replace(record, finished="2027-01-01T00:00:00+00:00")
    assert [one.metrics for one in floors(run, again, None)] == [{}] * 3


def test_a_run_beside_it_is_taken(run, tmp_path):
    beside = leave_whole_run(
        tmp_path / "pca", {"_target_": "caelab.models.pca.PCA", "latent": 6}, image_size=16
    )
    record, data = opened(run)
    kept = {one.numbers: one for one in floors(run, record, None)}
    assert kept[6].note == "run 0123456789"
    assert kept[6].metrics == results.finished(beside).metrics
    assert kept[0].note == "not measured: the data are not on this machine"
    assert [one.numbers for one in floors(beside, results.finished(beside), None)] == [0]


def test_more_numbers_than_training_images_are_told(run):
    record, data = opened(run)
    data.splits["train"] = type(data.splits["train"])(
        data.splits["train"].images, data.splits["train"].labels, data.splits["train"].index[:20]
    )
    large, small, _ = floors(run, record, data)
    assert (large.metrics, large.note) == ({}, "not measured: 20 training images have not so many components")
    assert small.metrics["test/psnr"] > 0
    kept = json.loads((run / "floors.json").read_text())
    assert [one["numbers"] for one in kept["floors"]] == [38, 6, 0]
