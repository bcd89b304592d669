"""Trials: runs that a study chooses by, which read no test image until somebody asks for the run itself."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_api import SMALL
from tiny import TINY

import caelab
from caelab import config
from caelab.data.datamodule import ImageDataModule, Split
from caelab.errors import UserError
from caelab.runs import records, results
from caelab.runs.record import made, save
from caelab.training import run
from caelab.training.module import AutoencoderModule
from caelab.training.trial import GRID, TRIAL

TIMES = ("fit_seconds", "epochs", "steps", "images_per_second", "images_per_epoch")
OF_THE_TEST = ("reconstructions", "images")
RECIPE = ("ema=0.9", "flip=true", "scheduler=cosine", "corruption=gaussian_noise")


@pytest.fixture
def trial(train, monkeypatch):
    """Carry a run out as a trial of a grid."""

    def call(*words, **keys):
        with monkeypatch.context() as patched:
            patched.setenv(TRIAL, GRID)
            return train("-m", *words, **keys)

    return call


@pytest.fixture
def reads(monkeypatch):
    """How often each of the 50 test images is read in this process, (50,); and the first of each class."""
    counts, first = torch.zeros(50, dtype=torch.int64), []

    class Counted(Split):
        def __getitem__(self, positions):
            rows = torch.arange(len(self))[positions]
            counts.index_add_(0, rows, torch.ones_like(rows))
            return super().__getitem__(positions)

    setup = ImageDataModule.setup

    def counted(self, stage=None):
        setup(self, stage)
        test = self.splits["test"]
        self.splits["test"] = Counted(test.images, test.labels, test.index)
        targets = test.targets.tolist()
        first[:] = [targets.index(label) for label in set(targets)]

    monkeypatch.setattr(ImageDataModule, "setup", counted)
    return counts, first


@pytest.fixture
def steps(monkeypatch):
    """Epoch of each training step of this process."""
    epochs = []
    step = AutoencoderModule.training_step

    def spied(self, *batch):
        epochs.append(self.current_epoch)
        return step(self, *batch)

    monkeypatch.setattr(AutoencoderModule, "training_step", spied)
    return epochs


def times_each(counts, first):
    """Reads of an image that is no first of its class; those of a first one are one more."""
    others = np.delete(counts.numpy(), first)
    assert len(set(others)) == 1
    assert set(counts[first].tolist()) == {others[0] + 1}
    return others[0]


MODELS = [
    (("model=base", "trainer.max_epochs=1"), 2),
    (("model=improved_skip", "model.skip_levels=[1,2]", "trainer.max_epochs=1"), 4),
]
"""A run's words, and reads of each test image: for its figures and the mean image's; with skips two more."""


@pytest.mark.parametrize(("words", "times"), MODELS)
def test_a_run_reads_each_test_image_for_its_figures_and_the_first_of_each_class_once_more(
    train, reads, words, times
):
    answer = train(*words)
    assert answer.status == 0, answer.err
    assert times_each(*reads) == times


@pytest.mark.parametrize(("words", "times"), MODELS)
def test_a_trial_reads_no_test_image_and_the_run_as_often_as_any_other(train, trial, reads, words, times):
    assert trial(*words).record["status"] == "trial"
    assert reads[0].sum() == 0
    assert train(*words).record["status"] == "finished"
    assert times_each(*reads) == times


def test_a_killed_run_has_read_no_test_image_and_goes_on_to_read_them_once(train, killed, reads):
    killed(after=1)
    assert reads[0].sum() == 0
    train()
    assert times_each(*reads) == 2


def test_pictures_over_epochs_read_no_test_image(train, trial, reads):
    words = ("logger=tensorboard", "trainer.max_epochs=2")
    assert trial(*words).record["status"] == "trial"
    assert reads[0].sum() == 0
    train(*words)
    assert times_each(*reads) == 2  # as without a logger


def test_the_record_of_a_trial_has_all_but_the_test(trial):
    answer = trial()
    record = answer.record
    assert answer.status == 0, answer.err
    assert {key.partition("/")[0] for key in record["metrics"]} == {"val"}
    assert record["time"]["test_seconds"] == 0
    assert "error" not in record
    assert set(results.ARTIFACTS) - set(record["artifacts"]) == set(OF_THE_TEST)
    assert not [path for path in answer.run_dir.iterdir() if path.suffix in (".png", ".npz")]
    assert results.read(answer.run_dir) == made(record)


@pytest.mark.slow
def test_asked_for_as_a_run_a_trial_is_tested_as_if_it_had_been_at_once_and_not_trained(train, trial, steps):
    whole = train(*RECIPE)
    whole.run_dir.rename(whole.run_dir.with_name("whole"))
    tried = trial(*RECIPE)
    (name,) = [path for path in tried.run_dirs if path.name != "whole"]
    before = results.read(name)
    stamps = {path: path.stat().st_mtime_ns for path in name.rglob("*.ckpt")}
    steps.clear()
    answer = train(*RECIPE)
    tested, expected = results.read(name), results.read(name.with_name("whole"))
    assert "trained before, as a trial; now it is tested" in answer.out
    assert steps == []
    assert {path: path.stat().st_mtime_ns for path in name.rglob("*.ckpt")} == stamps
    assert tested.metrics == expected.metrics
    assert {**tested.metrics, **before.metrics} == tested.metrics
    assert [getattr(tested.time, key) for key in TIMES] == [getattr(before.time, key) for key in TIMES]
    assert tested.time.test_seconds > 0
    for key in (
        "size",
        "best_epoch",
        "batch_size",
        "data",
        "environment",
        "earlier_environments",
        "artifacts",
    ):
        assert getattr(tested, key) == getattr(expected, key), key
    pictures = [np.load(path / "reconstructions.npz") for path in (name, name.with_name("whole"))]
    assert all(np.array_equal(pictures[0][key], pictures[1][key]) for key in pictures[1].files)
    assert train(*RECIPE).out.count("finished before") == 1


def test_what_changed_before_the_test_is_on_the_record(train, trial, monkeypatch):
    trial()
    monkeypatch.setattr("caelab.config.source.acting", lambda config: "other")
    answer = train()
    assert "changed since then: code (of caelab, or yours);" in answer.out
    (earlier,) = answer.record["earlier_environments"]
    assert (len(earlier["code"]), answer.record["environment"]["code"]) == (64, "other")


def test_a_trial_is_tested_on_its_own_images_only(train, trial, steps):
    tried = trial()
    record = results.read(tried.run_dir)
    other = replace(record, data=replace(record.data, sha256="0" * 64))
    save(tried.run_dir, other)
    refused = train()
    assert refused.err.endswith(
        ": not the images that the run began with; restore those, or start the run again with force=true\n"
    )
    assert (refused.status, refused.err.count("\n"), results.read(tried.run_dir)) == (1, 1, other)
    steps.clear()
    again = train("force=true")
    assert (again.record["status"], again.record["data"]) == ("finished", tried.record["data"])
    assert set(steps) == {0, 1}


def test_a_finished_run_is_taken_for_the_trial_it_is_asked_for(trained, trial, reads):
    first = trained()
    counts = reads[0].clone()
    again = trial()
    assert again.record == first.record
    assert "finished before" in again.out
    assert torch.equal(reads[0], counts)


def test_a_trial_is_taken_for_itself_also_without_its_checkpoint(trial, steps):
    first = trial()
    shutil.rmtree(first.run_dir / "checkpoints")
    steps.clear()
    assert trial().record == first.record
    assert steps == []


@pytest.mark.parametrize("lost", ["removed", "empty"])
def test_a_trial_whose_checkpoint_is_gone_is_trained_again(train, trial, steps, lost):
    first = trial()
    best = first.run_dir / "checkpoints" / "best.ckpt"
    best.unlink() if lost == "removed" else best.write_bytes(b"")
    steps.clear()
    answer = train()
    assert (answer.status, answer.record["status"]) == (0, "finished"), answer.err
    assert set(steps) == {0, 1}
    assert {**answer.record["metrics"], **first.record["metrics"]} == answer.record["metrics"]


def test_a_trial_whose_test_fails_is_still_one(train, trial, steps, monkeypatch):
    first = trial()

    def full(*_):
        raise OSError(28, "No space left on device", "/some/disk")

    with monkeypatch.context() as patched:
        patched.setattr(run, "measure", full)
        answer = train()
    assert (answer.status, answer.record) == (1, first.record)
    assert "/some/disk: No space left on device" in answer.err
    steps.clear()
    assert train().record["status"] == "finished"
    assert steps == []


@pytest.mark.slow
def test_force_trains_a_trial_again_as_what_it_is_asked_for(train, trial, steps):
    first = trial()
    for call, status in ((trial, "trial"), (train, "finished"), (trial, "trial")):
        steps.clear()
        answer = call("force=true")
        assert (answer.status, answer.record["status"]) == (0, status), answer.err
        assert steps
        assert not (answer.run_dir / results.PREVIOUS).exists()
        assert answer.record["metrics"]["val/psnr"] == first.record["metrics"]["val/psnr"]


def test_a_network_without_weights_to_learn_is_fitted_and_tested_alike(train, trial):
    shapes = [word for word in TINY if word.startswith(("dataset", "trainer"))]
    words = ("model=pca", "model.latent=40", *shapes, "dataset.train_size=24")
    assert trial(*words, tiny=False).record["status"] == "trial"
    answer = train(*words, tiny=False)
    assert (answer.status, answer.record["status"]) == (0, "finished"), answer.err
    assert answer.record["size"]["latent"] == 24


def test_what_needs_a_tested_run_says_in_a_line_how_it_is_tested(trial):
    answer = trial("seed=4")
    with pytest.raises(UserError) as told:
        caelab.Run(answer.run_dir)
    line = str(told.value)
    assert "that run is a trial" in line
    assert "\n" not in line
    command = line.rpartition(": ")[2]
    assert command.startswith("caelab train dataset=shapes ")
    assert command.endswith("seed=4")
    kept = caelab.Run(answer.run_dir, made(answer.record))
    assert repr(kept).endswith(f": a trial, validation PSNR {answer.record['metrics']['val/psnr']:.2f} dB)")
    for look in (lambda: kept.metrics, kept.show, kept.curves, kept.load):
        with pytest.raises(UserError, match="that run is a trial"):
            look()


STUDY = """
title: Toy
text: Which rate?
datasets: [shapes]
epochs: 2
seeds: 1
tune:
  epochs: 1
  entries:
    found: {overrides: [model=base], grid: {optimizer.lr: [1.0e-6, 1.0e-2]}}
"""


def test_a_study_tunes_on_validation_alone(train, tmp_path, monkeypatch, capfd, reads):
    shutil.copytree(config.CONF, tmp_path / "conf")
    (tmp_path / "conf" / "study" / "toy.yaml").write_text(STUDY)
    monkeypatch.setattr(config, "CONF", str(tmp_path / "conf"))
    read_at = {}

    def spied(run_dir, record):
        read_at[record.status, record.seed] = int(reads[0].max())
        save(run_dir, record)

    monkeypatch.setattr("caelab.training.run.save", spied)
    runs = caelab.study("toy", SMALL | {"dataset.test_size": 50})
    assert read_at == {("trial", 1000): 0, ("finished", 0): 3}
    tried = {r.config["optimizer"]["lr"]: r for _, r in records.find("multirun") if r.seed == 1000}
    assert {record.status for record in tried.values()} == {"trial"}
    assert not any("hydra" in word for record in tried.values() for word in record.overrides)
    best = max(tried, key=lambda rate: tried[rate].metrics["val/psnr"])
    row = next(one.record for one in runs if one.record.seed == 0)
    assert (row.status, row.config["optimizer"]["lr"]) == ("finished", best)
    assert "CAELAB_TRIAL" not in capfd.readouterr().out
    assert TRIAL not in os.environ
    stamps = {one.dir: one.record for one in runs}
    assert {one.dir: one.record for one in caelab.study("toy", SMALL | {"dataset.test_size": 50})} == stamps
    table = caelab.compare(runs)
    assert table["PSNR (dB)"].isna().sum() == 2
    assert table["validation PSNR (dB)"].is_monotonic_decreasing
