"""One run from start to record: what it leaves, and what a kill, a second start or a NaN does to it."""

import errno
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from tiny import TINY

from caelab import durable
from caelab.data.datamodule import permutation
from caelab.errors import UserError
from caelab.inference.restore import datamodule, load
from caelab.metrics.image_quality import published_protocol
from caelab.metrics.measures import measures
from caelab.models.base import Base
from caelab.runs.record import made
from caelab.training.checkpoint_file import CheckpointFile, to_resume
from caelab.training.module import AutoencoderModule

CONTRACT = {
    "schema": int,
    "fingerprint": str,
    "status": str,
    "started": str,
    "finished": str,
    "overrides": list,
    "choices": dict,
    "config": dict,
    "seed": int,
    "best_epoch": int,
    "artifacts": dict,
    "metrics": {
        f"{split}/{name}": float
        for split in ("val", "test")
        for name in ("psnr", "psnr_pooled", "ssim", "mse", "l1", "loss")
    }
    | {"published/psnr": float, "published/ssim": float},
    "size": dict.fromkeys(
        ("parameters", "latent", "effective_code", "flops_per_image", "input_numbers"), int
    ),
    "time": {
        "fit_seconds": float,
        "test_seconds": float,
        "epochs": int,
        "steps": int,
        "images_per_second": float,
    },
    "data": {"name": str, "train": int, "val": int, "test": int, "sha256": str},
    "environment": dict.fromkeys(
        ("caelab", "python", "torch", "lightning", "device", "precision", "speed"), str
    )
    | {"threads": int, "devices": int},
}


def test_the_record_keeps_its_contract(trained):
    answer = trained()
    assert answer.status == 0
    for key, kind in CONTRACT.items():
        if isinstance(kind, dict):
            for inner, expected in kind.items():
                assert type(answer.record[key][inner]) is expected, (key, inner)
        else:
            assert type(answer.record[key]) is kind, key
    assert not {"study", "seeds", "budget"} & answer.record["config"].keys()
    assert answer.record["schema"] == 1
    assert answer.record["status"] == "finished"
    assert "error" not in answer.record
    assert answer.record["size"]["effective_code"] == answer.record["size"]["latent"] == 8
    assert answer.record["size"]["input_numbers"] == 3 * 32 * 32
    assert answer.record["data"]["train"] == 96
    assert answer.record["time"]["steps"] == 2 * 3
    for path in answer.record["artifacts"].values():
        assert (answer.run_dir / path).is_file()
    assert set(answer.record["artifacts"]) == {
        *("best", "last", "reconstructions", "images", "curves", "log", "config")
    }


def test_what_a_run_leaves_reaches_the_disk_beside_its_place_and_before_the_record(
    train, monkeypatch, tmp_path
):
    order, replace = [], Path.replace
    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "tempdir", str(tmp_path / "a full disk"))
        patched.setattr(Path, "replace", lambda a, b: (order.append((a, b)), replace(a, b))[1])
        answer = train("trainer.max_epochs=1")
    assert answer.status == 0, answer.err
    in_run = [b.relative_to(answer.run_dir) for _, b in order if b.is_relative_to(answer.run_dir)]
    assert str(in_run[-1]) == "result.json"
    assert {*map(str, in_run)} >= {*answer.record["artifacts"].values()} - {"train.log"}
    assert all(a.parent == b.parent for a, b in order)
    assert not [path for path in answer.run_dir.rglob("*") if path.name.startswith(durable.ASIDE)]


def test_the_directory_is_named_by_what_the_run_is(train):
    answer = train("seed=3")
    identity = answer.record["fingerprint"][:10]
    assert answer.run_dir.relative_to(answer.output) == Path("runs/shapes", f"base-mse-adam-s3-{identity}")


def test_figures_are_those_of_the_best_epoch(train):
    answer = train("optimizer=sgd", "optimizer.lr=10")
    assert answer.record["best_epoch"] == 1  # and not the last
    metrics = answer.record["metrics"]
    net, data = load(answer.run_dir), datamodule(made(answer.record))
    data.setup()
    images = data.splits["test"][:]
    x, x_hat = images.float() / 255, net.reconstruct(images)
    mse = (x_hat - x).square().flatten(1).mean(1).double()
    assert metrics["test/psnr"] == pytest.approx(float((-10 * mse.log10()).mean()), abs=1e-4)
    assert metrics["test/psnr_pooled"] == pytest.approx(-10 * math.log10(float(mse.mean())), abs=1e-4)
    assert metrics["test/mse"] == pytest.approx(float(mse.mean()), rel=1e-5)
    assert metrics["test/loss"] == pytest.approx(float(mse.mean()), rel=1e-5)
    assert metrics["test/l1"] == pytest.approx(float((x_hat - x).abs().mean()), rel=1e-5)
    targets = data.splits["test"].targets
    first = [int((targets == label).nonzero()[0]) for label in sorted(set(targets.tolist()))]
    published = published_protocol(x_hat[first], x[first])
    assert metrics["published/psnr"] == pytest.approx(published["psnr"], abs=1e-4)
    assert metrics["published/ssim"] == pytest.approx(published["ssim"], abs=1e-5)


def test_golden_run(train):
    """Seeded, on the CPU: figures that a change of the arithmetic, the order or the split would move."""
    metrics = train("optimizer.lr=1e-2", "trainer.max_epochs=8").record["metrics"]
    assert metrics["test/psnr"] == pytest.approx(GOLDEN["test/psnr"], rel=1e-3)
    assert metrics["test/ssim"] == pytest.approx(GOLDEN["test/ssim"], rel=1e-3)
    assert metrics["val/loss"] == pytest.approx(GOLDEN["val/loss"], rel=1e-3)


GOLDEN = {"test/psnr": 15.9356, "test/ssim": 0.16483, "val/loss": 0.024673}


def test_the_best_epoch_is_chosen_on_validation(train):
    answer = train("trainer.max_epochs=4", "optimizer.lr=0.05")
    rows = (answer.run_dir / "metrics.csv").read_text().splitlines()
    column = rows[0].split(",").index("val/psnr")
    psnr = [float(row.split(",")[column]) for row in rows[1:]]
    assert len(psnr) == 4
    assert answer.record["best_epoch"] == psnr.index(max(psnr)) + 1
    assert answer.record["metrics"]["val/psnr"] == pytest.approx(max(psnr))


def test_a_run_can_be_chosen_by_what_it_is_measured_by(train):
    words = ("trainer.max_epochs=4", "optimizer.lr=0.05", "metrics=[gmsd]", "select=val/gmsd")
    answer = train(*words)
    rows = [row.split(",") for row in (answer.run_dir / "metrics.csv").read_text().splitlines()]
    values = [float(row[rows[0].index("val/gmsd")]) for row in rows[1:]]
    assert answer.record["best_epoch"] == values.index(min(values)) + 1
    assert answer.record["metrics"]["val/gmsd"] == pytest.approx(min(values))
    record = made(answer.record)
    assert record.select == "val/gmsd"
    assert record.score("val/gmsd") == -record.metrics["val/gmsd"]
    assert "val/gmsd 0." in answer.out


def test_pca_is_a_run_like_any_other(train):
    answer = train("model=pca", "model.latent=8", *shapes(), tiny=False)
    record = answer.record
    assert record["status"] == "finished"
    assert record["time"]["steps"] == 0
    assert record["size"]["parameters"] == 8 * 3072 + 3072
    assert record["metrics"]["test/psnr"] > 10
    again = train("model=base", "model.latent=8", *shapes(), tiny=False)
    assert f"{record['metrics']['test/psnr']:.2f}" in again.out  # the floor stands below the figures
    assert "PCA of 8 numbers" in again.out


def test_what_is_measured_stands_in_curves_and_record_and_changes_nothing_else(train):
    plain = train("trainer.max_epochs=1").record
    names = ["gmsd", "haarpsi", "ms_ssim", "sharpness"]
    answer = train("trainer.max_epochs=1", f"metrics=[{','.join(names)}]")
    both = zip(answer.records, answer.run_dirs, strict=True)
    ((record, run_dir),) = [one for one in both if one[0]["config"]["metrics"] == names]
    metrics = record["metrics"]
    net, data = load(run_dir), datamodule(made(record))
    data.setup()
    images = data.splits["test"][:]
    x, x_hat = images.float() / 255, net.reconstruct(images)
    for name in names:
        expected = measures()[name].of(x_hat, x).double().mean().item()
        assert metrics[f"test/{name}"] == pytest.approx(expected, rel=1e-5)
        assert f"val/{name}" in metrics
    columns = (run_dir / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {f"val/{name}" for name in names} <= {*columns}
    same = {key: value for key, value in metrics.items() if key.partition("/")[2] not in names}
    assert same == plain["metrics"]


def shapes() -> list[str]:
    return [o for o in TINY if o.startswith(("dataset", "trainer"))]


def test_a_finished_run_is_taken_as_it_is(train, trained):
    first = trained()
    checkpoint = first.run_dir / "checkpoints" / "best.ckpt"
    stamp = checkpoint.stat().st_mtime_ns
    second = train()
    assert second.status == 0
    assert "finished before" in second.out
    assert second.record == first.record
    assert checkpoint.stat().st_mtime_ns == stamp


def test_force_runs_again_and_keeps_the_old_record_until_then(train, trained, monkeypatch):
    from caelab.training import run

    first = trained()
    real, seen = run._carry_out, []

    def watched(*args):
        seen.append((first.run_dir / "previous" / "result.json").exists())
        return real(*args)

    monkeypatch.setattr(run, "_carry_out", watched)
    second = train("force=true")
    assert seen == [True]
    assert not (first.run_dir / "previous").exists()
    assert second.record["started"] >= first.record["started"]
    assert second.record["metrics"] == first.record["metrics"]


def test_a_failed_forced_run_keeps_the_old_one(train, trained, monkeypatch):
    from caelab.training import run

    first = trained()

    def full(*_):
        raise OSError(28, "No space left on device", "/some/disk")

    monkeypatch.setattr(run, "_carry_out", full)
    for _ in range(2):
        answer = train("force=true")
        assert answer.status == 1
        assert "/some/disk: No space left on device" in answer.err
    monkeypatch.undo()
    kept = json.loads((first.run_dir / "previous" / "result.json").read_text())
    assert kept == first.record
    assert (first.run_dir / "previous" / "checkpoints" / "best.ckpt").is_file()


def test_a_forced_run_that_failed_goes_on_where_it_was(train, trained, killed, monkeypatch):
    from caelab.training import run

    first = trained()
    killed("force=true", after=1)

    def full(*_):
        raise OSError(28, "No space left on device", "/some/disk")

    with monkeypatch.context() as on_a_full_disk:
        on_a_full_disk.setattr(run, "_carry_out", full)
        assert train("force=true").status == 1
    (first.run_dir / f"{durable.ASIDE}onnx").mkdir()  # as a killed export leaves it
    answer = train("force=true")
    assert "going on after epoch 1" in answer.out
    assert answer.record["metrics"] == first.record["metrics"]
    assert not (first.run_dir / "previous").exists()


def test_a_loss_that_is_not_finite_stops_the_run(train):
    answer = train("optimizer=sgd", "optimizer.lr=1e30", "trainer.max_epochs=5")
    assert answer.status == 1
    assert answer.record["status"] == "failed"
    for words in ("the loss is nan at step", "learning rate 1e+30", "last finite loss"):
        assert words in answer.record["error"]
        assert words in answer.err
    assert answer.err.count("\n") == 1


def test_a_damaged_checkpoint_gives_way_to_the_best_and_is_named_where_that_is_damaged_too(train, trained):
    first = trained()
    last, best = (first.run_dir / "checkpoints" / f"{name}.ckpt" for name in ("last", "best"))
    (first.run_dir / "result.json").unlink()
    last.write_bytes(last.read_bytes()[:1000])
    answer = train()
    assert "last.ckpt is damaged; best.ckpt takes its place" in answer.out
    assert f"going on after epoch {first.record['best_epoch']}" in answer.out
    assert (answer.status, answer.record["metrics"]) == (0, first.record["metrics"])
    for path in (last, best):
        path.write_bytes(path.read_bytes()[:1000])
    (first.run_dir / "result.json").unlink()
    answer = train()
    assert answer.status == 1
    assert "last.ckpt is damaged" in answer.err
    assert "force=true" in answer.err


def test_a_kill_between_best_and_last_goes_on_from_the_newer_best(train, monkeypatch):
    words = ["trainer.max_epochs=3", "ema=0.5", "callbacks=early_stopping"]
    whole = train(*words, "hydra.run.dir=multirun/whole").record["metrics"]
    write = CheckpointFile.save_checkpoint

    def killed(self, content, path, storage_options=None):
        if content["epoch"] == 1 and Path(path).name == "last.ckpt":
            raise KeyError("killed")
        write(self, content, path, storage_options)

    with monkeypatch.context() as broken:
        broken.setattr(CheckpointFile, "save_checkpoint", killed)
        with pytest.raises(KeyError):
            train(*words)
    again = train(*words)
    assert "going on after epoch 2" in again.out
    assert [record["metrics"] for record in again.records] == [whole, whole]
    assert len({(path / "metrics.csv").read_text() for path in again.run_dirs}) == 1


def test_figures_of_a_repeated_epoch_do_not_go_beside_weights_of_the_first(tmp_path):
    last, best = (tmp_path / f"{name}.ckpt" for name in ("last", "best"))
    for path, epoch in ((last, 1), (best, 2)):
        known = {"epoch": epoch, "figures": {"val/psnr": 20.0 + epoch}}
        torch.save({"epoch": epoch - 1, "callbacks": {"Checkpoints": known}}, path)
    path, content = to_resume(last, best)
    assert (path, content["callbacks"]["Checkpoints"]["figures"]) == (best, {"val/psnr": 22.0})


@pytest.mark.parametrize("name", ["last", "best"])
def test_a_checkpoint_that_may_not_be_read_is_not_called_damaged_or_lost(tmp_path, monkeypatch, name):
    last, best = (tmp_path / f"{one}.ckpt" for one in ("last", "best"))
    for path in (last, best):
        torch.save({"callbacks": {"Checkpoints": {"epoch": 1}}}, path)
    assert to_resume(last, best)[0] == last
    opened = Path.open

    def refusing(path, *args):
        if path.stem == name:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args)

    monkeypatch.setattr(Path, "open", refusing)
    with pytest.raises(PermissionError):
        to_resume(last, best)


def test_a_run_whose_checkpoint_is_empty_is_trained_again(train, trained):
    first = trained()
    (first.run_dir / "checkpoints" / "best.ckpt").write_bytes(b"")
    with pytest.raises(UserError, match=r"best\.ckpt is empty: .* trains it again"):
        load(first.run_dir)
    second = train()
    assert second.status == 0, second.err
    assert "best.ckpt is lost; the run starts again from the beginning" in second.out
    assert "finished before" not in second.out
    assert second.record["metrics"] == first.record["metrics"]
    assert load(first.run_dir).weight.numel()


def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_space(train, monkeypatch):
    fsync, count = os.fsync, 0

    def full(descriptor):
        nonlocal count
        count += 1
        if count > 12:  # some files of the first epoch
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        answer = train()
    assert answer.status == 1
    assert answer.err.startswith("caelab: the disk of multirun/runs/shapes/")
    assert answer.err.endswith("or give another folder with paths.output=FOLDER\n")
    assert answer.err.count("\n") == 1
    assert not [path for path in answer.output.rglob(f"{durable.ASIDE}*")]
    assert train().status == 0


def test_a_directory_of_another_config_is_refused(train, tmp_path):
    first = train(f"hydra.run.dir={tmp_path}/multirun/mine")
    kept = (first.run_dir / "result.json").read_text()
    answer = train(f"hydra.run.dir={tmp_path}/multirun/mine", "seed=5", "force=true")
    assert answer.status == 1
    assert "holds a run of another config" in answer.err
    assert (first.run_dir / "result.json").read_text() == kept


def test_a_second_process_is_kept_out(train, trained):
    first = trained()
    (first.run_dir / "result.json").unlink()
    with FileLock(first.run_dir / ".lock"):
        answer = train()
    assert answer.status == 1
    assert "another process is training there" in answer.err


LONG = (
    *TINY,
    "dataset.train_size=320",
    "dataset.batch_size=8",
    "trainer.max_epochs=6",
    "scheduler=cosine",
    "ema=0.9",
)


def start(output: Path, environment: dict[str, str], *overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "caelab.train", *LONG, f"paths.output={output}", *overrides]
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=output.parent
    )


def wait_for_epoch(output: Path, epochs: int, process: subprocess.Popen[str]) -> None:
    while process.poll() is None:
        for path in output.rglob("metrics.csv"):
            if len(path.read_text().splitlines()) > epochs:
                return
        time.sleep(0.02)
    raise AssertionError(process.communicate())


def outcome(output: Path) -> tuple[dict, dict, str]:
    (path,) = output.rglob("result.json")
    record = json.loads(path.read_text())
    last = torch.load(path.parent / "checkpoints" / "last.ckpt", weights_only=True)
    weights = {("averaged", key): value for key, value in last["state_dict"].items()}
    weights |= {("trained", key): value for key, value in last["current_model_state"].items()}
    return record, weights, (path.parent / "metrics.csv").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("changed", ["flip=true", "augment=trivial"])
def test_killed_and_started_again_ends_bit_for_bit_the_same(tmp_path, environment, changed):
    whole = start(tmp_path / "whole", environment, changed)
    out, err = whole.communicate(timeout=200)
    assert whole.returncode == 0, out + err
    broken = tmp_path / "broken"
    for number, epochs in ((signal.SIGKILL, 1), (signal.SIGTERM, 3), (signal.SIGINT, 4)):
        process = start(broken, environment, changed)
        wait_for_epoch(broken, epochs, process)
        time.sleep(0.05)  # into the next epoch
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        if number == signal.SIGKILL:
            assert process.returncode == -signal.SIGKILL
        else:
            assert process.returncode == 128 + number
            assert "the same command goes on" in err
        assert not list(broken.rglob("result.json"))
    last = start(broken, environment, changed)
    out, err = last.communicate(timeout=200)
    assert last.returncode == 0, out + err
    assert "going on after epoch" in out
    record, weights, curves = outcome(broken)
    expected_record, expected_weights, expected_curves = outcome(tmp_path / "whole")
    assert record["metrics"] == expected_record["metrics"]
    assert record["time"]["steps"] == expected_record["time"]["steps"]
    assert curves == expected_curves
    assert weights.keys() == expected_weights.keys()
    assert all(torch.equal(weights[key], expected_weights[key]) for key in weights)


def test_the_moving_average_is_what_is_kept_and_measured(train):
    for epochs in (1, 2, 3):  # of one step each, so that each run's weights are those after one step more
        answer = train("ema=0.75", "dataset.train_size=32", f"trainer.max_epochs={epochs}")
    runs = sorted(
        zip(answer.run_dirs, answer.records, strict=True), key=lambda pair: pair[1]["time"]["epochs"]
    )
    lasts = [torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run, _ in runs]
    steps = [last["current_model_state"] for last in lasts]
    run_dir, record = runs[-1]
    key = "net.decoder.0.0.weight"
    expected = 0.75 * (0.75 * steps[0][key] + 0.25 * steps[1][key]) + 0.25 * steps[2][key]
    torch.testing.assert_close(lasts[-1]["state_dict"][key], expected)
    best = torch.load(run_dir / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    net, data = load(run_dir), datamodule(made(record))
    assert torch.equal(net.state_dict()[key.removeprefix("net.")], best[key])
    data.setup()
    images = data.splits["test"][:]
    mse = (net.reconstruct(images) - images.float() / 255).square().flatten(1).mean(1).double()
    assert record["metrics"]["test/psnr"] == pytest.approx(float((-10 * mse.log10()).mean()), abs=1e-4)
    told = "after 3 steps the first weights are still 56% of the average"  # 0.75 * 0.75, as above
    assert f"  ema=0.75: {told}; try a lower one, or ema=null\n" in answer.out
    assert "first weights" not in train("ema=0.05", "dataset.train_size=32", "trainer.max_epochs=3").out


@pytest.fixture
def seen(monkeypatch):
    """Each training step of this process: its epoch, the optimizer's steps before it, and its images."""
    batches = []
    step = AutoencoderModule.training_step

    def spied(self, batch, batch_idx):
        states = self.trainer.optimizers[0].state.values()
        steps = max((int(state["step"]) for state in states if "step" in state), default=0)
        batches.append((self.current_epoch, steps, batch.clone()))
        return step(self, batch, batch_idx)

    monkeypatch.setattr(AutoencoderModule, "training_step", spied)
    return batches


@pytest.mark.parametrize("seed", [0, 1])
def test_initial_weights_and_order_of_images_are_those_of_the_seed(train, seen, seed):
    answer = train("optimizer=sgd", "optimizer.lr=0.0", f"seed={seed}")
    torch.manual_seed(seed)
    expected = Base((3, 32, 32), 8, [4, 8], [])
    trained = dict(load(answer.run_dir).named_parameters())
    assert all(torch.equal(trained[name], value) for name, value in expected.named_parameters())
    data = datamodule(made(answer.record))
    data.setup()
    orders = [data.splits["train"][permutation(96, seed, epoch)] for epoch in (0, 1)]
    assert torch.equal(torch.cat([batch for _, _, batch in seen]), torch.cat(orders))


def test_a_resumed_run_trains_only_the_epochs_that_are_left(train, seen, killed):
    whole = train("trainer.max_epochs=3", "hydra.run.dir=multirun/whole").record["metrics"]
    killed("trainer.max_epochs=3", after=2)
    seen.clear()
    again = train("trainer.max_epochs=3")
    assert [(epoch, steps) for epoch, steps, _ in seen] == [(2, 6), (2, 7), (2, 8)]
    assert [record["metrics"] for record in again.records] == [whole, whole]


@pytest.mark.parametrize("value", ["1", "0.0", "1.5", "half"])
def test_an_average_that_cannot_be_is_refused(train, value):
    answer = train(f"ema={value}")
    assert answer.status == 1
    assert answer.err.strip().endswith(f"ema={value}: must be between 0 and 1, such as ema=0.999, or null")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(train, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    answer = train(f"paths.output={tmp_path}/closed")
    assert answer.status == 1
    assert f"{tmp_path}/closed" in answer.err


def test_an_output_that_is_a_file(train, tmp_path):
    (tmp_path / "taken").write_text("")
    answer = train(f"paths.output={tmp_path}/taken")
    assert answer.status == 1
    assert f"{tmp_path}/taken" in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize("keep", ["both", "best", "none"])
def test_a_finished_run_keeps_the_checkpoints_that_keep_names(train, killed, keep):
    names = {"both": {"best", "last"}, "best": {"best"}, "none": set()}[keep]
    killed(f"keep={keep}", after=1)
    answer = train(f"keep={keep}")
    assert "going on after epoch 1" in answer.out  # so until the end both were there
    folder = answer.run_dir / "checkpoints"
    assert {path.stem for path in folder.iterdir()} == names
    assert {"best", "last"} & answer.record["artifacts"].keys() == names
    for name in {"best", "last"} - names:
        (folder / f"{name}.ckpt").write_bytes(b"weights")  # as a kill before the end leaves it
    again = train()
    assert "finished before" in again.out
    assert again.record == answer.record
    assert {path.stem for path in folder.iterdir()} == names


def test_a_finished_run_answers_from_a_file_system_that_cannot_be_written(train, monkeypatch):
    answer = train("keep=none")

    def refuse(path, **_):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    with monkeypatch.context() as mounted:
        mounted.setattr(Path, "unlink", refuse)
        assert train("keep=none").record == answer.record


def test_a_last_batch_of_one_image_is_told_where_it_cannot_be_normalised(train):
    words = ["model.channels=[4,4,4,4,4]", "model.halvings=4", "dataset.image_size=16"]
    assert train(*words, "dataset.train_size=33").err.startswith(
        "caelab: dataset.batch_size: the last batch is a single image, "
    )


def test_keep_has_three_choices(train):
    assert train("keep=bst").err == "caelab: keep=bst: not a choice; did you mean 'best'?\n"
