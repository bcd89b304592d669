"""The example notebook: its cells run as they stand, only smaller."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebook.ipynb"
TINY = """
small = {
    "dataset.train_size": 64, "dataset.val_size": 16, "dataset.test_size": 16, "dataset.batch_size": 32,
    "model.channels": [4, 4, 4], "model.hidden": [], "model.latent": 4, "trainer.accelerator": "cpu",
}
dataset, epochs = "shapes", 1
"""


def shown(cell):
    """Everything that a cell shows as text, and the kinds of its other outputs."""
    text = "".join(out.get("text", out.get("data", {}).get("text/plain", "")) for out in cell.outputs)
    return text, {kind for out in cell.outputs for kind in out.get("data", {})}


def test_the_outputs_that_are_kept_are_small_and_name_no_machine():
    text = NOTEBOOK.read_text()
    assert len(text) < 500_000
    notebook = nbformat.reads(text, 4)
    said = [shown(cell)[0] for cell in notebook.cells if cell.cell_type == "code"]
    assert all(said[1:])  # every cell but the settings shows something
    assert not any(root in one for one in said for root in ("/home", "/root", "/tmp", "/work", "/Users"))
    assert "multirun/runs/mnist/" in said[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_cells_run_anew(tmp_path, environment, monkeypatch):
    monkeypatch.setenv("CAELAB_DATA", environment["CAELAB_DATA"])
    notebook = nbformat.read(NOTEBOOK, 4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    (settings,) = [cell for cell in code if "parameters" in cell.metadata.get("tags", ())]
    settings.source = TINY
    NotebookClient(
        notebook, timeout=100, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    text = {cell.source: shown(cell)[0] for cell in code}
    kinds = {cell.source: shown(cell)[1] for cell in code}
    assert "epoch 1/1  train/loss" in text[code[1].source]
    assert "2/2" in text[code[1].source]  # the bar, which has counted the steps
    assert kinds["run.show()"] >= {"image/png"}
    assert kinds["run.curves()"] >= {"image/png"}
    assert kinds["caelab.compare(runs)"] >= {"text/html"}
    assert sum("finished before" in one for one in text.values()) == 1  # the sweep takes the run above
    assert len(list((tmp_path / "multirun" / "runs" / "shapes").iterdir())) == 4
    assert text[code[-1].source].strip() == "model=improvd: there is no such model; did you mean 'improved'?"
