"""``caelab new``: what it writes runs as it is."""

import os
import subprocess
import sys

import pytest

from caelab.studies import files

SMALL = ("dataset.train_size=64", "trainer.max_epochs=1", "trainer.accelerator=cpu")


@pytest.mark.slow
def test_model_loss_dataset_and_study_run_as_they_are(lab, train, tmp_path):
    said = [lab("new", kind, name) for kind, name in (("model", "n_wide"), ("loss", "n_soft"))]
    assert said[0] == (
        0,
        "conf/model/n_wide.yaml, n_wide.py, test_n_wide.py; next: caelab train model=n_wide\n",
        "",
    )
    assert lab("new", "dataset", "n_stripes")[1].endswith("next: caelab train dataset=n_stripes\n")
    assert lab("new", "study", "n_kernels")[1].endswith("next: caelab study n_kernels --budget quick\n")
    answer = train("model=n_wide", "loss=n_soft", "dataset=n_stripes", *SMALL, tiny=False)
    assert answer.status == 0, answer.err
    assert list(answer.record["sources"]) == ["n_soft.NSoft", "n_stripes.NStripes", "n_wide.NWide"]
    assert answer.record["data"]["train"] == 64
    assert answer.record["size"]["latent"] == 64
    assert list(files.load("n_kernels", "quick").runs) == ["3x3", "5x5"]
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore"]
    alone = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    done = subprocess.run(tests, cwd=tmp_path, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "8 passed" in done.stdout


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("model", "base"), "base: there is a model=base already; choose another name"),
        (("loss", "torch"), "torch: there is a module torch already; choose another name"),
        (
            ("model", "Wide-1"),
            "Wide-1: a name takes only a to z, digits and _, such as wide",
        ),
        (("study", "größe"), "größe: a name takes only a to z, digits and _, such as wide"),
        (("dataset", "split"), "split: its file imports another Split; choose another name"),
        (("model", "lambda"), "lambda: is a reserved word of Python or YAML; choose another name"),
        (("loss", "none"), "none: is a reserved word of Python or YAML; choose another name"),
        (("study", "null"), "null: is a reserved word of Python or YAML; choose another name"),
        (
            ("study", "runs"),
            "runs: is reserved for tables of runs without a study; choose another name",
        ),
        (("modle", "wide"), "modle: caelab new cannot write that; did you mean 'model'?"),
        (("loss", "mine"), "mine.py exists already; choose another name"),
    ],
)
def test_nothing_is_overwritten(lab, tmp_path, monkeypatch, words, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("mine")
    assert lab("new", *words) == (1, "", f"caelab: {line}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]
    assert (tmp_path / "mine.py").read_text() == "mine"
