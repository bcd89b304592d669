"""Sweeps: jobs that fail do not stop the others, memory stays flat, and the end says it all."""

import gc
import resource

import torch


def test_a_failing_job_does_not_stop_the_others(train):
    answer = train("-m", "model.latent=8,0,16")
    assert answer.status == 1
    assert sorted(r["size"]["latent"] for r in answer.records if r["status"] == "finished") == [8, 16]
    assert "model.latent=0" in answer.err
    assert "latent must be at least 1, got 0" in answer.err
    assert "1 of 3 runs failed" in answer.err
    assert "Traceback" not in answer.err
    assert "3 runs, test split" in answer.out
    assert "failed: model: latent must be at least 1, got 0" in answer.out
    assert list((answer.output / "comparisons").glob("*.png"))


def test_a_mistake_that_is_found_before_the_run_is_in_the_table_too(train):
    answer = train("-m", "seed=0,-1")
    assert answer.status == 1
    assert len(answer.records) == 1
    assert "failed: seed=-1" in answer.out


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


def test_the_table_is_sorted_by_psnr(train):
    answer = train("-m", "optimizer.lr=1e-2,1e-5")
    rows = [line for line in answer.out.splitlines() if line.startswith("│")]
    assert [("0.01" in row or "1e-2" in row) for row in rows] == [True, False]


def test_a_bad_option_stops_the_sweep_before_its_first_job(train):
    answer = train("-m", "optimizer=adam,adamm")
    assert answer.status == 1
    assert "optimizer=adamm: there is no such optimizer; did you mean 'adam" in answer.err
    assert not answer.records


def test_several_devices_are_refused(train):
    answer = train("-m", "trainer.devices=2", "+trainer.strategy=ddp")
    assert answer.status == 1
    assert "trainer.devices=2: 2 processes, but a run takes one device; use trainer.devices=1" in answer.err


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

    for first in (0, 10):
        seeds = ",".join(str(seed) for seed in range(first, first + 10))
        answer = train("-m", f"seed={seeds}", "trainer.max_epochs=1", "optimizer.lr=1e-3,abc")
        assert answer.status == 1
        seen.append((grown(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
    assert len(answer.records) == 20
    assert len(drawn) == 3  # training, validation and test images, once for all
    assert seen[1][0] <= seen[0][0] * 1.01 + 1000
    assert seen[1][1] - seen[0][1] < 60_000  # kilobytes
