"""Lightning's Trainer in a run: each argument acts or is refused; the user's callbacks act."""

import csv
import inspect
import re
import shutil

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.profilers import SimpleProfiler
from torch import nn

from caelab.composition import compose
from caelab.config import options
from caelab.config.fingerprint import later
from caelab.config.grammar import written
from caelab.config.refusals import REFUSED, check, limits
from caelab.data.datamodule import EVALUATION_BATCH
from caelab.data.shapes import Shapes
from caelab.errors import UserError
from caelab.inference import restore
from caelab.runs.record import made
from caelab.training import trainer as trainers

CPU = torch.device("cpu")
PLAIN = {"_target_": "lightning.pytorch.Trainer", "accelerator": "cpu", "devices": 1, "max_epochs": 3}
QUIET = dict.fromkeys(("logger", "enable_progress_bar", "enable_checkpointing"), False)

# Arguments that act: a value, and where a trainer shows that it has taken it.
ACTS = {
    "accelerator": ("cpu", lambda t: type(t.accelerator).__name__, "CPUAccelerator"),
    "accumulate_grad_batches": (2, lambda t: t.accumulate_grad_batches, 2),
    "benchmark": (True, lambda _: torch.backends.cudnn.benchmark, True),
    "callbacks": None,  # below
    "check_val_every_n_epoch": (2, lambda t: t.check_val_every_n_epoch, 2),
    "detect_anomaly": (True, lambda t: t._detect_anomaly, True),
    "deterministic": (True, lambda _: torch.are_deterministic_algorithms_enabled(), True),
    "devices": (2, lambda t: t.num_devices, 2),
    "enable_progress_bar": None,  # says whether a run shows its epochs
    "gradient_clip_algorithm": ("value", lambda t: t.gradient_clip_algorithm, "value"),
    "gradient_clip_val": (0.5, lambda t: t.gradient_clip_val, 0.5),
    "inference_mode": (False, lambda t: t.validate_loop.inference_mode, False),
    "limit_test_batches": None,  # below
    "limit_val_batches": None,
    "limit_train_batches": (2, lambda t: t.limit_train_batches, 2),
    "log_every_n_steps": (7, lambda t: t.log_every_n_steps, 7),
    "max_epochs": (9, lambda t: t.max_epochs, 9),
    "min_epochs": (2, lambda t: t.min_epochs, 2),
    "precision": ("bf16-mixed", lambda t: t.precision, "bf16-mixed"),
    "profiler": ("simple", lambda t: type(t.profiler), SimpleProfiler),
    "strategy": ("ddp", lambda t: type(t.strategy).__name__, "DDPStrategy"),
    "sync_batchnorm": (True, lambda t: t._accelerator_connector._layer_sync is not None, True),
}


def test_every_argument_of_lightnings_trainer_acts_or_is_refused():
    arguments = set(inspect.signature(Trainer).parameters)
    assert ACTS.keys() | REFUSED.keys() == arguments
    assert not ACTS.keys() & REFUSED.keys()


@pytest.mark.parametrize("name", [name for name, case in ACTS.items() if case])
def test_an_argument_acts(name):
    value, shown, expected = ACTS[name]
    try:
        assert shown(trainers.build(PLAIN, CPU, **QUIET)) != expected or name == "accelerator"
        assert shown(trainers.build(PLAIN | {name: value}, CPU, **QUIET)) == expected
    finally:
        trainers.build(PLAIN, CPU, **QUIET)
    assert not torch.are_deterministic_algorithms_enabled()  # as the next job of the process expects
    assert not torch.backends.cudnn.benchmark


@pytest.mark.parametrize(
    ("key", "value", "right"),
    [
        ("deterministic", "foo", "true or false or warn"),
        ("benchmark", "abc", "true or false"),
        ("inference_mode", 1, "true or false"),
        ("min_epochs", "abc", "a whole number, 1 or more"),
        ("log_every_n_steps", -1, "a whole number, 0 or more"),
        ("gradient_clip_val", -1, "a number, 0 or more, or null"),
        ("gradient_clip_val", "abc", "a number, 0 or more, or null"),
    ],
)
def test_a_value_that_would_be_taken_for_another_is_refused(key, value, right):
    with pytest.raises(UserError, match=f"trainer.{key}={value}: must be {right}"):
        check(PLAIN | {key: value})


def test_values_that_say_nothing_or_what_they_may_pass():
    check(PLAIN | {"deterministic": "warn", "benchmark": None, "gradient_clip_val": 0, "min_epochs": None})
    with pytest.raises(UserError, match="trainer: `devices` selected with"):
        trainers.build(PLAIN | {"devices": "abc"}, CPU, **QUIET)


@pytest.mark.parametrize("name", REFUSED)
def test_an_argument_that_would_not_act_is_refused_with_the_reason(name):
    with pytest.raises(UserError, match=re.escape(f"trainer.{name}: cannot be set, since {REFUSED[name]}")):
        check(PLAIN | {name: 1})


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"strategy": "fsdp"}, "trainer.strategy=fsdp: not supported; known: auto, ddp, "),
        ({"limit_train_batches": 0}, "trainer.limit_train_batches=0: must be a number of batches"),
        ({"limit_train_batches": 1.5}, "trainer.limit_train_batches=1.5: must be a number of batches"),
        ({"limit_val_batches": 0}, "trainer.limit_val_batches=0: must be a number of batches, 1 or more"),
        ({"limit_test_batches": 0.0}, "trainer.limit_test_batches=0.0: must be a number of batches"),
        ({"accumulate_grad_batches": 0}, "trainer.accumulate_grad_batches=0: must be a number of batches"),
        ({"check_val_every_n_epoch": 4}, "trainer.check_val_every_n_epoch=4: must be within 1..3 "),
        ({"callbacks": ["patience"]}, "trainer.callbacks: patience is not a callback; give a list such as"),
        (
            {"callbacks": {"monitor": "x"}},
            "trainer.callbacks: {'monitor': 'x'} is not a callback",
        ),
    ],
)
def test_a_value_that_cannot_act_is_refused(given, line):
    check(PLAIN)
    with pytest.raises(UserError, match=re.escape(line)):
        check(PLAIN | given)


EARLY = "lightning.pytorch.callbacks.EarlyStopping"


@pytest.mark.parametrize(
    ("node", "line"),
    [
        ({"_target_": "torch.nn.ReLU"}, "callbacks[0]: torch.nn.ReLU is not a callback of lightning.pytorch"),
        (
            {"_target_": EARLY},
            "trainer.callbacks[0].monitor is required: lightning.pytorch.callbacks.EarlyStopping has",
        ),
        (
            {"_target_": EARLY, "monitor": "x", "mode": "up"},
            "trainer.callbacks[0]: `mode` can be min, max, got up",
        ),
        ({"_target_": EARLY, "monitors": "x"}, "takes no 'monitors'; did you mean 'monitor'?"),
    ],
)
def test_a_callback_that_cannot_be_built_is_one_line(node, line):
    with pytest.raises(UserError, match=re.escape(line)):
        trainers.callback(node, "trainer.callbacks[0]")


def test_a_process_that_follows_leaves_watching_to_the_one_that_leads(monkeypatch):
    watching = {"_target_": "test_trainer.Counts", "watches": True}
    config = {"callbacks": {"a": watching, "b": {"_target_": EARLY, "monitor": "x"}}, "trainer": {}}
    for rank, kinds in ((0, ["Counts", "EarlyStopping"]), (1, ["EarlyStopping"])):
        monkeypatch.setattr(trainers.rank_zero_only, "rank", rank, raising=False)
        assert [type(one).__name__ for one in trainers.callbacks(config)] == kinds


def test_two_callbacks_that_would_share_a_state_are_refused():
    with pytest.raises(UserError, match="callbacks: Found more than one stateful callback of type `Counts`"):
        trainers.build(PLAIN, CPU, **QUIET, callbacks=[Counts(), Counts()])


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("+trainer.max_time=1", "trainer.max_time: cannot be set"),
        ("+trainer.limit_train_batches=0.1", "trainer: You requested to check 0.1 of the"),
        (
            f"+trainer.callbacks={{_target_:{EARLY},monitor:val/psn}}",
            "conditioned on metric `val/psn` which is",
        ),
        ("+trainer.callbacks={_target_:test_trainer.Odd}", "a resume could not read the state of Odd; its"),
    ],
)
def test_a_mistake_in_the_trainer_is_one_line(train, word, line):
    answer = train(word)
    assert answer.status == 1
    assert line in answer.err
    assert answer.err.count("\n") == 1


def test_callbacks_can_be_given_from_python():
    nodes = [{"_target_": EARLY, "monitor": "val/psnr", "patience": 1, "mode": "max", "strict": None}]
    cfg, _ = compose.config([f"+trainer.callbacks={written(nodes)}"])
    assert compose.plain(cfg.trainer.callbacks) == nodes


class Counts(Callback):
    """Counts epochs, over all processes that take part in a run, and says so in a file."""

    def __init__(self, file="counted", stop=99):
        self.file, self.stop, self.epochs = file, stop, 0

    def on_train_epoch_end(self, trainer, pl_module):
        self.epochs += 1
        trainer.should_stop = self.epochs >= self.stop
        with open(self.file, "w") as file:
            file.write(str(self.epochs))

    def state_dict(self):
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict):
        self.epochs = state_dict["epochs"]


class Odd(Callback):
    def state_dict(self):
        return {"itself": self}


STOPPING = (
    "{_target_:lightning.pytorch.callbacks.EarlyStopping,monitor:val/psnr,mode:max,patience:1,min_delta:50}"
)


@pytest.mark.parametrize("callbacks", [f"[{STOPPING},{{_target_:test_trainer.Counts}}]", STOPPING])
def test_callbacks_given_to_the_trainer_act(train, callbacks, tmp_path):
    answer = train(f"+trainer.callbacks={callbacks}", "trainer.max_epochs=4")
    assert answer.status == 0
    assert answer.record["time"]["epochs"] == 2
    assert len((answer.run_dir / "metrics.csv").read_text().splitlines()) == 1 + 2
    assert (tmp_path / "counted").exists() == callbacks.startswith("[")
    if callbacks.startswith("["):
        assert (tmp_path / "counted").read_text() == "2"
        assert answer.record["config"]["trainer"]["callbacks"][1] == {"_target_": "test_trainer.Counts"}


@pytest.mark.parametrize("killed_after", [1, 3])
def test_callbacks_go_on_after_a_kill_where_they_were(train, killed, tmp_path, killed_after):
    words = ["+trainer.callbacks=[{_target_:test_trainer.Counts,stop:3}]", "trainer.max_epochs=5"]
    whole = train(*words)
    curves = (whole.run_dir / "metrics.csv").read_text()
    shutil.rmtree(whole.run_dir)
    killed(*words, after=killed_after)
    again = train(*words)
    assert (tmp_path / "counted").read_text() == "3"
    assert again.record["time"]["epochs"] == 3
    assert again.record["metrics"] == whole.record["metrics"]
    assert (again.run_dir / "metrics.csv").read_text() == curves


@pytest.mark.parametrize(("limit", "images", "steps"), [("0.67", 64, 2), ("7", 96, 3)])
def test_the_record_says_how_many_images_an_epoch_trained_on(train, limit, images, steps):
    answer = train(f"+trainer.limit_train_batches={limit}", "trainer.max_epochs=1")
    assert answer.record["data"]["train"] == 96
    assert answer.record["time"]["images_per_epoch"] == images
    assert answer.record["time"]["steps"] == steps
    assert ("64 an epoch" in answer.out) == (images == 64)


def test_steps_are_those_of_the_optimizer(train):
    record = train("+trainer.accumulate_grad_batches=3").record
    assert record["time"]["steps"] == 2


def test_only_epochs_with_a_validation_show_figures(train):
    answer = train("+trainer.check_val_every_n_epoch=2", "trainer.max_epochs=3")
    lines = [line for line in answer.out.splitlines() if line.strip().startswith("epoch ")]
    assert ["val/psnr" in line for line in lines] == [False, True, False]
    every = train("trainer.max_epochs=3", "paths.output=every")
    curves = [
        list(csv.DictReader((one.run_dir / "metrics.csv").read_text().splitlines()))
        for one in (answer, every)
    ]
    assert [bool(row["val/psnr"]) for row in curves[0]] == [False, True, False]
    assert [row["train/loss"] for row in curves[0]] == [row["train/loss"] for row in curves[1]]
    shown = [line.split("train/loss ")[1].split()[0] for line in lines]
    assert shown == [f"{float(row['train/loss']):.5g}" for row in curves[0]]
    assert answer.record["best_epoch"] == 2


OPTIONS = {
    "gradient_clip_val": "0.01",
    "accumulate_grad_batches": "2",
    "limit_train_batches": "2",
    "limit_val_batches": "0.5",
    "limit_test_batches": "0.5",
    "check_val_every_n_epoch": "2",
    "deterministic": "true",
    "detect_anomaly": "true",
    "profiler": "simple",
}


def identity(*words):
    return compose.identity(compose.config(words)[0])


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_is_the_same_with_a_plus_and_leaves_no_trace_at_its_default(name):
    word = f"trainer.{name}={OPTIONS[name]}"
    default = options.top()["trainer"][name]
    assert identity(word) == identity(f"+{word}") != identity()
    assert identity(f"trainer.{name}={written(default)}") == identity()
    assert later({})[f"trainer.{name}"] == default


def test_steps_that_gather_batches_and_are_clipped_go_on_after_a_kill_bit_for_bit(train, killed):
    gathers = ["trainer.accumulate_grad_batches=2", "trainer.gradient_clip_val=0.01"]
    words = [*gathers, "trainer.max_epochs=4", "scheduler=cosine"]
    whole = train(*words)
    weights = torch.load(whole.run_dir / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    curves = (whole.run_dir / "metrics.csv").read_text()
    shutil.rmtree(whole.run_dir)
    killed(*words, after=2)
    again = train(*words)
    found = torch.load(again.run_dir / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(found[key], weights[key]) for key in weights)
    assert (again.run_dir / "metrics.csv").read_text() == curves
    assert again.record["time"]["steps"] == 4 * 2  # of two batches, and of the last one


def test_a_part_of_validation_and_test_stands_for_all_and_the_record_says_so(train):
    whole = train("trainer.max_epochs=1").record
    part = train("trainer.max_epochs=1", "trainer.limit_val_batches=0.25", "trainer.limit_test_batches=0.5")
    (record,) = (one for one in part.records if one["fingerprint"] != whole["fingerprint"])
    (run,) = (path for path in part.run_dirs if path.name.endswith(record["fingerprint"][:10]))
    assert [whole["data"][split] for split in ("train", "val", "test")] == [96, 40, 50]
    assert [record["data"][split] for split in ("train", "val", "test")] == [96, 10, 25]
    data = restore.datamodule(made(record))
    data.setup()
    x = data.splits["test"][:]
    mse = (restore.load(run).reconstruct(x) - x.float() / 255).square().flatten(1).mean(1).double()
    assert len(x) == 25
    assert record["metrics"]["test/psnr"] == pytest.approx(float((-10 * mse.log10()).mean()), abs=1e-4)


def test_a_batch_of_validation_has_the_size_that_it_is_measured_in():
    data = Shapes("unused", train_size=10, val_size=1200, test_size=600, batch_size=4)
    data.limits = limits({"limit_val_batches": 2, "limit_test_batches": 7})
    data.setup()
    assert len(data.splits["val"]) == 2 * EVALUATION_BATCH
    assert len(data.splits["test"]) == 600


def test_the_log_ends_with_what_the_profiler_found(train):
    answer = train("trainer.profiler=simple", "trainer.max_epochs=1")
    assert "run_training_batch" in (answer.run_dir / "train.log").read_text()


class Overflow(nn.Module):
    """MSE, infinite at the given call: of TINY's epochs, each has three in training and one in validation."""

    def __init__(self, at):
        super().__init__()
        self.at, self.calls = at, 0

    def forward(self, x_hat, x):
        self.calls += 1
        return (x_hat - x).square().mean() + (float("nan") if self.calls == self.at else 0)


@pytest.mark.parametrize(("call", "words"), [(8, "val/loss is nan after epoch 2;"), (9, "test/loss is nan;")])
def test_a_figure_that_is_not_finite_is_named(train, call, words):
    answer = train("loss._target_=test_trainer.Overflow", f"+loss.at={call}")
    assert answer.status == 1
    assert words in answer.err
    assert "a smaller optimizer.lr or trainer.precision=32-true may help" in answer.err
    assert answer.err.count("\n") == 1
    assert answer.record["error"] in answer.err


@pytest.mark.filterwarnings("error:The .srun. command is available")
def test_a_run_of_one_process_is_one_whatever_the_cluster(train, tmp_path, monkeypatch):
    """On a login node srun is there; in a step of SLURM a process may have any number."""
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text("#!/bin/sh\n")
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{srun.parent}:/usr/bin:/bin")
    answer = train()
    assert answer.status == 0
    assert "srun" not in (answer.run_dir / "train.log").read_text()
    slurm = {
        "NTASKS": "4",
        "PROCID": "2",
        "LOCALID": "2",
        "NODEID": "0",
        "JOB_ID": "7",
        "NTASKS_PER_NODE": "4",
    }
    for name, value in slurm.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setattr(trainers.rank_zero_only, "rank", 2)  # as Lightning sets it when it is imported there
    within = train("force=true")
    assert within.status == 0
    assert within.record["metrics"] == answer.record["metrics"]
    assert within.record["environment"]["devices"] == 1


@pytest.mark.parametrize(
    ("devices", "device", "gpus", "expected"),
    [
        (1, "cpu", 0, True),
        ("1", "cuda", 8, True),
        ([3], "cuda", 8, True),
        ([0, 1], "cuda", 8, False),
        (2, "cpu", 0, False),
        ("auto", "cpu", 0, True),
        ("auto", "cuda", 1, True),
        ("auto", "cuda", 2, False),
        (-1, "cuda", 2, False),
    ],
)
def test_one_process_is_what_devices_ask_for(monkeypatch, devices, device, gpus, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert trainers.alone(devices, torch.device(device)) == expected


def test_the_cluster_is_lightnings_own_for_one_process_only():
    one = trainers.build(PLAIN, CPU, **QUIET)
    assert isinstance(one._accelerator_connector.cluster_environment, LightningEnvironment)
    two = trainers.build(PLAIN | {"devices": 2, "strategy": "ddp"}, CPU, **QUIET)
    assert not isinstance(two._accelerator_connector._cluster_environment_flag, LightningEnvironment)
