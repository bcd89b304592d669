"""What a process inherits from where it is started does not end it."""

import subprocess
import sys

import pytest
from tiny import TINY


@pytest.mark.parametrize(
    ("backend", "taken"),
    [("module://not_installed.here", "agg"), ("module://test_surroundings", "module://test_surroundings")],
)
def test_a_backend_that_is_not_installed_is_replaced(environment, backend, taken):
    code = "import caelab, os; print(os.environ['MPLBACKEND']); import caelab.plotting.figures"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"MPLBACKEND": backend, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.stdout.strip(), found.stderr) == (taken, "")


@pytest.mark.parametrize("option", ["disabled", "none", "stdout", "default"])
def test_hydras_own_logging_may_be_chosen(train, option):
    answer = train(f"hydra/job_logging={option}", f"hydra/hydra_logging={option}".replace("stdout", "none"))
    assert answer.status == 0
    assert (answer.run_dir / "train.log").exists() == (option == "default")
    assert ("log" in answer.record["artifacts"]) == (option == "default")


def test_a_run_that_hydra_moves_to_its_directory_finds_what_the_command_named(train, tmp_path):
    data = [word for word in TINY if word.startswith(("dataset", "trainer.acc"))]
    floor = train("model=pca", "model.latent=8", *data, tiny=False)
    assert floor.status == 0, floor.err
    assert floor.record["floor"] == "PCA"
    moved = train("hydra.job.chdir=true", "paths.data=here", "hydra.verbose=true")
    assert moved.status == 0
    assert "full, PCA of 8 numbers" in moved.out
    assert len(moved.records) == 2
    assert "finished before" in train().out
