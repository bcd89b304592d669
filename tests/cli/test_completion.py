"""What the shell offers for the words of ``caelab train``, ``sweep`` and ``study``."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from caelab.cli import completion
from caelab.config import folders


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A working directory with options of its own, and another folder of them."""
    monkeypatch.setenv(folders.VARIABLE, "")
    monkeypatch.chdir(tmp_path)
    for leaf in ("conf/model/c_wide", "conf/loss/c_soft", "conf/study/c_kernels", "more/model/c_more"):
        file = tmp_path / f"{leaf}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("_target_: own.Own\nfeatures: 3\nsmooth: true\n")
    return tmp_path


def offered(line, complete=completion.words):
    """What is offered at the end of a line, of words that spaces part, as zsh has them."""
    *earlier, incomplete = line.split(" ")
    return complete(SimpleNamespace(params={"words": earlier, "config_dir": None}), incomplete)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("model=c_", ["model=c_wide"]),
        ("seed=1 model=base,c_", ["model=base,c_wide"]),
        ("model = c_", ["c_wide"]),  # bash parts at =
        ("--config-dir more model=c_", ["model=c_more", "model=c_wide"]),
        ("model.fea", ["model.features="]),
        ("model.smooth=", ["model.smooth=true", "model.smooth=false"]),
        ("flip = t", ["true"]),
        ("mod", ["model="]),
        ("hydra/launcher=jo", ["hydra/launcher=joblib"]),
        ("model.latent=", []),
        ("nothing=", []),
        ("--config-dir nowhere model=", []),
    ],
)
def test_words_of_a_run(own, line, words):
    assert offered(line) == words


def test_after_model_bash_says_nothing_of_what_comes_before_it(own):
    assert "c_wide" in offered("model ")
    assert "model=" in offered("model = base ")


@pytest.mark.parametrize(
    ("line", "words"),
    [("c_k", ["c_kernels"]), ("c_kernels loss=c_", ["loss=c_soft"]), ("table1 dataset = cif", ["cifar10"])],
)
def test_words_of_a_study(own, line, words):
    assert offered(line, completion.studies) == words


def test_bash_itself(own):
    scripts = Path(sys.executable).parent
    shell = """
        eval "$(caelab --show-completion bash)"
        COMP_WORDS=(caelab train model = c_); COMP_CWORD=4
        _caelab_completion caelab; echo "${COMPREPLY[@]}"
        eval "$(caelab-train -sc install=bash)"
        COMP_LINE="caelab-train model=c_"; COMP_POINT=${#COMP_LINE}
        COMP_WORDS=(caelab-train model=c_); COMP_CWORD=1
        hydra_bash_completion; echo "${COMPREPLY[@]}"
    """
    line = ["bash", "-c", f'export PATH="{scripts}:$PATH"\n{shell}']
    done = subprocess.run(line, cwd=own, capture_output=True, text=True, check=False)
    assert done.stdout == "c_wide\nmodel=c_wide\n", done.stderr
