"""Sweeps: jobs that fail do not stop the others, memory stays flat, and the end says it all."""

import gc
import os
import resource
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from tiny import TINY

from caelab.composition import words
from caelab.config import machine
from caelab.errors import UserError
from caelab.sweeps.sweeping import Sweep
from hydra_plugins.caelab_sweeper import _kinds


def test_the_sweepers_own_keys_act(train):
    answer = train(
        "-m", "hydra.sweeper.params={seed:'10,11',model.latent:4}", "hydra.sweeper.max_batch_size=1"
    )
    assert answer.status == 0
    assert sorted((r["seed"], r["size"]["latent"]) for r in answer.records) == [(10, 8), (11, 8)]
    assert "[0 done, 0 failed, 1 to go]" in answer.out  # a batch of one
    nothing = train("-m", "hydra.sweeper.max_batch_size=0")
    assert nothing.err == "caelab: hydra.sweeper.max_batch_size=0: must be at least 1\n"


def test_a_failing_job_does_not_stop_the_others(train):
    answer = train("-m", "model.latent=8,0,16")
    assert answer.status == 1
    assert sorted(r["size"]["latent"] for r in answer.records if r["status"] == "finished") == [8, 16]
    assert "model.latent=0" in answer.err
    assert "latent must be at least 1, got 0" in answer.err
    assert "1 of 3 runs failed" in answer.err
    assert "Traceback" not in answer.err
    assert "3 runs, test split" in answer.out
    assert "failed: model.latent must be at least 1, got 0" in answer.out
    assert list((answer.output / "comparisons").glob("*.png"))


def test_a_mistake_that_is_found_before_the_run_is_in_the_table_too(train):
    answer = train("-m", "seed=0,-1")
    assert answer.status == 1
    assert len(answer.records) == 1
    assert "failed: seed=-1" in answer.out


def test_a_foreign_record_fails_its_own_job_only(train):
    answer = train("-m", "seed=0,1")
    (answer.run_dirs[0] / "result.json").write_text('{"schema": 99}')
    again = train("-m", "seed=0,1,2", "trainer.max_epochs=2")
    assert again.status == 1
    assert "not a readable run record (schema 99, this caelab reads 1)" in again.err
    assert "1 of 3 runs failed" in again.err


def test_a_sweep_that_succeeds_has_status_0_and_shares_runs_with_single_ones(train):
    alone = train("optimizer=adam")
    path = alone.run_dir / "result.json"
    stamp = path.stat().st_mtime_ns
    answer = train("-m", "optimizer=adamax,adam")
    assert answer.status == 0
    assert len(answer.records) == 2
    assert path.stat().st_mtime_ns == stamp
    table = [line for line in answer.out.splitlines() if "│ adam" in line]
    assert len(table) == 2
    assert answer.out.splitlines()[-1] == f"next: caelab report {os.path.relpath(alone.run_dir.parent)}"
    assert "published" not in alone.out  # which says something of the report's datasets
    assert f"next: caelab look {os.path.relpath(alone.run_dir)} (or audit); caelab report" in alone.out


def test_the_table_is_sorted_by_psnr_and_needs_no_checkpoint(train):
    answer = train("-m", "optimizer.lr=1e-2,1e-5", "keep=none")
    assert answer.status == 0
    assert "picture left out: " in answer.err
    assert "best.ckpt is missing" in answer.err
    rows = [line for line in answer.out.splitlines() if line.startswith("│")]
    assert [("0.01" in row or "1e-2" in row) for row in rows] == [True, False]


def test_a_bad_option_stops_the_sweep_before_its_first_job(train):
    answer = train("-m", "optimizer=adam,adamm")
    assert answer.status == 1
    assert "optimizer=adamm: there is no such optimizer; did you mean 'adam" in answer.err
    assert not answer.records


def test_a_key_that_every_swept_option_has_is_set_in_each(train):
    answer = train("-m", "loss=l1_mse,l1_bce", "loss.alpha=0.25")  # which the default loss has not
    assert answer.status == 0
    assert [r["config"]["loss"]["alpha"] for r in answer.records] == [0.25, 0.25]
    wrong = train("-m", "optimizer=sgd,adam", "optimizer.momentum=0.9")
    assert wrong.status == 1
    assert wrong.err.startswith("caelab: optimizer.momentum: optimizer=adam has no such key, only ")


def test_a_sweep_over_no_value_is_refused(train):
    answer = train("-m", "seed=range(3,0)")
    assert answer.status == 1
    assert answer.err == "caelab: seed=range(3,0): no value given; give at least one, as in range(0,3)\n"
    with pytest.raises(UserError, match="^seed: no value given; give at least one"):
        words.from_python((), {"seed": range(0)})


def test_one_job_of_each_kind_is_composed_before_the_first():
    jobs = [
        (f"model={model}", f"optimizer.lr={rate}", f"seed={seed}")
        for model in ("base", "improved")
        for rate in (1e-3, 1e-4)
        for seed in range(10)
    ]
    assert _kinds(jobs) == [
        ("model=base", "optimizer.lr=0.001", "seed=0"),
        ("model=improved", "optimizer.lr=0.001", "seed=0"),
    ]
    assert len(_kinds([("+model.a=1",), ("+model.b=1",)])) == 2


def test_a_picture_shows_the_best_runs_only(train, monkeypatch):
    from hydra.core.plugins import Plugins

    from caelab.report import comparison

    Plugins.instance()  # which executes the sweeper's module once more, when it is made
    monkeypatch.setattr("hydra_plugins.caelab_sweeper._PICTURED", 2)
    shown = []
    monkeypatch.setattr(comparison, "compare_runs", lambda done, output: shown.append(done) or output)
    answer = train("-m", "optimizer.lr=1e-5,1e-2,1e-3", "trainer.max_epochs=1")
    figures_of = {
        record["config"]["optimizer"]["lr"]: record["metrics"]["test/psnr"] for record in answer.records
    }
    best = sorted(figures_of, key=figures_of.__getitem__)[1:]
    assert sorted(r.config["optimizer"]["lr"] for r in shown[0].values()) == sorted(best)
    assert "picture of the best 2: multirun" in answer.out


def test_several_devices_are_refused(train):
    answer = train("-m", "trainer.devices=2", "trainer.strategy=ddp")
    assert answer.status == 1
    assert "trainer.devices=2: a sweep trains each run on one device" in answer.err
    assert "start the whole sweep again; use trainer.devices=1" in answer.err
    assert answer.err.count("\n") == 1
    assert not answer.records


@pytest.mark.slow
def test_two_sweeps_share_their_runs(tmp_path, environment):
    """Each run is trained by one of them, and both end with all of it."""
    words = (*TINY, "dataset.train_size=500", "seed=0,1", "model=base,improved")
    command = [sys.executable, "-m", "caelab.train", "-m", *words]
    sweeps = [
        subprocess.Popen(
            command,
            cwd=tmp_path,
            env=environment | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    shown = [sweep.communicate()[0] for sweep in sweeps]
    assert [sweep.returncode for sweep in sweeps] == [0, 0]
    runs = sorted(path.parent for path in tmp_path.rglob("result.json"))
    assert len(runs) == 4
    for run in runs:
        started = [f"{run.relative_to(tmp_path)}: 500 training images" in out for out in shown]
        assert sum(started) == 1
    for out in shown:
        assert "4 runs, test split" in out
        assert "failed: " not in out


@pytest.mark.slow
def test_memory_stays_flat_and_data_load_once(train, monkeypatch):
    from caelab.data import shapes

    shapes._make.cache_clear()
    drawn = []
    real = shapes.render
    monkeypatch.setattr(shapes, "render", lambda *args: drawn.append(1) or real(*args))
    seen = []

    def grown() -> int:
        gc.collect()
        return sum(t.numel() for t in gc.get_objects() if issubclass(type(t), torch.Tensor))

    for first in (0, 6):
        seeds = ",".join(str(seed) for seed in range(first, first + 6))
        answer = train("-m", f"seed={seeds}", "trainer.max_epochs=1", "optimizer.lr=1e-3,abc")
        assert answer.status == 1
        seen.append((grown(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
    assert len(answer.records) == 12
    assert len(drawn) == 3  # training, validation and test images, once for all
    assert seen[1][0] <= seen[0][0] * 1.01 + 1000
    assert seen[1][1] - seen[0][1] < 60_000  # kilobytes


@pytest.mark.parametrize(("option", "alone"), [("basic", True), ("joblib", False)])
def test_a_sweep_knows_its_launcher_by_its_option(option, alone):
    """Hydra executes a plugin's module anew, so the class that a module imports may not be the launcher's."""
    choices = {"hydra": {"runtime": {"choices": {"hydra/launcher": option}}}}
    launcher = SimpleNamespace(config=OmegaConf.create({**choices, "trainer": {"accelerator": "cpu"}}))
    assert Sweep(launcher).at_once == (1 if alone else machine.at_once("cpu"))
