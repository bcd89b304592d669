"""Classes and objects from Python: the runs of the YAML that names them, and what only one process has."""

import re
import signal
import subprocess
import sys
from copy import deepcopy
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

import caelab
from caelab.cli.new import contents
from caelab.composition import compose, words
from caelab.config import options, source
from caelab.corruptions import GaussianNoise
from caelab.data.datamodule import ImageDataModule, Split
from caelab.data.shapes import Shapes
from caelab.errors import UserError
from caelab.models.base import Base
from caelab.runs import record, trust

PAGE = Path(__file__).parents[2] / "docs" / "how" / "python.md"
FEW = {"dataset.train_size": 64, "trainer.accelerator": "cpu"}
SMALL = FEW | {"dataset.val_size": 20, "dataset.test_size": 20}


class Gate(Base):
    """A network of this module."""

    def __init__(self, shape, latent=6, kinds=(1, 2), activation=torch.nn.ReLU):
        super().__init__(shape, latent, channels=(4, 8), hidden=())


class Odd(Shapes):
    """Data with an argument that nothing gives."""

    def __init__(self, data_dir, factor, batch_size=16, order_seed=0):
        super().__init__(data_dir, batch_size, order_seed=order_seed)


class Grey(ImageDataModule):
    """Sixty training images of noise."""

    name = "grey"
    shape = (1, 32, 32)
    class_names = ("noise",)

    def load(self):
        images = torch.randint(0, 256, (100, 1, 32, 32), dtype=torch.uint8)
        rows = {"train": torch.arange(60), "val": torch.arange(60, 80), "test": torch.arange(80, 100)}
        return {k: Split(images, torch.zeros(100, dtype=torch.int64), v) for k, v in rows.items()}, "noise"


@pytest.fixture(autouse=True)
def _no_classes(monkeypatch):
    monkeypatch.setattr(options, "classes", {})
    Plugins.instance()  # Hydra's own options are in the store from then on
    monkeypatch.setattr(ConfigStore.instance(), "repo", deepcopy(ConfigStore.instance().repo))
    monkeypatch.setattr(trust, "_handed", set())


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A working directory with what ``caelab new`` writes, whose modules can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAELAB_DATA", str(tmp_path / "data"))
    monkeypatch.syspath_prepend(tmp_path)
    names = {"model": "o_wide", "loss": "o_soft", "dataset": "o_stripes"}
    for kind, name in names.items():
        for path, text in contents(kind, name).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    yield tmp_path
    for name in names.values():
        sys.modules.pop(name, None)


def node(group, value):
    """The config that Hydra has of a class."""
    cfg, _ = compose.config([*words.from_python((), {group: value}), "logger=none"])
    return OmegaConf.to_container(cfg[group])


@pytest.mark.parametrize(
    ("group", "value", "option"),
    [
        ("model", Base, "base"),
        ("loss", torch.nn.L1Loss, "l1"),
        ("dataset", partial(Shapes, batch_size=32), "shapes"),
        ("corruption", partial(GaussianNoise, std=0.1), "gaussian_noise"),
        ("optimizer", partial(torch.optim.Adam, lr=0.001, weight_decay=1e-5), "adam"),
    ],
)
def test_a_class_is_the_option_that_has_the_same_values(group, value, option):
    assert words.from_python((), {group: value}) == [f"{group}={option}"]


def test_arguments_are_overrides_of_that_option():
    assert words.from_python({"model.hidden": [9]}, {"model": partial(Base, latent=8)}) == [
        "model=base",
        "model.latent=8",
        "model.hidden=[9]",
    ]


def test_a_class_without_an_option_has_its_own_defaults_and_torch_keeps_its_own():
    assert node("model", Gate) == {"_target_": "test_objects.Gate", "latent": 6, "kinds": [1, 2]}
    assert node("dataset", Odd) == {
        "_target_": "test_objects.Odd",
        "data_dir": "${paths.data}",
        "batch_size": 16,
    }
    assert node("optimizer", partial(torch.optim.NAdam, lr=0.5, betas=(0.8, 0.9))) == {
        "_target_": "torch.optim.NAdam",
        "_partial_": True,
        "lr": 0.5,
        "betas": [0.8, 0.9],
    }
    assert node("loss", partial(torch.nn.SmoothL1Loss, beta=2)) == {
        "_target_": "torch.nn.SmoothL1Loss",
        "beta": 2,
    }


def test_a_key_below_a_class_may_be_any_of_its_arguments():
    assert words.from_python(["optimizer.eps=1e-3", "seed=1"], {"optimizer": torch.optim.NAdam}) == [
        "optimizer=torch.optim.NAdam",
        "++optimizer.eps=1e-3",
        "seed=1",
    ]
    cfg, choices = compose.config(words.from_python({"model.latent": 9}, {"model": Gate}))
    assert (cfg.model.latent, choices["model"]) == (9, "test_objects.Gate")


def test_the_run_of_a_class_is_the_run_of_its_yaml(own, train, capfd):
    from o_soft import OSoft
    from o_stripes import OStripes
    from o_wide import OWide

    few = [f"{key}={value}" for key, value in FEW.items()]
    groups = ("model=o_wide", "loss=o_soft", "dataset=o_stripes")
    typed = train(*groups, "trainer.max_epochs=1", *few, tiny=False)
    assert typed.status == 0, typed.err
    run = caelab.run(FEW, model=OWide, loss=OSoft, dataset=OStripes, epochs=1)
    assert "finished before" in capfd.readouterr().out
    assert (run.dir, run.record) == (typed.run_dir, record.made(typed.record))
    assert list(run.record.sources) == ["o_soft.OSoft", "o_stripes.OStripes", "o_wide.OWide"]

    (own / "conf" / "model" / "o_wide.yaml").unlink()  # the same run, which now has a name of its own
    alone = caelab.run(FEW, model=OWide, loss=OSoft, dataset=OStripes, epochs=1)
    assert alone.record.fingerprint == run.record.fingerprint
    assert alone.record.choices["model"] == "o_wide.OWide"
    assert alone.load().latent == 64
    assert alone.evaluate(dataset=OStripes)["metrics"]["test/psnr"] == alone.metrics["test/psnr"]


def test_a_sweep_of_classes_and_a_study_with_one(own):
    from o_wide import OWide

    runs = caelab.sweep(SMALL | {"model.latent": (4, 8)}, model=[OWide, Gate], dataset="shapes", epochs=1)
    assert [(run.record.choices["model"], run.record.size.latent) for run in runs] == [
        ("o_wide", 4),
        ("o_wide", 8),
        ("test_objects.Gate", 4),
        ("test_objects.Gate", 8),
    ]
    (own / "conf" / "study").mkdir()
    (own / "conf" / "study" / "o_few.yaml").write_text(
        "title: x\ntext: y\nepochs: 1\ndatasets: [shapes]\nruns: {base: []}\n"
    )
    (one,) = caelab.study(
        "o_few", {"dataset.train_size": 32}, model=Gate, dataset=OWideData, seeds=1, epochs=1
    )
    assert one.record.config["model"]["_target_"] == "test_objects.Gate"
    assert one.record.data.name == "small"


class OWideData(Grey):
    """Grey, by another name."""

    name = "small"


def test_an_object_trains_once(own, capfd):
    net, data = Gate((1, 32, 32)), Grey("data")
    loss = torch.nn.SmoothL1Loss(beta=0.5)
    run = caelab.run("trainer.accelerator=cpu", model=net, dataset=data, loss=loss, epochs=1)
    line = "model, loss, dataset: an object, so this run cannot be repeated, resumed or opened; for that"
    assert line in capfd.readouterr().out
    assert run.record.size.parameters == net.size
    assert run.record.data.train == 60
    assert run.record.choices["model"] == "Gate.object"
    other = caelab.run("trainer.accelerator=cpu", model="base", dataset=data, epochs=1, seed=1)
    assert other.record.data == run.record.data
    assert data.order_seed == 1
    assert other.load().shape == (1, 32, 32)
    mend = "an object that only its process had; to open a run, give caelab.run its class instead"
    with pytest.raises(UserError, match=f"model._target_=caelab.config.instances.take: {mend}"):
        run.load()
    with pytest.raises(UserError, match=f"dataset._target_=caelab.config.instances.take: {mend}"):
        other.audit()
    with pytest.raises(UserError, match="model: this Gate is trained already; make a new one, or give"):
        caelab.run(FEW, model=net, dataset=data, epochs=1)
    with pytest.raises(
        UserError, match=r"model: this Gate is for images of \(1, 32, 32\), the dataset's are \(3"
    ):
        caelab.run(FEW, model=Gate((1, 32, 32)), epochs=1)
    again = caelab.run("trainer.accelerator=cpu", model="base", dataset=data, epochs=1, seed=1)
    assert again.record.fingerprint != other.record.fingerprint


def test_a_stopped_object_is_not_said_to_go_on(own, monkeypatch):
    from caelab.training.callbacks import Checkpoints

    def interrupted(self, trainer, epoch):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Checkpoints, "save", interrupted)
    with pytest.raises(KeyboardInterrupt, match="^stopped; to go on after a stop, give caelab.run its class"):
        caelab.run("trainer.accelerator=cpu", model=Gate((1, 32, 32)), dataset=Grey("data"), epochs=2)


def inner():
    class Hidden(Base):
        pass

    return Hidden


MISTAKES = [
    (
        caelab.run,
        {"dataset": torch.utils.data.TensorDataset(torch.zeros(2, 3, 32, 32))},
        "dataset: 2 images are too few; give 3 or more",
    ),
    (
        caelab.run,
        {"dataset": torch.nn.Identity()},
        "dataset: torch.nn.modules.linear.Identity has no 'prepare_data'; derive it from caelab.data",
    ),
    (
        caelab.run,
        {"model": inner()},
        "model: test_objects.inner.<locals>.Hidden: defined in a function; move",
    ),
    (
        caelab.run,
        {"model": partial(Gate, 8)},
        "model: functools.partial(<class 'test_objects.Gate'>, 8): give a",
    ),
    (
        caelab.run,
        {"model": partial(Gate, kinds=object)},
        "model.kinds: <class 'object'>: a config holds numbers",
    ),
    (
        caelab.run,
        {"model": partial(Gate, latnt=8)},
        "model.latnt: test_objects.Gate takes no 'latnt'; did you",
    ),
    (caelab.run, {"dataset": Odd}, "dataset.factor is required: test_objects.Odd has no default for it"),
    (
        caelab.run,
        {"optimizer": torch.optim.SGD([torch.zeros(1)])},
        "optimizer: SGD has its weights already; give the class, as in partial(Adam, lr=1e-3)",
    ),
    (
        caelab.sweep,
        {"model": Gate((1, 32, 32)), "seed": range(2)},
        "model: this Gate is one object, which serves one run only; give its class",
    ),
    (
        caelab.sweep,
        {"loss": [torch.nn.MSELoss()]},
        "loss: this MSELoss is one object, which serves one run",
    ),
    (
        caelab.sweep,
        {"model": [partial(Gate, latent=3)]},
        'model: for several classes, give arguments by key, as in {"model.KEY": (1, 2)}',
    ),
    (
        partial(caelab.study, "table1"),
        {"model": Gate((1, 32, 32))},
        "model: this Gate is one object, which serves one run only; give its class",
    ),
    (
        partial(caelab.run, {"trainer.devices": 2, "trainer.accelerator": "cpu"}),
        {"model": Gate((1, 32, 32))},
        "model: an object lives in one process only; give caelab.run its class instead, or trainer.devices=1",
    ),
]


@pytest.mark.parametrize(("call", "keys", "line"), MISTAKES)
def test_mistakes_are_one_line(own, call, keys, line):
    with pytest.raises(UserError) as caught:
        call(**keys)
    assert str(caught.value).startswith(line)


CELLS = [
    "import torch\nfrom caelab.models.base import Base\nWIDTH = 6\nOTHER = 1",
    "%time",
    "def width():\n    'Of the code.'\n    return WIDTH",
    "class Typed(Base):\n    def __init__(self, shape, latent=width()):\n        super().__init__(shape, 6)",
]


@pytest.fixture
def notebook(monkeypatch):
    """Carry out cells in a module that has no file, as IPython does."""
    main = ModuleType("__main__")
    main.In = []
    monkeypatch.setitem(sys.modules, "__main__", main)

    def carry_out(*cells):
        for cell in cells:
            main.In.append(cell)
            if not cell.startswith("%"):
                exec(cell, main.__dict__)
        return main

    return carry_out


@pytest.mark.parametrize(
    ("cell", "same"),
    [
        ("OTHER = 2", True),
        ("def width():\n    return WIDTH  # a remark", True),
        ("WIDTH = 7", False),
        ("def width():\n    return 6", False),
        ("class Typed(Base):\n    pass", False),
    ],
)
def test_a_class_of_a_notebook_is_known_by_the_cells_that_it_uses(notebook, cell, same):
    named = {"_target_": "__main__.Typed"}
    notebook(*CELLS)
    before = source.digests(named)
    assert before.keys() == {"__main__.Typed"}
    notebook(cell)
    assert (source.digests(named) == before) == same


def test_what_a_notebook_imports_from_beside_it_counts(notebook, own):
    (own / "o_more.py").write_text("RATE = 1\n")
    notebook(*CELLS, "from o_more import RATE", "class Typed(Base):\n    rate = RATE")
    before = source.digests({"_target_": "__main__.Typed"})
    (own / "o_more.py").write_text("RATE = 2\n")
    assert source.digests({"_target_": "__main__.Typed"}) != before


def test_a_class_of_a_notebook_trains_and_is_opened_there_only(notebook, own, monkeypatch):
    main = notebook(*CELLS)
    run = caelab.run(FEW, model=main.Typed, dataset=Shapes, epochs=1)
    assert list(run.record.sources) == ["__main__.Typed"]
    assert run.load().latent == 6
    monkeypatch.setattr(trust, "_handed", set())
    monkeypatch.setattr(trust, "_trained_with", set())
    with pytest.raises(UserError, match="typed into a notebook and known only there; put the class into a"):
        run.load()
    main.In = []
    with pytest.raises(UserError, match=r"^Typed: its source cannot be read; put the class into a module$"):
        caelab.run(FEW, model=main.Typed, epochs=2)


@pytest.mark.slow
def test_the_script_of_the_page_trains_and_its_runs_are_opened_elsewhere(own, environment):
    (block,) = re.findall(r"```python\n(from functools.*?)```", PAGE.read_text(), re.DOTALL)
    (own / "o_script.py").write_text(block.replace('"dataset.train_size": 500', str(SMALL)[1:-1]))
    line = [sys.executable, "o_script.py"]
    done = subprocess.run(line, cwd=own, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    runs = {path.parent.name.rpartition("-s0")[0]: path.parent for path in own.rglob("result.json")}
    assert sorted(runs) == [
        "base-mse-adam",
        "o_script.Folded-mse-adam",
        "o_script.Folded-mse-torch.optim.NAdam",
        "o_script.Folded-torch.nn.SmoothL1Loss-adam",
    ]
    net = caelab.load(runs["o_script.Folded-mse-torch.optim.NAdam"])
    assert net.latent == 8
    assert sys.modules.pop("o_script").__file__ == str(own / "o_script.py")
