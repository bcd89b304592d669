"""A run from a stranger: what its record names is refused by every command, and nothing of it runs."""

import json
import pickle
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from hydra.utils import get_object
from PIL import Image
from toys import leave_whole_run

import caelab
from caelab.config import options
from caelab.config.fingerprint import CLEAN, GROUPS
from caelab.errors import UserError
from caelab.inference import restore
from caelab.runs import record_file, results, trust
from caelab.runs.record import RECORD, SearchRecord
from caelab.runs.trust import CONF
from caelab.training import evaluate

BASE = {"_target_": "caelab.models.base.Base", "latent": 6, "channels": [4, 8], "hidden": []}
COMMANDS = {
    "look": (),
    "evaluate": (),
    "audit": (),
    "probe": (),
    "refine": (),
    "rate": (),
    "anomaly": (),
    "export": ("--format", "safetensors"),
}
WITH_PICTURES = ("encode", "reconstruct", "decode")


class Marks:
    """What leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return leave_whole_run(tmp_path_factory.mktemp("honest") / "run", BASE)


@pytest.fixture
def run(honest, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return shutil.copytree(honest, tmp_path / "run")


@pytest.fixture
def mark(tmp_path):
    """A file that is there if anything of the stranger's has run."""
    return tmp_path / "mark"


def hostile(name: str, mark: Path):
    """A node of a config that leaves the mark where it is built."""
    pickled = mark.with_name("evil.pkl")
    pickled.write_bytes(pickle.dumps(Marks(mark)))
    torch.save(Marks(mark), mark.with_name("evil.pt"))
    return {
        "torch.load": {"f": str(mark.with_name("evil.pt")), "weights_only": False},
        "builtins.eval": {"_args_": [f"open({str(mark)!r}, 'w')"]},
        "os.system": {"command": f"touch {mark}"},
        "pandas.read_pickle": {"filepath_or_buffer": str(pickled), "_partial_": False},
        "subprocess.check_output": {"_args_": [["touch", str(mark)]], "_convert_": "all"},
        "pathlib.Path.touch": {"self": {"_target_": "pathlib.Path", "_args_": [str(mark)]}},
    }[name] | {"_target_": name}


def edit(run: Path, group: str, **changes):
    record = json.loads((run / RECORD).read_text())
    record["config"].setdefault(group, {}).update(changes)
    (run / RECORD).write_text(json.dumps(record))


def refused(lab, command: str, *words: object) -> str:
    """The one line by which a command refuses."""
    status, out, err = lab(command, *words)
    lines = [line for line in err.splitlines() if line.startswith("caelab:")]
    assert (status, len(lines)) == (1, 1), (out, err)
    return lines[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_what_a_record_names_and_says_how_to_trust_it(run, mark, lab, command):
    edit(run, "dataset", train_size=hostile("torch.load", mark))
    line = refused(lab, command, run, *COMMANDS[command])
    assert (
        "dataset._target_=torch.load: code that is not the lab's and that you have not trained with" in line
    )
    given = shlex.join([str(run), *COMMANDS[command], "--trust", "torch"])
    assert line.endswith(f"if you trust it: caelab {command} {given}")
    assert not mark.exists()


@pytest.mark.parametrize("command", WITH_PICTURES)
def test_commands_on_pictures_refuse_too(run, mark, lab, command, tmp_path):
    from caelab.inference.encode import encode

    Image.new("RGB", (28, 28)).save(tmp_path / "a.png")
    encode(run, [tmp_path / "a.png"], tmp_path / "codes.npz")
    edit(run, "model", hidden=[{"deep": [hostile("os.system", mark)]}])
    given = tmp_path / ("codes.npz" if command == "decode" else "a.png")
    out = tmp_path / ("new.npz" if command == "encode" else "out")
    line = refused(lab, command, run, given, "--out", out)
    assert "model._target_=os.system: code that is not the lab's" in line
    assert line.endswith("--trust os")
    assert not mark.exists()
    assert not out.exists()


@pytest.mark.parametrize(
    "name",
    [
        "torch.load",
        "builtins.eval",
        "os.system",
        "pandas.read_pickle",
        "subprocess.check_output",
        "pathlib.Path.touch",
    ],
)
@pytest.mark.parametrize("group", ["dataset", "corruption", "loss", "model"])
def test_at_any_depth_of_any_group(run, mark, name, group):
    harmless = CLEAN if group == "corruption" else {}
    for place in ({"x": hostile(name, mark)}, {"x": [{"y": [hostile(name, mark)]}]}, hostile(name, mark)):
        edit(run, group, **(harmless | place))
        with pytest.raises(UserError, match=rf"{group}\._target_={name}: code that is not the lab's"):
            evaluate.evaluate(run, [])
    assert not mark.exists()


@pytest.mark.parametrize(
    "target", [["os.system"], {"_target_": "os.system"}, "${oc.env:HOME}", "eval", "", None, "os.", "a b.c"]
)
def test_a_target_that_is_no_name(run, target):
    edit(run, "dataset", train_size={"_target_": target})
    with pytest.raises(UserError, match=r"dataset\._target_ is .*; it must be the dotted name of a class"):
        restore.datamodule(results.finished(run))


@pytest.mark.parametrize("text", ["${oc.env:HOME}", "a ${oc.decode:'1'}", "${oc.create:{a: 1}}"])
def test_no_resolver_runs(run, text):
    edit(run, "dataset", licence=[{"a": text}])
    with pytest.raises(UserError, match="is an interpolation; a record holds values only"):
        evaluate.evaluate(run, [])
    record = json.loads((run / RECORD).read_text())
    for key in ("licence", "data_dir"):
        del record["config"]["dataset"][key]
    (run / RECORD).write_text(json.dumps(record))
    edit(run, "paths", data=text)
    with pytest.raises(UserError, match="paths: .* is an interpolation"):
        evaluate.evaluate(run, [])


@pytest.mark.parametrize(
    "target",
    ["caelab.inference.trained.torch.load", "caelab.data.download.download", "caelab.training.run.run"],
)
def test_the_lab_itself_is_no_way_in(run, target):
    edit(run, "dataset", train_size={"_target_": target})
    with pytest.raises(UserError, match=rf"dataset\._target_={target}: this caelab has no such dataset$"):
        restore.datamodule(results.finished(run))


def test_what_belongs_to_another_group_is_refused(run):
    edit(run, "dataset", train_size=BASE)
    with pytest.raises(UserError, match="this caelab has no such dataset"):
        restore.datamodule(results.finished(run))


LEAVES = [leaf for group in GROUPS for leaf in sorted(Path(CONF, group).glob("*.yaml"))]


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: f"{leaf.parent.name}-{leaf.stem}")
def test_what_conf_names_may_be_built(leaf):
    target = options.node(leaf.parent.name, leaf)["_target_"]
    assert trust.named(target, leaf.parent.name, "run") is get_object(target)


@pytest.mark.parametrize(
    ("group", "target", "kind"),
    [
        ("loss", "torch.nn.SmoothL1Loss", torch.nn.SmoothL1Loss),
        ("loss", "torch.nn.HuberLoss", torch.nn.HuberLoss),
        ("optimizer", "torch.optim.NAdam", torch.optim.NAdam),
    ],
)
def test_all_losses_and_optimizers_of_torch_may_be_built(group, target, kind):
    assert trust.named(target, group, "run") is kind


def lying(folder: Path, name: str, mark: Path) -> Path:
    """Leave a module that marks its import, with a network."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.py"
    path.write_text(
        "from pathlib import Path\nfrom caelab.models.base import Base\n\n"
        f"Path({str(mark)!r}).touch()\n\n\nclass Net(Base):\n    pass\n"
    )
    return path


def test_a_module_in_the_working_directory_is_not_imported(run, mark, environment):
    """Nor one in the run's directory, which is the same here; nor what the lab itself imports late."""
    for name in ("lying_around", "matplotlib", "sklearn"):
        lying(run, name, mark)
    lying(run / "hydra_plugins", "evil", mark)
    edit(run, "model", _target_="lying_around.Net")
    words = [sys.executable, "-m", "caelab", "evaluate", "."]
    done = subprocess.run(words, cwd=run, env=environment, capture_output=True, text=True)
    assert "model._target_=lying_around.Net: code that is not the lab's" in done.stderr
    assert done.returncode == 1
    assert not mark.exists()


def test_what_trust_names_is_built_but_not_what_it_only_imports(run, mark, tmp_path, monkeypatch, lab):
    lying(tmp_path / "elsewhere", "trusted_by_name", mark)
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    edit(run, "model", _target_="trusted_by_name.Net")
    with pytest.raises(UserError, match=r"if you trust it: "):
        caelab.load(run)
    assert not mark.exists()
    assert type(caelab.load(run, trust=["trusted_by_name"]).network).__name__ == "Net"
    assert mark.exists()
    edit(run, "dataset", train_size={"_target_": "trusted_by_name.Path", "_args_": ["x"]})
    line = refused(lab, "audit", run, "--trust", "trusted_by_name")
    assert (
        "dataset._target_=trusted_by_name.Path: is not defined in trusted_by_name, which only imports it"
        in line
    )
    line = refused(lab, "audit", run)  # a grant ends with its command
    assert "model._target_=trusted_by_name.Net: code that is not the lab's" in line


def test_trust_does_not_look_into_the_working_directory(run, mark, tmp_path):
    lying(tmp_path / "here", "only_here", mark)
    edit(run, "model", _target_="only_here.Net")
    with pytest.raises(UserError, match="cannot be imported"):
        caelab.load(run, trust=["only_here"])
    assert not mark.exists()


def test_what_a_package_registers_is_built(run, mark, tmp_path, monkeypatch):
    installed = tmp_path / "installed"
    lying(installed, "registered_nets", mark)
    about = installed / "registered_nets-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: registered-nets\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[caelab]\nnets = registered_nets\n")
    edit(run, "model", _target_="registered_nets.Net")
    with pytest.raises(UserError, match="code that is not the lab's"):
        caelab.load(run)
    monkeypatch.syspath_prepend(installed)
    assert type(caelab.load(run).network).__name__ == "Net"


def test_a_registration_in_the_working_directory_counts_for_nothing(run, mark, tmp_path, monkeypatch):
    about = tmp_path / "here" / "evil-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[caelab]\nnets = os\n")
    monkeypatch.setattr(sys, "path", ["", str(tmp_path / "here"), *sys.path])
    edit(run, "dataset", train_size=hostile("os.system", mark))
    with pytest.raises(UserError, match=r"os\.system: code that is not the lab's"):
        restore.datamodule(results.finished(run))


def trained_with(folder: Path, name: str, mark: Path, monkeypatch) -> None:
    """Train with a class of the user's own, as far as remembering it goes; then be another process."""
    lying(folder, name, mark)
    with monkeypatch.context() as training:
        training.syspath_prepend(folder)
        import_module(name)
        trust.remember({"model": {"_target_": f"{name}.Net"}})
    del sys.modules[name]
    trust._trained_with.clear()
    mark.unlink()


def test_code_that_the_user_has_trained_with_is_built_while_it_is_the_same(run, mark, tmp_path, monkeypatch):
    trained_with(tmp_path / "project", "own_net", mark, monkeypatch)
    edit(run, "model", _target_="own_net.Net")
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert type(caelab.load(run).network).__name__ == "Net"
    assert sys.modules["own_net"].__file__ == str(tmp_path / "project" / "own_net.py")
    del sys.modules["own_net"]
    mark.unlink()
    path = tmp_path / "project" / "own_net.py"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(UserError, match=r"own_net\.Net: code that is not the lab's"):
        caelab.load(run)
    assert not mark.exists()


def test_what_the_user_has_not_trained_with_stays_out_though_it_is_in_the_same_file(
    run, mark, tmp_path, monkeypatch
):
    trained_with(tmp_path / "project", "own_other", mark, monkeypatch)
    edit(run, "model", hidden=[{"_target_": "own_other.Path", "_args_": ["x"]}])
    with pytest.raises(UserError, match=r"own_other\.Path: code that is not the lab's"):
        caelab.load(run)


def test_a_stranger_s_module_of_the_same_name_is_not_what_the_user_trained_with(
    run, mark, tmp_path, monkeypatch
):
    trained_with(tmp_path / "project", "own_twin", mark, monkeypatch)
    evil = tmp_path / "evil"
    lying(tmp_path / "here", "own_twin", evil)
    edit(run, "model", _target_="own_twin.Net")
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert type(caelab.load(run).network).__name__ == "Net"
    assert mark.exists()
    assert not evil.exists()


def test_a_training_remembers_the_users_own_class(train, tmp_path, monkeypatch):
    """From the command line to the file in the user's data folder; then every analysis opens the run."""
    lying(tmp_path / "project", "own_trained", tmp_path / "imported")
    monkeypatch.syspath_prepend(tmp_path / "project")
    answer = train("model._target_=own_trained.Net", "trainer.max_epochs=1")
    assert answer.status == 0, answer.err
    trust._trained_with.clear()
    (kept,) = json.loads(trust._kept("own_trained.Net").read_text())
    assert kept["root"] == str(tmp_path / "project")
    assert list(kept["files"]) == ["own_trained.py"]
    assert type(restore.load(answer.run_dir)).__name__ == "Net"


def test_what_is_typed_on_the_command_line_needs_no_trust(run, tmp_path, monkeypatch):
    (tmp_path / "typed").mkdir()
    (tmp_path / "typed" / "typed_noise.py").write_text(
        "from caelab.corruptions import GaussianNoise\n\n\nclass Noise(GaussianNoise):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "typed")
    edit(run, "corruption", _target_="caelab.corruptions.Clean")
    found = evaluate.evaluate(
        run, ["corruption=gaussian_noise", "corruption._target_=typed_noise.Noise", "corruption.std=0.2"]
    )
    assert found["corruption"]["_target_"] == "typed_noise.Noise"


def test_an_option_that_a_record_claims_is_no_path(run, tmp_path, mark):
    (tmp_path / "evil.yaml").write_text("_target_: pathlib.Path\n")
    record = json.loads((run / RECORD).read_text())
    record["choices"]["dataset"] = "../" * 12 + str(tmp_path / "evil")[1:]
    (run / RECORD).write_text(json.dumps(record))
    cfg, _ = evaluate._config(results.finished(run), [])
    assert cfg["dataset"]["_target_"] == "caelab.data.shapes.Shapes"


@pytest.mark.parametrize(
    "changed",
    [
        {"optimizer._target_": "os.system"},
        {"optimizer.lr": "${oc.env:HOME}"},
        {"optimizer.lr": {"_target_": "os.system"}},
        {"optimizer.lr": True},
    ],
)
def test_a_search_s_record_gives_points_of_its_space_only(changed):
    from caelab import studies

    (search,) = studies.load("search_residual").searches("cifar10")
    point = {
        key: values[0] if isinstance(values, list) else values["low"]
        for key, values in search.entry.space.items()
    }
    known = {"name": "", "study": "", "label": "", "dataset": "", "space": {}, "epochs": 1, "importance": {}}
    trial = {"number": 0, "state": "finished", "point": {}, "value": 20.0, "epochs": 1}
    known |= {"trials": search.tune.trials, "history": [trial] * search.tune.trials}

    def best(**changes):
        found = record_file.typed(SearchRecord, known | {"best": {"point": point | changes}})
        return search.best(found)

    assert "optimizer.lr" in point
    assert best() == point
    assert best(**changed) is None
