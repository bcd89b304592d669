"""The command line of an export: what it leaves, what it shows, and what mistakes say."""

import numpy as np
import pytest
from toys import images, leave_whole_run

from caelab.export import export as module
from caelab.export.export import export
from caelab.runs import results
from caelab.runs.record import save

BASE = {"_target_": "caelab.models.base.Base", "latent": 6, "channels": [2, 3], "hidden": []}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr("caelab.export.check.SECONDS", 0.0)  # one pass
    return leave_whole_run(tmp_path / "run", BASE)


@pytest.fixture
def command(lab):
    """Call the command: exit status, stdout, stderr."""
    return lambda *words: lab("export", *words)


def below(run):
    return sorted(str(path.relative_to(run / "export")) for path in (run / "export").rglob("*"))


def test_files_card_and_table(run, command):
    status, out, err = command(run, "--format", "safetensors")
    assert (status, err) == (0, "")
    assert below(run) == ["safetensors", "safetensors/autoencoder.safetensors", "safetensors/model_card.md"]
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
    size = (run / "export/safetensors/autoencoder.safetensors").stat().st_size / 1e6
    assert [row[:4] for row in cells] == [
        [part, "autoencoder.safetensors", f"{size:.2f}", "0.0e+00"]
        for part in ("encoder", "decoder", "autoencoder")
    ]
    assert out.splitlines()[-2].endswith("run/export/safetensors")


def test_nothing_is_overwritten_without_force(run, command):
    export(run, "safetensors")
    folder = run / "export" / "safetensors"
    (folder / "model_card.md").write_text("old")
    status, _, err = command(run, "--format", "safetensors")
    assert status == 1
    assert err.startswith("caelab: ")
    assert err.endswith("safetensors exists already; --force replaces it, --out DIR goes elsewhere\n")
    assert (folder / "model_card.md").read_text() == "old"
    assert command(run, "--format", "safetensors", "--force")[0] == 0
    assert (folder / "model_card.md").read_text().startswith("# base")
    assert below(run) == ["safetensors", "safetensors/autoencoder.safetensors", "safetensors/model_card.md"]


def test_without_the_data_the_kept_images_are_taken(run, command):
    record = results.finished(run)
    record.config["dataset"]["seed"] = 9  # other images than the record's checksum says
    save(run, record)
    status, _, err = command(run, "--format", "safetensors")
    assert (status, err.count("\n")) == (1, 2)
    assert not (run / "export").exists()
    assert "reconstructions.npz cannot be read (missing): there are no images to check the export on" in err
    np.savez(run / "reconstructions.npz", originals=images(3, (3, 28, 28)).numpy())
    status, _, err = command(run, "--format", "safetensors")
    assert status == 0
    assert err.count("\n") == 1
    assert "the run's shapes is not on this machine (dataset=shapes in " in err
    assert "not the images that the run was trained and measured on" in err
    card = (run / "export/safetensors/model_card.md").read_text()
    assert "compared with the network on the 3 test images that the run kept" in card
    assert "| PCA of 6 numbers |  |  |  |  |  | not measured: the data are not on this machine |" in card


def test_official_data_are_not_fetched_for_a_check(run, monkeypatch, tmp_path):
    record = results.finished(run)
    record.config["dataset"] = {
        "_target_": "caelab.data.cifar10.CIFAR10",
        "data_dir": str(tmp_path / "data"),
    }
    monkeypatch.setattr("caelab.data.official.obtain", None)  # what would download
    save(run, record)
    np.savez(run / "reconstructions.npz", originals=images(3, (3, 28, 28)).numpy())
    assert [one.difference for one in export(run, "safetensors")] == [0.0] * 3


def test_an_export_that_differs_leaves_nothing(run, command, monkeypatch):
    read = module.formats.SafeTensors.read

    def off(self, folder, part):
        reloaded = read(self, folder, part)
        return lambda given: tuple(one + 0.001 for one in reloaded(given))

    monkeypatch.setattr(module.formats.SafeTensors, "read", off)
    status, _, err = command(run, "--format", "safetensors")
    assert status == 1
    assert (
        "caelab: the encoder in autoencoder.safetensors differs from the network by 0.001, more than" in err
    )
    assert not (run / "export").exists()


def test_a_full_disk_leaves_nothing(run, command, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("caelab.durable.write", full)
    status, _, err = command(run, "--format", "safetensors")
    assert status == 1
    assert err.endswith(
        "export/safetensors cannot be written (No space left on device); nothing is left there\n"
    )
    assert not (run / "export").exists()


@pytest.mark.parametrize(
    ("mistake", "line"),
    [
        (lambda run: (run, "--format", "safetensor"), "no such format; did you mean 'safetensors'?"),
        (lambda run: (run / "no", "--format", "onnx"), "no result.json there (no such directory); give the"),
        (lambda run: (run, "--format", "onnx", "--out", run), "not part of an export; choose another --out"),
    ],
)
def test_mistakes_are_one_line(run, command, mistake, line):
    status, out, err = command(*mistake(run))
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert line in err
    assert not (run / "export").exists()


@pytest.mark.parametrize(
    ("content", "line"),
    [(None, "best.ckpt is missing; train the run again"), (b"PK no zip", "best.ckpt is damaged (")],
)
def test_a_checkpoint_that_cannot_be_used_is_one_line(run, command, content, line):
    best = run / "checkpoints" / "best.ckpt"
    best.unlink()
    if content:
        best.write_bytes(content)
    status, _, err = command(run, "--format", "safetensors")
    assert (status, err.count("\n")) == (1, 1)
    assert line in err
    assert not (run / "export").exists()


def test_what_it_cannot_trace_is_one_line(tmp_path, command):
    run = leave_whole_run(tmp_path / "run", {"_target_": "caelab.models.classical.Classical"})
    status, _, err = command(run, "--format", "torch_export")
    assert (status, err.count("\n")) == (1, 1)
    assert "caelab: the decoder: torch.export cannot trace it" in err
    assert not (run / "export").exists()
    assert command(run, "--format", "safetensors")[0] == 0
