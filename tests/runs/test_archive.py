"""Archives: the small files of many runs in one file, read as if each run had its directory."""

import json

import pytest
import toys

from caelab.report.rows import Run
from caelab.runs import record_file, records, results
from caelab.runs.record import RECORD, made

CURVES = "epoch,train/loss,val/psnr\n0,0.1,19.5\n1,0.05,20.5\n"


def whole(name, psnr):
    record = toys.record(fingerprint=name, metrics={"test/psnr": psnr, "test/ssim": 0.5, "val/psnr": psnr})
    tie = {"schema": 1, "fingerprint": name, "finished": record["finished"]}
    audit = tie | {"figures": {"audit/latent_reliance": 0.75}}
    return {"run": name, RECORD: record, "metrics.csv": CURVES, "audit.json": audit}


@pytest.fixture
def folder(tmp_path):
    """A folder with an archive of two runs."""
    lines = [json.dumps(whole("one", 20.0)), json.dumps(whole("two", 21.0))]
    (tmp_path / record_file.ARCHIVE).write_text("\n".join(lines) + "\n")
    return tmp_path


def test_runs_of_an_archive_are_found_as_if_they_had_directories(folder):
    found = dict(records.find(folder))
    assert [path.relative_to(folder).as_posix() for path in found] == ["one", "two"]
    assert [record.metrics["test/psnr"] for record in found.values()] == [20.0, 21.0]
    path = folder / "two"
    assert results.read(path) == found[path] == made(whole("two", 21.0)[RECORD])
    assert results.figures(path, found[path])["audit/latent_reliance"] == 0.75
    assert Run(path, found[path]).curves == {
        "epoch": [0, 1],
        "train/loss": [0.1, 0.05],
        "val/psnr": [19.5, 20.5],
    }
    assert not path.exists()


def test_a_directory_comes_first(folder):
    (folder / "one").mkdir()
    (folder / "one" / RECORD).write_text(json.dumps(whole("one", 25.0)[RECORD]))
    found = dict(records.find(folder))
    assert sorted(record.metrics["test/psnr"] for record in found.values()) == [21.0, 25.0]


@pytest.mark.parametrize("run", ["../one", "", "..", "a/b", 3])
def test_a_name_that_leads_elsewhere_is_refused(folder, capsys, run):
    (folder / record_file.ARCHIVE).write_text(json.dumps(whole("one", 20.0) | {"run": run}) + "\n")
    assert not list(records.find(folder))
    assert "is not a readable archive of runs (line 1: run is" in capsys.readouterr().err


def test_a_damaged_archive_is_named_and_left_out(folder, capsys):
    with (folder / record_file.ARCHIVE).open("a") as file:
        file.write('{"run": "three"')
    assert not list(records.find(folder))
    err = capsys.readouterr().err
    assert "runs.jsonl is not a readable archive of runs (line 3:" in err


def test_what_wants_a_directory_says_that_there_is_none(folder, lab):
    for words in (["rate", folder / "one"], ["runs", folder, "--where", "psnr < 20.5", "--delete", "--yes"]):
        status, _, err = lab(*words)
        assert status == 1
        assert f"{folder / 'one'} lies in {folder / record_file.ARCHIVE}" in err
    assert [path.name for path in folder.iterdir()] == [record_file.ARCHIVE]
