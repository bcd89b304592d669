"""Loggers: rows that survive a resume, an explicit W&B mode, and files that hold what was logged."""

import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import offline
import pytest
import torch
import toys
from tiny import TINY
from wandb_server import Server

from caelab.data import floors
from caelab.data.shapes import Shapes
from caelab.errors import UserError
from caelab.models.pca import PCA
from caelab.training import floor, loggers, pictures
from caelab.training.loggers import CSV, WandB, mlflow, wandb


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


def test_a_run_writes_every_epoch(trained):
    answer = trained()
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


def test_tensorboard_holds_curves_pictures_and_table(train):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    answer = train("logger=tensorboard")
    assert answer.status == 0
    events = EventAccumulator(str(answer.run_dir / "tensorboard"), {"images": 0, "tensors": 0})
    events.Reload()
    logged = [event.value for event in events.Scalars("val/psnr")]
    assert logged == pytest.approx([float(row["val/psnr"]) for row in rows(answer.run_dir)], rel=1e-6)
    assert [event.step for event in events.Images("val/images")] == [3, 6]  # steps of training
    assert len(events.Images("test/images")) == 1
    (table,) = events.Tensors("test/table/text_summary")
    assert table.tensor_proto.string_val[0].startswith(b"| image | psnr | ssim |\n| --- | --- | --- |\n| 0 |")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of MLflow itself
def test_mlflow_holds_all_parts_of_a_run(train, killed, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    killed("logger=mlflow", after=1)
    answer = train("logger=mlflow", "keep=best")
    assert answer.status == 0, answer.err
    assert "logger" not in answer.err
    client = mlflow.MlflowClient("sqlite:///multirun/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("caelab").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "shapes-base-mse-adam-s0"
    assert run.data.params["choices/model"] == "base"
    assert run.data.params["model/latent"] == "8"
    curve = client.get_metric_history(run.info.run_id, "train/loss")
    assert [one.value for one in curve] == pytest.approx(
        [float(row["train/loss"]) for row in rows(answer.run_dir)]
    )
    record = answer.record
    metrics = run.data.metrics
    assert {key: metrics[key] for key in record["metrics"]} == pytest.approx(record["metrics"])
    assert metrics["size/parameters"] == record["size"]["parameters"]
    assert run.data.tags["fingerprint"] == record["fingerprint"]
    names = {
        Path(one.path).name.partition("+")[0] for one in client.list_artifacts(run.info.run_id, "images")
    }
    assert names == {"val~images", "test~images"}


def test_any_logger_of_lightning_is_a_yaml_of_the_users(train, tmp_path):
    own = tmp_path / "conf" / "logger" / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(
        "mine:\n  _target_: lightning.pytorch.loggers.CSVLogger\n"
        "  save_dir: ${hydra:runtime.output_dir}\n  name: ''\n  version: own\n"
    )
    answer = train("logger=mine")
    assert answer.status == 0
    with (answer.run_dir / "own" / "metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1", "2"]  # the last of the test


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


@pytest.fixture
def no_key(monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb_config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "wandb_cache"))
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("WANDB_ERROR_REPORTING", raising=False)


@pytest.fixture(scope="module")
def first_images(tmp_path_factory):
    """The first validation image of each class of what a run trains on, (N, C, H, W) uint8."""
    data = Shapes(str(tmp_path_factory.mktemp("data")), train_size=96, val_size=40, test_size=50)
    data.setup()
    labels = data.splits["val"].targets.tolist()
    return data.splits["val"][torch.tensor([labels.index(label) for label in sorted(set(labels))])]


@pytest.mark.usefixtures("no_key")
def test_an_offline_wandb_run_holds_config_curves_pictures_table_and_summary(train, first_images):
    answer = train("logger=[csv,wandb]", "logger.mode=offline", "corruption=gaussian_noise")
    record = answer.record
    assert answer.status == 0
    found = offline.read(answer.run_dir)
    assert found.exit == [0]
    assert found.config["model"]["latent"] == 8
    assert found.config["choices"]["model"] == "base"
    assert found.config["fingerprint"] == record["fingerprint"]
    assert not {"paths", "logger"} & found.config.keys()
    curve = [float(row["val/psnr"]) for row in rows(answer.run_dir)]
    assert found.column("val/psnr") == pytest.approx(curve, rel=1e-6)
    assert found.column("_step")[:2] == found.column("epoch")[:2] == [0, 1]
    assert set(found.run.tags) == {"shapes", "base", "mse", "adam"}

    assert len(found.column("val/images.filenames")) == 2
    (name,) = found.column("val/images.filenames")[-1]
    picture = (255 * matplotlib.image.imread(found.folders[0] / "files" / name)).round()
    tile = picture[2:66, 2:66]  # the first image, each pixel as a square of four, below a white line
    assert np.array_equal(tile[::2, ::2].transpose(2, 0, 1), first_images[0].numpy())
    assert picture.shape == (2 + 3 * 66, 2 + len(first_images) * 66, 3)

    (table,) = found.media("table/test/*.json")
    table = json.loads(table.read_text())
    assert table["columns"] == ["image", "originals", "corrupted", "reconstructions", "psnr", "ssim"]
    assert np.mean([row[-2] for row in table["data"]]) == pytest.approx(record["metrics"]["published/psnr"])
    assert len(found.column("test/images.filenames")) == 1

    assert record["metrics"].items() <= found.summary.items()
    assert found.summary["best_epoch"] == record["best_epoch"]
    assert found.summary["size/parameters"] == record["size"]["parameters"]


@pytest.mark.usefixtures("no_key")
def test_the_gain_is_over_pca_of_as_many_numbers_which_is_fitted_once(train, monkeypatch):
    monkeypatch.setattr(floor, "_RATE", 1e14)  # so that it pays
    words = ("logger=wandb", "logger.mode=offline", "corruption=gaussian_noise")
    first = train(*words)
    fitted = []
    initialise = PCA.initialise
    monkeypatch.setattr(PCA, "initialise", lambda *given: (fitted.append(given), initialise(*given)))
    train(*words, "seed=1")
    assert not fitted
    data = [word for word in TINY if word.startswith(("dataset", "trainer.acc"))]
    pca = train(*data, "model=pca", "model.latent=8", *words, tiny=False)
    floors = {record["choices"]["model"]: record["metrics"]["test/psnr"] for record in pca.records}
    for path, record in zip(pca.run_dirs, pca.records, strict=True):
        summary = offline.read(path).summary
        if record["choices"]["model"] == "pca":
            assert "pca/gain" not in summary  # it is its own
        else:
            assert summary["pca/psnr"] == pytest.approx(floors["pca"], abs=1e-5)
            assert summary["pca/gain"] == summary["test/psnr"] - summary["pca/psnr"]
    assert first.status == pca.status == 0


def test_a_floor_is_that_of_the_images_wherever_they_lie(tmp_path):
    def of(target, sha256="same", **places):
        dataset = {"_target_": f"caelab.data.{target}", "train_size": 5, **places}
        return toys.typed(config={"dataset": dataset}, data={"sha256": sha256})

    first = of("folder.Folder", path="/scratch/job0/photos")
    floors.keep(tmp_path, floor._key(first), {"test/psnr": 21.0})
    assert floor.kept(of("folder.Folder", path="/scratch/job1/photos", index="a.csv"), tmp_path) == 21.0
    assert floor.kept(of("folder.Folder", "other", path="/scratch/job0/photos"), tmp_path) is None
    # one that an older caelab has kept
    clean = {"corruption._target_": "caelab.corruptions.Clean", "dataset.root": None, "dataset.train_size": 5}
    mnist = of("mnist.MNIST")
    known = [6, mnist.data.plain(), {**clean, "dataset._target_": "caelab.data.mnist.MNIST"}]
    floors.keep(tmp_path, json.dumps(known, sort_keys=True), {"test/psnr": 22.0})
    assert floor.kept(mnist, tmp_path) == 22.0


@pytest.mark.usefixtures("no_key")
def test_a_floor_that_would_take_longer_than_the_run_is_left_out(train, monkeypatch):
    monkeypatch.setattr(floor, "_RATE", 1.0)
    answer = train("logger=wandb", "logger.mode=offline", "trainer.max_epochs=1")
    assert answer.status == 0
    assert not [key for key in offline.read(answer.run_dir).summary if key.startswith("pca/")]


@pytest.mark.parametrize(
    ("epochs", "each", "every", "shown"),
    [
        (1, 1, None, {0}),
        (12, 1, None, set(range(12))),
        (100, 1, None, {0, 9, 18, 27, 36, 45, 54, 63, 72, 81, 90, 99}),
        (10, 4, None, {3, 7}),
        (3, 4, None, set()),
        (10, 1, 4, {0, 4, 8, 9}),
        (12, 2, 5, {1, 5, 11}),
    ],
)
def test_pictures_are_taken_first_last_and_between(epochs, each, every, shown):
    assert pictures.turns(epochs, each, every) == shown


@pytest.mark.parametrize("every", [0, "x", 1.5, True])
def test_another_interval_is_refused(every):
    with pytest.raises(UserError, match=f"logger.images_every={every}: must be a whole number, 1 or more"):
        pictures.Pictures(every)


@pytest.mark.usefixtures("no_key")
def test_a_run_that_a_callback_ends_shows_its_last_epoch(train):
    stop = ("callbacks=early_stopping", "callbacks.early_stopping.patience=1", "optimizer.lr=0")
    answer = train("logger=wandb", "logger.images_every=9", "trainer.max_epochs=9", *stop)
    assert answer.record["time"]["epochs"] == 2
    assert len(offline.read(answer.run_dir).column("val/images.filenames")) == 2


@pytest.mark.usefixtures("no_key")
def test_what_is_too_long_for_wandb_is_cut_and_its_config_holds_all(tmp_path):
    long = "model=improved_skip " + "model.skip_levels=[1,2,3,4] " * 4
    logger = WandB(str(tmp_path), mode="offline", job_type=long, name=long * 2, tags=[long, long + "b", "c"])
    logger.log_hyperparams({"variant": long})
    logger.close(failed=False)
    found = offline.read(tmp_path)
    digest = hashlib.sha256(long.encode()).hexdigest()[:8]
    assert found.run.job_type == f"{long[:26]}..{digest}..{long[-26:]}"
    assert len(found.run.display_name) == 128
    one, other, short = sorted(found.run.tags, key=len, reverse=True)
    assert (len(one), len(other), short) == (64, 64, "c")
    assert one != other  # the hash tells what the first 64 characters do not
    assert found.config["variant"] == long


@pytest.mark.usefixtures("no_key")
def test_without_a_key_wandb_is_offline_and_says_how_to_upload(train):
    answer = train("logger=wandb")
    assert answer.status == 0
    assert "wandb sync" in answer.out
    assert os.environ["WANDB_ERROR_REPORTING"] == "false"  # else it looks up a host, though offline
    assert offline.read(answer.run_dir).exit == [0]


@pytest.mark.usefixtures("no_key")
def test_a_failed_run_is_failed_in_wandb_and_jobs_of_a_sweep_are_runs_of_one_group(train):
    answer = train("-m", "logger=wandb", "logger.mode=offline", "optimizer=sgd", "optimizer.lr=1e30,1e-2")
    assert answer.status == 1
    found = {}
    for path in answer.output.rglob("result.json"):
        inside = offline.read(path.parent)
        found[inside.exit[0]] = inside.run
    assert set(found) == {0, 1}
    assert found[0].run_group == found[1].run_group
    assert found[0].run_group.startswith("sweep-")
    assert found[0].job_type.endswith("optimizer.lr=0.01")
    assert found[1].job_type != found[0].job_type
    assert "seed" not in found[0].job_type
    assert "dataset" not in found[0].job_type


@pytest.mark.usefixtures("no_key")
def test_the_parts_of_a_resumed_run_are_one_run_in_wandb(train, killed):
    words = ("logger=wandb", "logger.mode=offline", "trainer.max_epochs=3")
    killed(*words, after=1)
    answer = train(*words)
    found = offline.read(answer.run_dir)
    assert found.exit == [1, 0]
    ids = {path.name.split("-")[3] for path in found.folders}  # a number follows where two begin in a second
    assert ids == {found.run.run_id} == {(answer.run_dir / "wandb" / "id").read_text()}
    assert [row["epoch"] for row in found.history if "val/psnr" in row] == [0, 1, 2]
    assert len(found.column("val/images.filenames")) == 3

    again = train(*words, "force=true")
    assert offline.read(again.run_dir).run.run_id not in ids  # another run, which starts anew


@pytest.mark.parametrize("other", [{"environments": [{"code": "0" * 64}]}, {"images": "0" * 64}])
def test_a_run_that_starts_anew_is_another_one_for_its_loggers(train, killed, monkeypatch, other):
    ids, start = [], loggers.start

    def started(job, record):
        with monkeypatch.context() as patched:
            patched.setattr(mlflow.MLFlowLogger, "__init__", lambda self, run_id, **_: None)
            patched.setattr(mlflow.MLFlowLogger, "run_id", f"new-{len(ids)}")
            going_on = mlflow.MLflow(str(job.run_dir), "uri", "caelab", "name")._going_on
        ids.append((wandb._id(job.run_dir), going_on))
        return start(job, record)

    monkeypatch.setattr(loggers, "start", started)
    for epoch in (1, 2):
        killed("force=true", after=epoch)
        next(Path("multirun").rglob("result.json")).unlink()  # a killed process leaves none
    for path in Path("multirun").rglob("*.ckpt"):
        torch.save(torch.load(path) | other, path)
    answer = train("force=true")
    assert answer.out.count("force=true: the run starts again") == 1
    assert [going_on for _, going_on in ids] == [False, True, False]
    assert ids[0][0] == ids[1][0] != ids[2][0]
    assert (answer.run_dir / "mlflow.id").read_text() == "new-2"


@pytest.mark.slow
@pytest.mark.usefixtures("no_key")
def test_wandb_sync_joins_the_parts_of_a_resumed_run(train, killed, environment):
    words = ("logger=wandb", "logger.mode=offline", "trainer.max_epochs=3")
    killed(*words, after=2)
    answer = train(*words)
    parts = offline.read(answer.run_dir).folders
    with Server() as server:
        done = server.call(environment, "wandb", "sync", *map(str, parts))
    assert done.returncode == 0, done.stderr
    assert [row["epoch"] for row in server.history if "val/psnr" in row] == [0, 1, 2]
    assert [row["_step"] for row in server.history] == list(range(len(server.history)))


@pytest.mark.usefixtures("no_key")
def test_the_environment_says_what_wandb_users_expect(train, monkeypatch, tmp_path):
    given = {"PROJECT": "p", "ENTITY": "e", "TAGS": "one,two", "RUN_GROUP": "g", "NAME": "n"}
    given |= {"MODE": "offline", "JOB_TYPE": "j", "RUN_ID": "abc", "DIR": str(tmp_path / "elsewhere")}
    (tmp_path / "elsewhere").mkdir()
    for key, value in given.items():
        monkeypatch.setenv(f"WANDB_{key}", value)
    answer = train("logger=wandb", "trainer.max_epochs=1")
    assert answer.status == 0
    assert "no API key" not in answer.out  # it was asked for
    run = offline.read(tmp_path / "elsewhere").run
    assert (run.project, run.entity, run.run_group, run.job_type) == ("p", "e", "g", "j")
    assert (run.display_name, run.run_id) == ("n", "abc")
    assert set(run.tags) == {"shapes", "base", "mse", "adam", "one", "two"}
    typed = train("logger=wandb", "trainer.max_epochs=1", "logger.wandb.project=mine", "seed=1")
    assert {offline.read(tmp_path / "elsewhere").run.project, typed.status} == {"mine", 0}


@pytest.mark.usefixtures("no_key")
def test_wandb_that_is_disabled_leaves_nothing(train):
    answer = train(
        "logger=wandb", "logger.mode=disabled", "logger.wandb.artifact=true", "trainer.max_epochs=1"
    )
    assert (answer.status, answer.err) == (0, "")
    assert not (answer.run_dir / "wandb").exists()


@pytest.mark.usefixtures("no_key")
def test_a_run_that_bypasses_its_latent_is_marked_and_its_network_goes_along_if_asked(train, monkeypatch):
    monkeypatch.setattr("caelab.training.scoring.latent_reliance", lambda *_: 0.25)
    answer = train("logger=wandb", "logger.wandb.artifact=true", "trainer.max_epochs=1")
    found = offline.read(answer.run_dir)
    assert found.summary["bypassing"] is True
    assert "bypasses latent" in found.run.tags
    assert [name for name in found.artifacts if name.startswith("model-")] == [f"model-{found.run.run_id}"]


@pytest.mark.usefixtures("no_key")
def test_what_goes_wrong_at_the_end_costs_no_run(train, monkeypatch):
    def refuse(*_):
        raise OSError("no memory")

    monkeypatch.setattr(floor, "measured", refuse)
    answer = train("logger=wandb", "trainer.max_epochs=1")
    assert answer.status == 0
    assert "logger: the run's summary is left out: no memory" in answer.err


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


@pytest.mark.usefixtures("no_key")
@pytest.mark.parametrize(
    ("method", "line"),
    [
        ("log_metrics", "logger=wandb failed and is left out from here: no route to host"),
        ("log_image", "logger=wandb failed and is left out from here: no route to host"),
        ("conclude", "logger=wandb failed and is left out from here: no route to host"),
        ("close", "logger: WandB did not end: no route to host"),
    ],
)
def test_a_logger_that_fails_later_is_named_once_and_never_costs_the_run(train, monkeypatch, method, line):
    import wandb

    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(WandB, method, refuse)
    answer = train("logger=[csv,wandb]", "trainer.max_epochs=2")
    assert (wandb.run is None) == (method != "close")  # whoever comes next begins a run of its own
    wandb.finish()
    assert answer.status == 0
    assert answer.err.count(line) == 1
    assert answer.record["status"] == "finished"
    assert [row["epoch"] for row in rows(answer.run_dir)] == ["0", "1"]
