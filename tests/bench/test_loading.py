"""The benchmark of loading: every loader gives each picture once an epoch, and tables hold the figures."""

import json
import tarfile
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image

from caelab.bench import LOADERS, loaders, loading, measure, photographs
from caelab.bench.task import Task
from caelab.data import datamodule
from caelab.errors import UserError

COUNT, SIDE = 20, 16


@pytest.fixture
def words(tmp_path, monkeypatch):
    """Pictures on disk, and the words of a contestant that loads them."""
    monkeypatch.setattr(datamodule, "fits", datamodule.fits)  # which loaders replace
    photographs.write(tmp_path / "x", COUNT, SIDE)
    places = [f"dataset.path={tmp_path / 'x' / 'pictures'}", f"paths.data={tmp_path / 'data'}"]
    own = ["dataset=folder", f"dataset.image_size={SIDE}", "dataset.batch_size=8", "trainer.accelerator=cpu"]
    return ["model=patch_pca", *own, *places]


def test_the_same_cuts_are_written_twice(tmp_path):
    photographs.write(tmp_path / "x", COUNT, SIDE)
    files = sorted((tmp_path / "x" / "pictures" / "train" / "cuts").glob("*.jpg"))
    assert len(files) == COUNT
    assert len(list((tmp_path / "x" / "pictures").glob("*/*/*.jpg"))) == COUNT + 20
    for number, file in enumerate(files):
        with Image.open(file) as image:
            assert image.size == (SIDE, SIDE)
            difference = np.asarray(image).astype(float) - photographs.cut(number, SIDE)
        assert np.abs(difference).mean() < 12  # of JPEG
    there = {}
    for shard in (tmp_path / "x" / "shards").glob("*.tar"):
        with tarfile.open(shard) as entries:
            there |= {entry.name: entries.extractfile(entry).read() for entry in entries}
    assert there == {file.name: file.read_bytes() for file in files}


def test_rows_are_the_cuts(tmp_path):
    rows = photographs.rows(COUNT, SIDE)
    assert rows.shape == (COUNT, 3, SIDE, SIDE)
    part = rows.make(slice(3, 6))
    assert all(np.array_equal(part[n].transpose(1, 2, 0), photographs.cut(3 + n, SIDE)) for n in range(3))


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", [name for name in LOADERS if not name.endswith("-2")])
def test_each_loader_gives_every_picture_once_an_epoch(words, name):
    if name.startswith("webdataset") and not find_spec("webdataset"):
        pytest.skip("webdataset is not installed: pip install 'caelab[bench]'")
    task = Task(words)
    epoch = loaders._STARTS[name](task)
    expected = (task.train[:].float() / 255).flatten(1).sort(0).values
    for _ in range(2):
        batches = list(epoch())
        assert [len(batch) for batch in batches] == [8, 8, 4]
        assert torch.allclose(torch.cat(batches).flatten(1).sort(0).values, expected)


def test_the_lab_has_another_order_each_epoch(words):
    epoch = loaders._STARTS["held"](Task(words))
    assert not torch.equal(torch.cat([*epoch()]), torch.cat([*epoch()]))


@pytest.mark.parametrize("name", ["memory", "cold"])
def test_figures_and_training_where_there_are_weights(words, monkeypatch, name):
    monkeypatch.setattr(loaders, "_LEAST", 0.0)
    assert "trained_per_second" not in loaders.CONTESTANTS[name](words)
    steps, step = [], torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda *a, **k: (steps.append(1), step(*a, **k))[1])
    base = ["model=base", "model.channels=[4,8]", "model.latent=8"]
    figures = loaders.CONTESTANTS[name]([*base, *words[1:]])
    assert min(figures[key] for key in ("images_per_second", "images_per_cpu_second")) > 0
    assert figures["trained_per_second"] > 0
    assert len(steps) == 3


def test_a_map_without_pages_is_read_anew(tmp_path):
    file = tmp_path / "x.npy"
    np.save(file, np.arange(100_000, dtype=np.uint8))
    images = torch.from_numpy(np.load(file, mmap_mode="c"))
    before = images.sum()
    loaders.forget(images, file)
    assert images.sum() == before


def test_a_map_of_many_is_built_once_and_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(datamodule, "fits", datamodule.fits)
    monkeypatch.setattr(loaders, "_LEAST", 0.0)
    built = loaders.CONTESTANTS["built"](["30", str(tmp_path)])
    stamp = (tmp_path / "cache" / "images.npy").stat().st_mtime_ns
    warm = loaders.CONTESTANTS["many-warm"](["30", str(tmp_path)])
    assert built["seconds"] > 0
    assert warm["images_per_second"] > 0
    assert (tmp_path / "cache" / "images.npy").stat().st_mtime_ns == stamp


def fake(name, words):
    """Figures of known loaders; the second round is a tenth faster."""
    fake.calls.append((name, words))
    if name == "built":
        return {"seconds": int(words[0]) / 1000, "memory": 50e6}
    speed = {"memory": 100.0, "held": 99.0, "imagefolder-0": 20.0, "imagefolder-2": 30.0}.get(name, 10.0)
    return {"images_per_second": speed, "images_per_cpu_second": speed / 2, "memory": 3e6, "opened": 1.5}


def test_the_tables_and_the_file(monkeypatch, lab, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setattr(fake, "calls", [], raising=False)
    monkeypatch.setattr(measure, "carry_out", fake)
    monkeypatch.setattr(loading, "carry_out", fake)
    monkeypatch.setattr(loading, "_BYTES", 30_000)
    monkeypatch.setattr(loading.Path, "unlink", lambda *_: None)
    only = "memory,held,imagefolder-0,imagefolder-2"
    _, out, _ = lab("bench", "--loading", "--grow", "--rounds", "2", "--only", only, "dataset.image_size=10")
    assert "100 training pictures of 10x10" in out
    (path,) = (tmp_path / "multirun" / "bench").glob("*.json")
    found = json.loads(path.read_text())
    assert found["loading"]["10"]["pictures"] == 100
    assert len(found["load"]) == 2
    _, text, _ = lab("bench", "--show", path)
    assert "| (b) caelab, pictures that fit in memory | 99 (99 to 99) | 50 (50 to 50) | 3 |\n" in text
    assert "| held / memory | 0.99 (0.99 to 0.99) | 0.99 (0.99 to 0.99) | 0.95 |\n" in text
    assert "| held / imagefolder | 3.30 (3.30 to 3.30) | 3.30 (3.30 to 3.30) | 3 |\n" in text
    assert "| 1,000,000 | 1,000 | 50 | 1.5 | 10 | 10 | 3 |\n" in text


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--only", "hold"], "--only=hold: there is no such loader; did you mean 'held'?"),
        (["--models", "base"], "--loading: cannot be combined with --models; leave that out"),
        (["dataset.image_size=[8,9]"], "dataset.image_size=[8, 9]: must be one number up to 256"),
        (["dataset.image_size=300"], "dataset.image_size=300: must be one number up to 256"),
        (["model=bse"], "model=bse: there is no such model; did you mean 'base'?"),
    ],
)
def test_mistakes(lab, words, line):
    status, _, err = lab("bench", "--loading", *words)
    assert status
    assert line in err
    assert err.count("\n") == 1


def test_what_is_not_installed_is_told(monkeypatch):
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    assert "webdataset-0" not in loading.installed()
    with pytest.raises(UserError, match=r"--only=webdataset-2: it is not installed; pip install"):
        loading.bench(["webdataset-2"], [], 1, grow=False)
