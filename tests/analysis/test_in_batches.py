"""Every tool goes through images batch by batch, as it must where memory does not hold them."""

import numpy as np
import pytest

from caelab.data import prefetch
from caelab.data.datamodule import Split

MOST = 2_000
"""Images that are read at a time, at most."""

RUN = (
    *("dataset=array", "dataset.path=grey.npz", "dataset.classes=[0,1]", "dataset.batch_size=500"),
    *("trainer.max_epochs=1", "trainer.accelerator=cpu"),
)
SMALL = ("model=base", "model.channels=[4,8]", "model.hidden=[]", "model.latent=8")


@pytest.fixture
def read(monkeypatch):
    """How many images each access asks for; none are taken to fit into memory."""
    asked, access = [], Split.__getitem__

    def getitem(self, positions):
        found = access(self, positions)
        asked.append(len(found))
        return found

    monkeypatch.setattr(Split, "__getitem__", getitem)
    monkeypatch.setattr("caelab.data.datamodule.fits", lambda _: False)
    return asked


@pytest.fixture(autouse=True)
def grey(tmp_path):
    """A file of three classes of small images."""
    draw, arrays = np.random.default_rng(0), {}
    for split, count in {"train": 3600, "val": 300, "test": 3600}.items():
        arrays[f"{split}_images"] = draw.integers(0, 256, (count, 4, 4), np.uint8).repeat(4, 1).repeat(4, 2)
        arrays[f"{split}_labels"] = draw.integers(0, 3, count)
    np.savez(tmp_path / "grey.npz", **arrays)


@pytest.mark.parametrize("model", [SMALL, ("model=pca", "model.latent=8"), ("model=linear",)])
def test_no_tool_takes_a_split_as_a_whole(train, lab, read, model):
    answer = train(*model, *RUN, tiny=False)
    assert answer.status == 0, answer.err
    tools = [
        ["evaluate"],
        ["audit"],
        ["probe"],
        ["anomaly"],
        ["look", "--map", "pca"],
    ]
    for name, *words in tools if model == SMALL else tools[:1]:
        status, _, err = lab(name, answer.run_dir, *words)
        assert status == 0, err
    assert sum(read) > answer.record["data"]["train"] > MOST
    assert max(read) <= MOST


@pytest.mark.parametrize("tool", ["probe", "anomaly"])
def test_what_needs_all_pixels_at_once_is_left_out_in_a_line(train, lab, monkeypatch, tool):
    answer = train(*SMALL, *RUN, tiny=False)
    monkeypatch.setattr(prefetch, "memory", lambda: 1_000_000)
    status, out, err = lab(tool, answer.run_dir)
    assert status == 0, err
    line = next(line for line in err.splitlines() if "GB" in line)
    assert line.endswith("more than half of the 0.0 GB of memory here; left out")
    assert "pixels" not in out
