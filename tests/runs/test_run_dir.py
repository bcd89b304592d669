"""The run directory: whose it is, who may write there, and what a full disk and a damaged file do to it."""

import errno
import logging
from contextlib import suppress

import pytest
import toys
from filelock import FileLock
from omegaconf import OmegaConf
from toys import config

from caelab import durable
from caelab.composition import compose
from caelab.errors import UserError
from caelab.runs import run_dir
from caelab.runs.record import save
from caelab.training import job_log
from caelab.training.claim import claim as take
from caelab.training.claim import full_disk_told


@pytest.fixture
def claim(tmp_path):
    """Claim a directory for a run that Hydra has composed; return it."""

    def claim(name, **changes):
        cfg = config(logger={}, **changes)
        path = tmp_path / name.replace("IDENTITY", compose.identity(cfg)[:10])
        path.mkdir(exist_ok=True)
        take(toys.job(cfg, path, overrides=["seed=0"]))
        return path

    return claim


def test_it_writes_what_hydra_writes(claim):
    path = claim("mine")
    assert compose.identity_of(path / ".hydra/config.yaml") == compose.identity(config())
    assert OmegaConf.load(path / ".hydra/overrides.yaml") == ["seed=0"]
    assert OmegaConf.load(path / ".hydra/hydra.yaml").hydra.overrides.task == ["seed=0"]


def test_a_run_of_another_config_is_refused(claim):
    claim("mine")
    with pytest.raises(UserError, match=r"mine holds a run of another config, other "):
        claim("mine", seed=1, force=True)


DAMAGED = {"empty": "", "half": "model:\n  latent: 8\n", "no yaml": "a: [", "bytes": "\udcff", "list": "[]"}


@pytest.mark.parametrize("kind", DAMAGED)
@pytest.mark.parametrize("force", [False, True])
def test_a_damaged_config_is_written_anew_where_the_name_tells_whose_it_is(claim, kind, force):
    path = claim("base-IDENTITY")
    whole = (path / ".hydra/config.yaml").read_text()
    (path / ".hydra/config.yaml").write_text(DAMAGED[kind], errors="surrogateescape")
    claim("base-IDENTITY", force=force)
    written = OmegaConf.load(path / ".hydra/config.yaml")
    assert written.force == force
    assert written.model == OmegaConf.create(whole).model


@pytest.mark.parametrize("kind", DAMAGED)
@pytest.mark.parametrize("force", [False, True])
def test_a_damaged_config_is_named_where_nothing_tells_whose_it_is(claim, kind, force):
    path = claim("mine")
    (path / ".hydra/config.yaml").write_text(DAMAGED[kind], errors="surrogateescape")
    with pytest.raises(UserError) as caught:
        claim("mine", force=force)
    assert str(caught.value).startswith(f"{path}/.hydra/config.yaml ")
    assert str(caught.value).endswith("; remove it if the run is yours, or choose another hydra.run.dir")
    (path / ".hydra/config.yaml").unlink()
    assert claim("mine", force=force) == path


def test_what_a_kill_left_half_written_goes_at_the_next_start(claim):
    path = claim("mine")
    (path / "checkpoints").mkdir()
    for folder in (".", ".hydra", "checkpoints"):
        (path / folder / f"{durable.ASIDE}1").write_text("half")
    claim("mine")
    assert sorted(file.name for file in path.rglob("*") if file.is_file()) == [
        *("config.yaml", "fingerprint", "hydra.yaml", "overrides.yaml")
    ]


def test_a_damaged_record_does_not_keep_a_forced_run_from_starting(claim):
    path = claim("mine")
    (path / "result.json").write_text("{")
    claim("mine", force=True)
    assert not (path / "result.json").exists()
    assert (path / "previous" / "result.json").read_text() == "{"


def test_a_failed_record_goes_and_what_it_trained_stays(claim):
    path = claim("mine")
    save(path, toys.typed(status="failed", error="no luck"))
    (path / "metrics.csv").write_text("epoch\n")
    claim("mine")
    assert not (path / "result.json").exists()
    assert (path / "metrics.csv").exists()
    assert not (path / "previous").exists()


def test_a_finished_run_needs_none_that_was_set_aside(tmp_path):
    for name in ("previous", f"{durable.ASIDE}gone"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("")
    with run_dir.locked(tmp_path):  # an analysis, say
        run_dir.tidy(tmp_path)
    assert (tmp_path / "previous").exists()
    run_dir.tidy(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_run_goes_also_where_a_kill_has_left_half_of_one_of_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.rmtree", lambda folder: None)  # a kill before it has removed anything
    for _ in range(2):
        (tmp_path / "base").mkdir()
        run_dir.remove(tmp_path / "base", "finished")
    assert [path.name[:8] for path in tmp_path.iterdir()] == [durable.ASIDE] * 2


def test_a_run_that_was_trained_since_it_was_chosen_stays(tmp_path):
    save(tmp_path, toys.exact())
    with pytest.raises(
        run_dir.BusyError, match=f"{tmp_path.name}: was failed and is finished now, so it is not deleted"
    ):
        run_dir.remove(tmp_path, "failed")
    assert tmp_path.is_dir()


def test_one_process_at_a_time(tmp_path):
    with run_dir.locked(tmp_path):
        assert run_dir.held(tmp_path)
    assert not run_dir.held(tmp_path)


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_a_file_system_without_locks_is_said_and_used(tmp_path, monkeypatch, capfd, code):
    def refuse(*_):
        raise OSError(code, "no")

    monkeypatch.setattr("fcntl.flock", refuse)
    with run_dir.locked(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] in ([], [".lock"])
    assert "this file system has no locks" in capfd.readouterr().err
    monkeypatch.undo()
    with FileLock(tmp_path / ".lock", timeout=0):  # nothing is left that would outlast a kill
        pass


@pytest.mark.parametrize("name", [None, "INSIDE"])
def test_a_full_disk_is_one_line_that_says_which(tmp_path, name):
    with pytest.raises(UserError) as caught, full_disk_told(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device", name and str(tmp_path / "checkpoints/x"))
    assert str(caught.value).startswith(f"the disk of {tmp_path} is full: ")
    assert "paths.output=FOLDER" in str(caught.value)


@pytest.mark.parametrize(("code", "name"), [(errno.ENOSPC, "/some/other"), (errno.EACCES, None)])
def test_what_is_no_full_disk_of_the_run_stays_as_it_is(tmp_path, code, name):
    with pytest.raises(OSError, match="reason"), full_disk_told(tmp_path):
        raise OSError(code, "reason", name)


def test_a_log_is_opened_by_its_first_line_and_leaves_out_what_a_full_disk_refuses(tmp_path, capfd):
    log = job_log.LogFile(str(tmp_path / "train.log"))
    assert not (tmp_path / "train.log").exists()
    log.emit(logging.makeLogRecord({"msg": "a line"}))
    log.close()
    assert (tmp_path / "train.log").read_text() == "a line\n"
    full = job_log.LogFile("/dev/full")
    full.emit(logging.makeLogRecord({"msg": "a line"}))
    with suppress(OSError):  # which logging itself does, at the end of a process
        full.close()
    assert capfd.readouterr().err == ""
    log.emit(logging.makeLogRecord({"msg": "f\udcff"}))  # of a path that is no text
    assert (tmp_path / "train.log").read_text() == "a line\nf\\udcff\n"
    log.emit(logging.makeLogRecord({"msg": "%d", "args": ("a bug",)}))
    assert "--- Logging error ---" in capfd.readouterr().err
    log.close()
