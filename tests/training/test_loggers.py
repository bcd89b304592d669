"""Loggers: rows that survive a resume, an explicit W&B mode, and files that hold what was logged."""

import csv
import hashlib
import json
import os
import struct
import subprocess
import sys
import time

import pytest

from caelab.training import loggers
from caelab.training.loggers import CSV, WandB


def rows(path):
    with (path / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv_has_one_row_an_epoch(tmp_path):
    logger = CSV(str(tmp_path))
    logger.log_metrics({"epoch": 0, "val/psnr": 20.5}, 3)
    logger.log_metrics({"epoch": 0, "train/loss": 0.25}, 3)
    logger.log_metrics({"epoch": 1, "val/psnr": 21.5, "train/loss": 0.125}, 6)
    assert rows(tmp_path) == [
        {"epoch": "0", "step": "3", "val/psnr": "20.5", "train/loss": "0.25"},
        {"epoch": "1", "step": "6", "val/psnr": "21.5", "train/loss": "0.125"},
    ]


def test_csv_goes_on_after_a_resume(tmp_path):
    logger = CSV(str(tmp_path))
    for epoch in range(3):
        logger.log_metrics({"epoch": epoch, "val/psnr": epoch}, epoch)
    again = CSV(str(tmp_path))  # the checkpoint knew of two epochs only
    again.log_metrics({"epoch": 2, "val/psnr": 7}, 2)
    assert [row["val/psnr"] for row in rows(tmp_path)] == ["0", "1", "7"]
    fresh = CSV(str(tmp_path))
    fresh.log_metrics({"epoch": 0, "val/psnr": 9}, 0)
    assert [row["val/psnr"] for row in rows(tmp_path)] == ["9"]


def test_what_a_callback_logs_without_an_epoch_stands_in_the_next_row(tmp_path):
    logger = CSV(str(tmp_path))
    logger.log_metrics({"lr-Adam": 0.5}, 0)
    logger.log_metrics({"epoch": 0, "val/psnr": 20.5}, 3)
    logger.log_metrics({"lr-Adam": 0.25}, 3)
    logger.log_metrics({"epoch": 1, "val/psnr": 21.5}, 6)
    assert [row["lr-Adam"] for row in rows(tmp_path)] == ["0.5", "0.25"]


def test_a_run_writes_every_epoch(train):
    answer = train()
    found = rows(answer.run_dir)
    assert [row["epoch"] for row in found] == ["0", "1"]
    best = found[answer.record["best_epoch"] - 1]
    assert float(best["val/psnr"]) == pytest.approx(answer.record["metrics"]["val/psnr"], rel=1e-6)
    assert all(float(row["train/loss"]) > 0 for row in found)


def test_every_run_has_its_curves_as_csv(train):
    answer = train("logger=none")
    assert answer.status == 0
    assert [row["epoch"] for row in rows(answer.run_dir)] == ["0", "1"]
    assert answer.record["artifacts"]["curves"] == "metrics.csv"


def test_tensorboard_holds_the_curves(train):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    answer = train("logger=tensorboard")
    assert answer.status == 0
    events = EventAccumulator(str(answer.run_dir / "tensorboard"))
    events.Reload()
    logged = [event.value for event in events.Scalars("val/psnr")]
    assert logged == pytest.approx([float(row["val/psnr"]) for row in rows(answer.run_dir)], rel=1e-6)


def test_a_logger_that_is_not_installed_names_its_extra(train, monkeypatch):
    monkeypatch.setattr(loggers, "find_spec", lambda package: None if package == "tensorboard" else package)
    answer = train("logger=[csv,tensorboard]")
    assert answer.status == 1
    assert (
        "caelab: logger=tensorboard: it is not installed; pip install 'caelab[tensorboard]'\n" in answer.err
    )


def test_wandb_is_not_imported_unless_asked_for():
    code = "import caelab.train, caelab.training.run, sys; print('wandb' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_wandb_refuses_an_unknown_mode(tmp_path):
    with pytest.raises(ValueError, match="mode=onlin"):
        WandB(str(tmp_path), mode="onlin")


def log_records(path):
    """Records of a W&B file: a LevelDB log (32 KiB blocks of checksum, length, kind, body) after 7 bytes."""
    data, position, body = path.read_bytes(), 7, b""
    while position < len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        body += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield body
            body = b""


def offline_file(run_dir):
    """Config, metrics and exit status in an offline W&B run, which W&B's own process may yet be writing."""
    for _ in range(300):
        if (found := offline_file_as_it_is(run_dir))[0]["exit"] is not None:
            break
        time.sleep(0.2)
    return found


def offline_file_as_it_is(run_dir):
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = run_dir.glob("wandb/offline-run-*/run-*.wandb")
    found = {"config": {}, "history": [], "run": None, "exit": None}
    for body in log_records(path):
        record = Record.FromString(body)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found["run"] = record.run
            found["config"] |= {item.key: item.value_json for item in record.run.config.update}
        elif kind == "config":
            found["config"] |= {
                item.key or item.nested_key[0]: item.value_json for item in record.config.update
            }
        elif kind == "history":
            found["history"].append(
                {(i.key or ".".join(i.nested_key)): i.value_json for i in record.history.item}
            )
        elif kind == "exit":
            found["exit"] = record.exit.exit_code
    return found, path.parent


@pytest.fixture
def no_key(monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb_config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "wandb_cache"))
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("WANDB_ERROR_REPORTING", raising=False)


@pytest.mark.usefixtures("no_key")
def test_an_offline_wandb_run_holds_config_metrics_and_images(train):
    answer = train("logger=[csv,wandb]", "logger.mode=offline")
    assert answer.status == 0
    found, folder = offline_file(answer.run_dir)
    assert '"latent"' in found["config"]["model"]
    logged = [float(row["val/psnr"]) for row in found["history"] if "val/psnr" in row]
    assert logged == pytest.approx([float(row["val/psnr"]) for row in rows(answer.run_dir)], rel=1e-6)
    keys = {key for row in found["history"] for key in row}
    assert {"train/loss", "val/ssim", "test/psnr"} <= keys
    assert any("reconstructions" in key for key in keys)
    assert list((folder / "files" / "media" / "images").glob("reconstructions*.png"))
    assert set(found["run"].tags) == {"shapes", "base", "mse", "adam"}
    assert found["exit"] == 0


@pytest.mark.usefixtures("no_key")
def test_what_is_too_long_for_wandb_is_cut_and_its_config_holds_all(tmp_path):
    long = "model=improved_skip " + "model.skip_levels=[1,2,3,4] " * 4
    logger = WandB(str(tmp_path), mode="offline", job_type=long, name=long * 2, tags=[long, long + "b", "c"])
    logger.log_hyperparams({"logger": {"wandb": {"job_type": long}}})
    logger.close(failed=False)
    found = offline_file(tmp_path)[0]
    digest = hashlib.sha256(long.encode()).hexdigest()[:8]
    assert found["run"].job_type == f"{long[:26]}..{digest}..{long[-26:]}"
    assert len(found["run"].display_name) == 128
    one, other, short = sorted(found["run"].tags, key=len, reverse=True)
    assert (len(one), len(other), short) == (64, 64, "c")
    assert one != other  # the hash tells what the first 64 characters do not
    assert json.loads(found["config"]["logger"])["wandb"]["job_type"] == long


@pytest.mark.usefixtures("no_key")
def test_without_a_key_wandb_is_offline_and_says_how_to_upload(train):
    answer = train("logger=wandb")
    assert answer.status == 0
    assert "wandb sync" in answer.out
    assert os.environ["WANDB_ERROR_REPORTING"] == "false"  # else it looks up a host, though offline
    assert offline_file(answer.run_dir)[0]["exit"] == 0


@pytest.mark.usefixtures("no_key")
def test_a_failed_run_is_failed_in_wandb_and_jobs_of_a_sweep_are_runs_of_one_group(train):
    answer = train("-m", "logger=wandb", "logger.mode=offline", "optimizer=sgd", "optimizer.lr=1e30,1e-2")
    assert answer.status == 1
    found = {}
    for path in answer.output.rglob("result.json"):
        inside = offline_file(path.parent)[0]
        found[inside["exit"]] = inside["run"]
    assert set(found) == {0, 1}
    assert found[0].run_group == found[1].run_group
    assert found[0].run_group.startswith("sweep-")
    assert found[0].job_type.endswith("optimizer.lr=0.01")
    assert found[1].job_type != found[0].job_type
    assert "seed" not in found[0].job_type
    assert "dataset" not in found[0].job_type


def test_an_interrupted_run_goes_on_in_wandb_where_it_was_logged_online(tmp_path):
    def version(mode):
        return WandB(str(tmp_path), mode=mode).version

    for name in ("run-20261124_235959-zzzz1111", "run-20261125_000001-abcd2222"):
        (tmp_path / "wandb" / name).mkdir(parents=True)
    (tmp_path / "wandb" / "offline-run-20261125_000002-efgh3333").mkdir()
    assert version("online") is None  # no checkpoint: it starts anew
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    assert version("online") == "abcd2222"
    assert version("offline") is None


@pytest.mark.usefixtures("no_key")
def test_a_logger_that_cannot_start_never_costs_the_run(train, monkeypatch):
    import wandb

    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(wandb, "init", refuse)
    answer = train("logger=[csv,wandb]", "logger.mode=online")
    assert answer.status == 0
    assert "logger=wandb did not start and is left out: no route to host" in answer.err
    assert answer.record["status"] == "finished"
