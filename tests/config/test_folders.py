"""The user's own folders of options, beside the lab's."""

import os
import pickle
import re
import shutil
import sys
from pathlib import Path

import pytest
from hydra.errors import MissingConfigException
from tiny import TINY
from yaml import YAMLError

from caelab import config
from caelab.composition import compose
from caelab.config import explain, folders, grammar, hints, options
from caelab.errors import UserError
from caelab.studies import files
from caelab.sweeps.jobs import Task

NET = "from caelab.models.base import Base\n\n\nclass {name}(Base):\n    pass\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with nothing in it, and no folder from the environment."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv(folders.VARIABLE, "")
    monkeypatch.setattr(folders, "_installed", lambda: ())
    return folder


def leave(folder: Path, option: str = "model/mine", text: str = "_target_: own.Net\nwidth: 3\n") -> Path:
    """Leave an option in a folder, and return the folder."""
    file = folder / f"{option}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return folder


def test_beside_the_working_directory_and_by_the_environment(here, tmp_path, monkeypatch):
    assert folders.own() == []
    leave(here / "conf", "other/mine")
    assert folders.own() == []  # no group of the lab's
    leave(here / "conf")
    more = leave(tmp_path / "more", "loss/mine")
    monkeypatch.setenv(folders.VARIABLE, f"../more{os.pathsep}{here / 'conf'}")
    assert folders.own() == [more, here / "conf"]
    assert folders.every()[0] == Path(config.CONF)
    assert options.options("model")["mine"] == {"model._target_": "own.Net", "model.width": 3}
    assert options.options("loss").keys() > {"mine", "mse"}
    assert "other" not in options.groups()
    assert hints.unknown("model.widht").endswith("did you mean 'model.width'?")


def test_the_lab_s_own_checkout_counts_once(here, monkeypatch):
    shutil.copytree(Path(config.CONF, "loss"), here / "conf" / "loss")
    monkeypatch.setattr(config, "CONF", str(here / "conf"))
    assert folders.own() == []
    monkeypatch.undo()
    monkeypatch.chdir(here)
    (here / "src" / "caelab").mkdir(parents=True)  # of another checkout than the one that is installed
    assert folders.own() == []


def test_what_an_installed_package_registers(here, tmp_path, monkeypatch):
    monkeypatch.undo()
    leave(tmp_path / "site" / "their_package" / "options")
    (tmp_path / "site" / "their_package" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "site" / "theirs-1.dist-info").mkdir()
    points = "[caelab.conf]\ntheirs = their_package.options\n"
    (tmp_path / "site" / "theirs-1.dist-info" / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path / "site")
    folders._installed.cache_clear()
    assert folders.own() == [tmp_path / "site" / "their_package" / "options"]
    folders._installed.cache_clear()


def test_every_process_sees_the_same_folders(here, tmp_path, monkeypatch):
    leave(here / "conf")
    more = leave(tmp_path / "a:b", "loss/mine")
    with folders.seen(["../a:b"]), folders.importable():
        assert folders.own() == [more, here / "conf"]
        task = pickle.dumps(Task(tmp_path, None))
        assert sys.path[0] == str(here) or str(here) in sys.path
    assert folders.PASSED_ON not in os.environ
    assert str(here) not in sys.path
    os.chdir(tmp_path)
    monkeypatch.setenv(folders.PASSED_ON, "")
    pickle.loads(task)  # as a launcher's process does, before it composes the job
    assert folders.own() == [more, here / "conf"]
    assert sys.path.pop(0) == str(here)


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["model=mine", "--config-dir", "a", "-m"], (["a"], ["model=mine", "-m"])),
        (["-cd=a", "--config-dir=b", "--cfg", "job"], (["a", "b"], ["--cfg", "job"])),
        (["seed=-1", "~logger", "-c", "job"], ([], ["seed=-1", "~logger", "-c", "job"])),
    ],
)
def test_folders_on_the_command_line(words, left):
    assert folders.of_words(words) == left


def test_a_flag_without_a_folder_is_told():
    with pytest.raises(UserError, match="--config-dir: give a folder, as in --config-dir FOLDER"):
        folders.of_words(["model=mine", "--config-dir"])


def refusal(*named: str) -> str:
    with pytest.raises(UserError) as refused, folders.seen(named):
        pass
    return str(refused.value)


def test_mistakes_are_one_line(here, tmp_path, monkeypatch):
    assert refusal("nowhere") == "--config-dir: there is no folder nowhere"
    leave(here / "conf", "loss/mse")
    line = "conf/loss/mse.yaml: the lab has loss=mse already; rename the file"
    assert refusal("conf") == line
    with monkeypatch.context() as named:
        named.setenv(folders.VARIABLE, "conf")
        assert refusal() == line
    shutil.rmtree(here / "conf")
    leave(here / "conf", "hydra/launcher/mine")
    leave(tmp_path / "more", "hydra/launcher/mine")
    assert "more has hydra/launcher=mine already" in refusal("../more", "conf")
    monkeypatch.setenv(folders.VARIABLE, "gone")
    with pytest.raises(UserError, match="CAELAB_CONF: there is no folder gone"):
        folders.own()


def test_of_another_projects_conf_the_lab_s_own_options_win(here, capsys):
    leave(here / "conf", "optimizer/adam", "_target_: theirs.Adam\n")
    leave(here / "conf", "loss/mse")
    with folders.seen():
        folders.announce()
        folders.announce()
        assert options.files("optimizer")["adam"] == Path(config.CONF, "optimizer", "adam.yaml")
        assert compose.config(["optimizer=adam"])[0].optimizer._target_ == "torch.optim.Adam"
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "already, so the file is not used (nor 1 more); rename it to use it" in err


def test_a_run_composes_them_names_them_and_a_study_too(train, lab, tmp_path):
    leave(tmp_path / "conf", "model/mine", "_target_: own_of_folders.Net\nlatent: 7\n")
    leave(tmp_path / "conf", "study/mine", "title: x\ndatasets: [shapes]\nruns: {mine: [model=mine]}\n")
    (tmp_path / "own_of_folders.py").write_text(NET.format(name="Net"))
    data = [word for word in TINY if word.startswith(("dataset", "trainer.acc"))]
    assert "latent: 7" in train("--cfg", "job", "model=mine", tiny=False).out
    shown = train("--help", tiny=False).out
    assert "linear, mine, patch_pca, pca" in shown
    assert "mine" in files.names()
    answer = train("model=mine", "trainer.max_epochs=1", *data, tiny=False)
    assert answer.status == 0, answer.err
    assert answer.out.splitlines()[0] == "options beside the lab's: conf"
    assert answer.record["choices"]["model"] == "mine"
    assert str(tmp_path) not in sys.path
    status, _, err = lab("study", "mime")
    assert (status, err) == (1, "caelab: study=mime: there is no such study; did you mean 'mine'?\n")


def test_another_application_of_hydra_does_not_see_them(here, tmp_path):
    from hydra import compose as compose_theirs
    from hydra import initialize_config_dir
    from hydra.errors import MissingConfigException

    leave(here / "conf")
    leave(tmp_path / "theirs", "model/a", "x: 1\n")
    with initialize_config_dir(str(tmp_path / "theirs"), version_base="1.3"):
        assert compose_theirs(overrides=["+model=a"]).model.x == 1
        with pytest.raises(MissingConfigException):
            compose_theirs(overrides=["+model=mine"])
    assert compose.config(["model=mine", "logger=none"])[0].model.width == 3


def test_an_option_that_is_no_yaml_is_named_with_its_line(train, tmp_path):
    file = leave(tmp_path / "conf", "model/broken", "width: 3\nheight: : 2\n") / "model" / "broken.yaml"
    line = f"{file}, line 2: mapping values are not allowed here"
    answer = train("model=broken")
    assert answer.status == 1
    assert answer.err.endswith(f"caelab: {line}\n")
    with pytest.raises(UserError, match=re.escape(line)):
        grammar.read(file)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"# caf\xe9\nwidth: 3\n", "it is not in UTF-8; save it as UTF-8"),
        ("width: 3\n".encode("utf-16"), "it is not in UTF-8; save it as UTF-8"),
        (b"width: \x01\n", "unacceptable character #x0001: special characters are not allowed"),
    ],
)
def test_an_option_that_is_no_text_is_named(here, content, line):
    file = leave(here / "conf", "model/broken") / "model" / "broken.yaml"
    file.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(f"{file}: {line}")):
        options.option("model", "broken")
    with pytest.raises((UnicodeDecodeError, YAMLError)) as caught:
        compose.config(["model=broken"])
    assert explain.line(caught.value) == f"{file}: {line}"


def test_a_config_of_no_group_that_is_missing_keeps_hydras_words(here):
    leave(here / "conf", "experiment/mine", "# @package _global_\ndefaults: [/basecfg]\n")
    with pytest.raises(MissingConfigException) as caught:
        compose.config(["experiment=mine"])
    assert "'basecfg'" in str(explain.line(caught.value))
    assert "no such" not in str(explain.line(caught.value))
