"""Studies carried out: each run once, tuned first, analysed after, and what failed is said."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from caelab import studies
from caelab.runs import results
from caelab.runs.record import made
from caelab.studies import execute, files


def test_a_study_runs_its_rows_and_takes_them_the_next_time(train):
    words = ("-m", "study=activation", "dataset=shapes", "seeds=1", "dataset.train_size=256")
    tiny = ("dataset.val_size=20", "dataset.test_size=20", "trainer.max_epochs=1", "trainer.accelerator=cpu")
    answer = train(*words, *tiny, tiny=False)
    assert answer.status == 0
    assert len(answer.records) == 7
    assert "study=activation: 7 rows, 7 runs" in answer.out
    assert "[6 done, 0 failed, 1 to go" in answer.out
    slopes = [r["config"]["model"].get("negative_slope") for r in answer.records]
    assert slopes.count(1) == 2
    assert "LeakyReLU improves base on shapes: undecided" in answer.out
    stamps = [(path / "result.json").stat().st_mtime_ns for path in answer.run_dirs]
    again = train(*words, *tiny, tiny=False)
    assert again.status == 0
    assert "7 of 7 runs finished before" in again.out
    assert [(path / "result.json").stat().st_mtime_ns for path in again.run_dirs] == stamps


def test_a_study_names_the_run_that_failed_and_goes_on(train, monkeypatch):
    from caelab.models.pca import PCA

    def refuse(self, images):
        raise ValueError("latent must be another")

    real = files.load

    def short(*args):
        study = real(*args)
        label = next(iter(study.runs))
        return replace(study, runs={label: study.runs[label]}, claims=())

    monkeypatch.setattr(PCA, "initialise", refuse)
    monkeypatch.setattr(files, "load", short)
    words = (
        "study=activation",
        "dataset=shapes",
        "seeds=1",
        "dataset.train_size=100",
        "dataset.batch_size=50",
    )
    tiny = ("dataset.val_size=20", "dataset.test_size=20", "trainer.max_epochs=1", "trainer.accelerator=cpu")
    answer = train("-m", *words, *tiny, tiny=False)
    assert answer.status == 1
    assert "model: latent must be another" in answer.err
    assert "1 of 2 runs failed" in answer.err
    assert [r["status"] for r in answer.records].count("finished") == 1


def test_a_study_audits_its_finished_runs_once(train, monkeypatch):
    real = files.load

    def with_audit(*args):
        study = real(*args)
        entries = {label: study.runs[label] for label in list(study.runs)[:2]}
        return replace(study, runs=entries, floors={}, claims=(), after=("audit",))

    monkeypatch.setattr(files, "load", with_audit)
    words = ("-m", "study=activation", "dataset=shapes", "seeds=1", "dataset.train_size=256")
    tiny = ("dataset.val_size=20", "dataset.test_size=20", "trainer.max_epochs=1", "trainer.accelerator=cpu")
    answer = train(*words, *tiny, tiny=False)
    assert answer.status == 0
    assert "[audit 2 of 2]" in answer.out
    for path, record in zip(answer.run_dirs, answer.records, strict=True):
        figures = results.analyses(path, made(record))
        assert figures["audit/psnr_everything"] == pytest.approx(record["metrics"]["test/psnr"], abs=1e-4)
    (answer.run_dirs[0] / "audit.json").unlink()
    (answer.run_dirs[0] / "checkpoints" / "best.ckpt").unlink()
    again = train(*words, *tiny, tiny=False)
    assert again.status == 0
    assert "its checkpoint is missing" in again.out
    assert "[audit" not in again.out
    (answer.run_dirs[1] / "audit.json").unlink()
    (answer.run_dirs[1] / "checkpoints" / "best.ckpt").write_bytes(b"damaged")
    failed = train(*words, *tiny, tiny=False)
    assert failed.status == 1
    assert "best.ckpt is damaged" in failed.err
    assert "1 analysis of finished runs failed" in failed.err


def test_a_study_apart_is_carried_out_by_its_name_only(capsys):
    plain = studies.load("factors")
    assert execute._at_hand(plain).datasets == ["shapes"]
    assert execute._at_hand(replace(plain, apart=True)).datasets == []
    assert (
        "study=factors takes hours, or a GPU; it runs only when called by its name" in capsys.readouterr().out
    )


def test_what_only_a_study_takes_is_told(train):
    assert "study=table1 is a set of runs; add -m" in train("study=table1", tiny=False).err
    for flag in ([], ["-m"]):
        told = train(*flag, "seeds=2", tiny=False).err
        assert told == "caelab: seeds=2: an option of a study, as in caelab study table2 --seeds 2\n"
    answer = train("-m", "study=table1", "seeds=0", tiny=False)
    assert (answer.status, answer.records) == (1, [])
    assert "seeds=0: must be a whole number, 1 or more" in answer.err


def test_data_that_cannot_be_had_are_tried_once_and_fail_every_run(train, monkeypatch):
    from caelab.data.shapes import Shapes
    from caelab.errors import UserError

    tries = []

    def refuse(self):
        tries.append(self)
        raise UserError("shapes: no pencil")

    monkeypatch.setattr(Shapes, "prepare_data", refuse)
    answer = train("-m", "study=activation", "dataset=shapes", "seeds=2", tiny=False)
    assert answer.status == 1
    assert len(tries) == 1
    assert "13 of 13 runs failed" in answer.err
    assert "shapes: no pencil" in answer.err


@pytest.mark.slow
def test_two_processes_share_a_study_whatever_their_launchers(tmp_path, environment):
    sizes = [f"dataset.{key}" for key in ("train_size=200", "val_size=20", "test_size=20", "batch_size=50")]
    words = ["study=speed", "seeds=2", "dataset=shapes", *sizes, "trainer.max_epochs=1"]
    command = [sys.executable, "-m", "caelab.train", "-m", *words, "trainer.accelerator=cpu"]
    launchers = ([], ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"])
    both = [
        subprocess.Popen([*command, *more], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
        for more in launchers
    ]
    alone, pool = (process.communicate()[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    records = [json.loads(path.read_text()) for path in tmp_path.rglob("result.json")]
    assert [record["status"] for record in records] == ["finished"] * 5
    assert "5 runs, side by side" in pool
    for shown in (alone, pool):
        assert "the same as: caelab study speed --seeds 2 dataset=shapes" in shown
        assert "study=speed: 3 rows, 5 runs" in shown
        assert "auto is not better than exact on shapes: " in shown
