"""The lab from Python: the same runs as on the command line, found from both sides."""

import doctest
import logging
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from pkgutil import iter_modules

import numpy as np
import pytest
from omegaconf import OmegaConf
from tiny import TINY

import caelab
from caelab import api, config, handle, terminal
from caelab.config.grammar import written
from caelab.errors import RunsFailed, UserError
from caelab.runs import results
from caelab.runs.record import made

SMALL = {
    "dataset.train_size": 96,
    "dataset.val_size": 40,
    "dataset.test_size": 50,
    "dataset.batch_size": 32,
    "model.channels": [4, 8],
    "model.hidden": [],
    "model.latent": 8,
    "trainer.accelerator": "cpu",
}


@pytest.fixture
def here(train):
    """An empty working directory; the fixture's command line writes there too."""
    return train


def test_the_command_line_finds_a_run_that_python_trained(here):
    run = caelab.run(SMALL, model="base", dataset="shapes", epochs=2)
    again = here()
    assert "finished before" in again.out
    assert again.run_dir == run.dir
    assert made(again.record) == run.record


def test_python_finds_a_run_that_the_command_line_trained(here, capfd):
    trained = here("loss=l1_mse", "loss.alpha=0.25")
    run = caelab.run([*TINY, "loss.alpha=0.25"], loss="l1_mse")
    assert (run.dir, run.record) == (trained.run_dir, made(trained.record))
    assert "finished before" in capfd.readouterr().out


def test_a_run_shows_what_lies_in_its_directory(here):
    run = caelab.run(SMALL, model="base", epochs=2, seed=3)
    assert run.metrics["test/psnr"] == results.read(run.dir).metrics["test/psnr"]
    assert f"test PSNR {run.metrics['test/psnr']:.2f} dB" in repr(run)
    assert str(run.dir) not in repr(run)
    ten = run.show()
    assert (ten.format, ten.filename) == ("PNG", str(run.dir / "reconstructions.png"))
    pixels = np.asarray(run.curves().convert("L"))
    assert pixels.shape[1] == 7 * 150  # the width of a page at 150 dpi
    assert (pixels < 128).any()
    images = np.zeros((2, 3, 32, 32), dtype=np.float32)
    import torch

    assert run.load().encode(torch.from_numpy(images)).z.shape == (2, 8)
    assert repr(caelab.Run(run.dir)) == repr(run)


def test_further_metrics_are_one_value(here):
    run = caelab.run(SMALL, model="base", epochs=1, metrics=["gmsd"])
    assert 0 < run.metrics["test/gmsd"] < 1
    assert caelab.sweep(SMALL, model="base", epochs=1, metrics=["gmsd"])[0].dir == run.dir


def test_a_sweep_returns_its_runs_and_a_failed_one_stops_no_other(here, capfd):
    runs = caelab.sweep(SMALL | {"model.latent": (8, 0, 16)}, model="base", epochs=1)
    assert [run.record.status for run in runs] == ["finished", "failed", "finished"]
    assert "1 of 3 runs failed" in capfd.readouterr().err
    table = caelab.compare(runs)
    psnr = {run.record.size.latent: run.metrics["test/psnr"] for run in (runs[0], runs[2])}
    best = sorted(psnr, key=lambda latent: -psnr[latent])
    assert list(table["model.latent"]) == [*best, 0]
    assert list(table["PSNR (dB)"])[:2] == [pytest.approx(psnr[latent], abs=5e-5) for latent in best]
    assert table["error"][2] == "model.latent must be at least 1, got 0"
    with pytest.raises(UserError, match="that run failed .model.latent must be at least 1, got 0"):
        runs[1].metrics  # noqa: B018
    words = [f"{key}={written(value)}" for key, value in SMALL.items() if key != "model.latent"]
    once_more = here("-m", "model=base", "trainer.max_epochs=1", "model.latent=16,8", *words, tiny=False)
    assert once_more.out.count("finished before") == 2


MISTAKES = [
    (lambda: caelab.run(modle="base"), "modle: there is no such key; did you mean 'model'?"),
    (lambda: caelab.run(model="improvd"), "model=improvd: there is no such model; did you mean"),
    (lambda: caelab.run(model=["base", "pca"]), "model: one run has one value; caelab.sweep takes several"),
    (
        lambda: caelab.run(study="table1"),
        "study=table1 is a set of runs; add -m, or call caelab.study('table1')",
    ),
    (lambda: caelab.run("optimizer.lr=abc"), "optimizer.lr=abc: expected a number, as in optimizer.lr=0.0"),
    (lambda: caelab.sweep(optimizer=["adam", "adm"]), "optimizer=adm: there is no such optimizer; did you"),
    (lambda: caelab.compare([]), "compare: no run given; caelab.sweep(...) returns some"),
    (lambda: caelab.Run("nowhere"), "nowhere: no result.json there (no such directory)"),
]


@pytest.mark.parametrize(("call", "line"), MISTAKES)
def test_a_mistake_is_one_line(here, call, line):
    with pytest.raises(UserError) as caught:
        call()
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)
    assert caught.value._render_traceback_() == [f"UserError: {caught.value}"]


def test_a_bug_keeps_its_traceback(here, monkeypatch):
    from caelab.models.base import Base

    def broken(self, x):
        raise RuntimeError("a bug")

    monkeypatch.setattr(Base, "encode", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        caelab.run(SMALL, model="base", epochs=1)


def test_an_interrupt_leaves_a_run_that_goes_on(here, monkeypatch, capfd):
    from caelab.training.callbacks import Checkpoints

    save = Checkpoints.save

    def interrupted(self, trainer, epoch):
        save(self, trainer, epoch)
        if epoch == 1:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "save", interrupted)
        with pytest.raises(KeyboardInterrupt, match="the same call goes on from the last finished epoch"):
            caelab.run(SMALL, model="base", epochs=2)
    assert signal.getsignal(signal.SIGINT) == before
    capfd.readouterr()
    assert caelab.run(SMALL, model="base", epochs=2).record.time.epochs == 2
    assert "going on after epoch 1" in capfd.readouterr().out


def test_the_process_keeps_its_own_logging(here):
    root = logging.getLogger()
    own, shows = list(root.handlers), warnings.showwarning
    caelab.run(SMALL, model="base", epochs=1)
    assert root.handlers == own
    assert warnings.showwarning == shows


def test_a_host_keeps_the_handlers_of_lightning_and_where_its_warnings_go(here, monkeypatch):
    lightning, handler = logging.getLogger("lightning.pytorch"), logging.NullHandler()
    monkeypatch.setattr(lightning, "handlers", [handler])
    monkeypatch.setattr(lightning, "propagate", False)
    logging.captureWarnings(True)
    try:
        shows = warnings.showwarning
        caelab.run(SMALL, model="base", epochs=1)
        assert (lightning.handlers, lightning.propagate) == ([handler], False)
        assert warnings.showwarning == shows
    finally:
        logging.captureWarnings(False)


def test_the_hydra_of_ones_own_application_is_given_back(here, tmp_path):
    """Somebody calls the lab inside ``@hydra.main``."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "app.yaml").write_text("mine: 40\n")
    with initialize_config_dir(str(tmp_path / "own"), version_base=None):
        run = caelab.run(SMALL, model="base", epochs=1)
        assert run.record.status == "finished"
        with pytest.raises(UserError, match="modle: there is no such key"):
            caelab.run(modle="base")
        assert compose("app").mine == 40
    assert not GlobalHydra.instance().is_initialized()


@pytest.mark.parametrize("value", [Path("2024"), "2024"])
def test_a_path_from_python_stays_text(here, tmp_path, value):
    with pytest.raises(UserError, match=f"^dataset.path={tmp_path}/2024: there is no such folder"):
        caelab.run(dataset="folder", overrides={"dataset.path": value})


def test_text_is_no_number(here):
    with pytest.raises(UserError, match="seed='3': expected a whole number, as in seed=0"):
        caelab.run(seed="3")


PLAIN = [True, None, 3, 1e-05, 0.1, "adam", "16-mixed", [[16, 32], []], [None, "b c"]]


@pytest.mark.parametrize("value", [*PLAIN, "a folder/of 'mine' (x)", "a,b=c", "2024", "null", "True", "1e-3"])
def test_hydra_reads_a_value_as_it_was(value):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (override,) = OverridesParser.create().parse_overrides([f"key={written(value)}"])
    assert override.value() == value


def test_the_package_answers_before_hydra_and_torch_are_imported():
    code = "import sys, caelab; print(sorted({'hydra', 'torch', 'pandas'} & set(sys.modules)), dir(caelab))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[] ")
    assert all(f"'{name}'" in done.stdout for name in caelab.__all__)


def test_no_module_hides_a_name_of_the_package():
    assert not {module.name for module in iter_modules(caelab.__path__)} & {*caelab.__all__}


def test_a_failed_sweep_says_its_status_and_keeps_its_runs(tmp_path):
    failed = RunsFailed({tmp_path: {"status": "failed"}})
    assert failed.code == 1
    assert list(failed.runs) == [tmp_path]


@pytest.fixture
def small_shapes(tmp_path, monkeypatch):
    """The lab with so few images, and so small a network, that a run takes no time."""
    shutil.copytree(config.CONF, tmp_path / "conf")
    images = {"train_size": 96, "val_size": 40, "test_size": 50}
    for leaf, values in (("dataset/shapes", images), ("model/base", {"channels": [4, 8], "hidden": []})):
        file = tmp_path / "conf" / f"{leaf}.yaml"
        file.write_text(OmegaConf.to_yaml(OmegaConf.merge(OmegaConf.load(file), values)))
    monkeypatch.setattr(config, "CONF", str(tmp_path / "conf"))
    monkeypatch.setattr(terminal.console, "quiet", True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAELAB_DATA", str(tmp_path / "data"))


@pytest.mark.slow
@pytest.mark.parametrize("module", [api, handle])
def test_the_examples_in_docstrings_hold(small_shapes, module):
    run = caelab.run(model="base", dataset="shapes", epochs=1)
    done = doctest.testmod(module, extraglobs={"caelab": caelab, "run": run})
    assert done.failed == 0
    assert done.attempted > 4


USERS = """
from functools import partial
from pathlib import Path
import caelab

run = caelab.run(model="improved", dataset="mnist", epochs=5, overrides={"model.latent": 64})
runs = caelab.sweep(model=["base", "improved"], seed=range(3)) + caelab.study("table2", budget="quick")
psnr: float = run.metrics["test/psnr"]
folder: Path = caelab.Run(run.dir).dir
best = caelab.compare(runs).iloc[0]
net = caelab.load(run.dir, device="cpu")
latent: int = net.latent
class Net:
    def __init__(self, lr: float = 1.0) -> None: ...
    def __call__(self, x_hat: float, x: float) -> float: return x
caelab.run(model=Net, optimizer=partial(Net, lr=0.1), loss=Net())
caelab.sweep(model=[Net, "base"], dataset="mnist")
run.audit(); run.probe(); run.rate(bits=[2]); run.refine(steps=3); run.look(map="pca"); run.evaluate()
megabytes: float = run.export("onnx")[0].megabytes
"""
WRONG = """
import caelab

caelab.runn(model="base")
caelab.run(epochs="5")
caelab.study(7)
caelab.load(3)
text: str = caelab.sweep(seed=[0, 1])
caelab.Run(".").refine(steps="many")
caelab.run(model=3)
"""


SETTINGS = """
[mypy]
strict = True
follow_imports = skip
[mypy-caelab,caelab.*]
follow_imports = normal
"""


def test_a_users_type_checker_knows_the_lab(tmp_path):
    from mypy import api as mypy

    files = {"right.py": USERS, "wrong.py": WRONG, "mypy.ini": SETTINGS}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    options = ["--cache-dir", str(tmp_path / "cache"), "--config-file", str(tmp_path / "mypy.ini")]
    shown, errors, _ = mypy.run([*options, str(tmp_path / "right.py"), str(tmp_path / "wrong.py")])
    assert errors == ""
    wrong = [line.split(":") for line in shown.splitlines() if ": error: " in line]
    assert [(Path(file).name, int(line)) for file, line, *_ in wrong] == [
        ("wrong.py", line) for line in range(4, 11)
    ]
