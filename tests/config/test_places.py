"""Runs on a folder of pictures: what they are known by, where they are found again, and what is compared."""

import json
import os
import random
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from PIL import Image

from caelab.composition import compose
from caelab.data.shapes import Shapes
from caelab.errors import UserError
from caelab.inference.restore import datamodule
from caelab.runs.analyses import analyses
from caelab.runs.record import made
from caelab.runs.record_file import ARCHIVE
from caelab.texts import one_name
from caelab.training.evaluate import evaluate

audit = analyses()["audit"]

MODEL = ("model=base", "model.channels=[4,8]", "model.hidden=[]", "model.latent=8")
RUN = ("dataset=folder", *MODEL, "trainer.max_epochs=1", "trainer.accelerator=cpu")


@pytest.fixture
def pictures(tmp_path):
    draw = random.Random(0)
    for i in range(24):
        path = tmp_path / "d" / "ab"[i % 2] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.frombytes("RGB", (16, 16), draw.randbytes(3 * 16 * 16)).save(path)
    return tmp_path / "d"


@pytest.fixture
def run(train, pictures):
    return lambda *words: train(*RUN, *(words or ("dataset.path=d",)), tiny=False)


def test_a_run_knows_its_pictures_again_wherever_they_lie(run, pictures, tmp_path):
    first = run()
    assert "20 training images" in first.out
    assert "dataset.batch_size=256: a step takes all 20 training images at once" in first.err
    assert first.record["batch_size"] == 20
    assert first.record["config"]["dataset"]["batch_size"] == 256
    (pictures / ".DS_Store").touch()
    (pictures / "notes.txt").touch()
    os.utime(pictures / "a" / "00.png", ns=(0, 1))
    pictures.rename(tmp_path / "moved")
    assert "finished before" in run("dataset.path=moved").out
    assert "finished before" in run(f"+paths.photos={tmp_path}/moved", "dataset.path=${paths.photos}").out
    (tmp_path / "moved" / "a" / "00.png").unlink()
    assert "19 training images" in run(f"+paths.photos={tmp_path}/moved", "dataset.path=${paths.photos}").out


def test_its_own_outputs_are_no_pictures(run, pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    answers = [run("dataset.path=.", f"paths.data={pictures}/data") for _ in range(2)]
    assert "20 training images" in answers[0].out
    assert "finished before" in answers[1].out
    (record,) = [json.loads(path.read_text()) for path in pictures.glob("multirun/runs/folder/*/result.json")]
    (directory,) = pictures.glob("multirun/runs/folder/*")
    assert directory.name.endswith(record["fingerprint"][:10])


def test_relative_paths_count_from_where_the_command_was_given(run):
    there = run("dataset.path=d", "paths.data=data", "hydra.job.chdir=true")
    assert there.status == 0
    assert (there.output.parent / "data" / "folder").is_dir()
    assert "finished before" in run("dataset.path=d", "paths.data=data").out


def test_a_directory_of_a_run_on_other_pictures_is_refused(run, pictures, tmp_path):
    assert run("dataset.path=d", "hydra.run.dir=here").status == 0
    (tmp_path / "here" / "result.json").unlink()  # as if it had been killed
    (pictures / "a" / "00.png").unlink()
    answer = run("dataset.path=d", "hydra.run.dir=here")
    assert answer.status == 1
    other = "a run of another config, other pictures or other code of yours"
    assert f"here holds {other}; choose another hydra.run.dir" in answer.err


def test_folders_that_look_like_splits_are_refused_in_one_line(run, tmp_path):
    for name in ("train2017", "val2017"):
        (tmp_path / "nearly" / name).mkdir(parents=True)
    answer = run("dataset.path=nearly")
    assert answer.status == 1
    assert answer.err.startswith(
        f"caelab: dataset.path={tmp_path}/nearly: are train2017/ and val2017/ splits"
    )
    assert answer.err.count("\n") == 1


@pytest.fixture
def elsewhere(run, tmp_path, monkeypatch):
    """A run on pictures, seen from another working directory."""
    answer = run("dataset.path=d", "paths.data=data")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return answer


def test_a_size_is_one_number_or_two(run):
    assert run("dataset.path=d", "dataset.image_size=[16,24]").record["data"]["shape"] == [3, 16, 24]
    wrong = run("dataset.path=d", "dataset.image_size=[16,24,1]")
    assert wrong.status == 1
    line = "caelab: dataset.image_size=[16, 24, 1]: must be one number, or [height,width]\n"
    assert wrong.err.endswith(line)


def test_an_evaluation_finds_the_pictures_from_elsewhere(elsewhere, pictures):
    assert elsewhere.record["places"]["path"] == str(pictures)
    assert elsewhere.record["config"]["dataset"]["path"] == "d"
    found = evaluate(elsewhere.run_dir, [])
    assert found["data"]["sha256"] == elsewhere.record["data"]["sha256"]
    assert found["metrics"]["test/psnr"] == pytest.approx(elsewhere.record["metrics"]["test/psnr"], rel=1e-6)
    # nothing is trained, so no batch is too large
    other = evaluate(elsewhere.run_dir, ["dataset=folder", "dataset.path=../d", "dataset.train_size=9999"])
    assert other["metrics"]["test/psnr"] == found["metrics"]["test/psnr"]


@pytest.mark.parametrize("change", ["removed", "replaced", "renamed"])
def test_other_pictures_than_the_run_had_are_refused(elsewhere, pictures, change):
    first = next(iter(sorted(pictures.glob("a/*.png"))))
    if change == "removed":
        first.unlink()
    elif change == "replaced":
        Image.new("RGB", (16, 16)).save(first)
    else:
        first.rename(first.with_name("renamed.png"))
    for analysis in (lambda run: evaluate(run, []), audit):
        with pytest.raises(
            UserError, match=rf"dataset\.path={pictures}: not the images that the run was .*RUN"
        ) as one:
            analysis(elsewhere.run_dir)
        assert "\n" not in str(one.value)
    assert evaluate(elsewhere.run_dir, [f"dataset.path={pictures}"])["data"] != elsewhere.record["data"]


def test_a_folder_that_has_moved_with_its_run_is_found_as_it_was_named(
    elsewhere, pictures, tmp_path, monkeypatch
):
    (tmp_path / "new").mkdir()
    pictures.rename(tmp_path / "new" / "d")
    monkeypatch.chdir(tmp_path / "new")
    data = datamodule(made(elsewhere.record))
    data.setup("test")
    assert data.sha256 == elsewhere.record["data"]["sha256"]


def test_a_place_in_a_record_names_no_code(elsewhere):
    with pytest.raises(ValueError, match=r"^'places.path' is \{'_target_': 'os.system'\}"):
        made(elsewhere.record | {"places": {"path": {"_target_": "os.system"}}})
    record = made(elsewhere.record | {"places": {"batch_size": "/", "root": "/no"}})
    assert datamodule(record).batch_size == elsewhere.record["config"]["dataset"]["batch_size"]


def identity(tmp_path, **dataset):
    plain = {
        "dataset": {"_target_": "mine.Dataset", "data_dir": "${paths.data}", **dataset},
        "trainer": {},
        "paths": {"data": str(tmp_path / "data"), "output": "multirun", "photos": str(tmp_path / "d")},
    }
    return compose.identity(OmegaConf.create(plain))


CINIC10 = "caelab.data.cinic10.CINIC10"


@pytest.mark.parametrize(
    "dataset",
    [
        {"folder": "${paths.photos}"},
        {"folders": ["${paths.photos}", "nowhere"]},
        {"first": {"_target_": "caelab.data.folder.Folder", "path": "${paths.photos}/a"}},
        {"_target_": CINIC10, "root": "${paths.photos}"},
    ],
)
def test_a_folder_counts_by_its_contents_however_it_is_named(pictures, tmp_path, dataset):
    for split in ("train", "valid", "test"):
        (pictures / split / "cat").mkdir(parents=True)
        (pictures / split / "cat" / "1.png").write_bytes(b"1")
    before = identity(tmp_path, **dataset)
    assert identity(tmp_path, **dataset) == before
    for path in (pictures / "a" / "00.png", pictures / "test" / "cat" / "1.png"):
        Image.new("RGB", (16, 16)).save(path)
    assert identity(tmp_path, **dataset) != before


def test_without_a_root_cinic10_is_what_it_was(tmp_path):
    assert identity(tmp_path, _target_=CINIC10, root=None) == identity(tmp_path, _target_=CINIC10)


def test_a_class_that_names_the_data_folder_does_not_count_what_is_cached_there(tmp_path):
    before = identity(tmp_path, cache="${paths.data}")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.npy").touch()
    assert identity(tmp_path, cache="${paths.data}") == before


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("base-mse-adam-s0-0123", "base-mse-adam-s0-0123"),
        ("mine/photos", "mine-photos"),
        ("../../etc", "-..-etc"),
        ("..", "-"),
        ("/", "-"),
    ],
)
def test_a_name_leads_nowhere_else(text, name):
    assert one_name(text) == name


def test_a_dataset_with_a_slash_in_its_name_stays_in_the_data_folder(tmp_path):
    class Mine(Shapes):
        name = "../../mine"

    assert Mine(str(tmp_path / "data")).folder.parent == tmp_path / "data"


def test_no_record_in_the_docs_names_a_place_of_a_machine():
    docs = Path(__file__).parents[2] / "docs" / "results"
    lines = [json.loads(line) for path in docs.rglob(ARCHIVE) for line in path.read_text().splitlines()]
    assert len(lines) > 100
    assert not any("places" in line["result.json"] for line in lines)
