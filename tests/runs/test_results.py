"""The run record: atomic writing, reading, finding."""

from dataclasses import replace

import pytest
import toys

from caelab.errors import UserError
from caelab.runs import results
from caelab.runs.record import save

SIZE = {"latent": 8, "effective_code": 20}
DATA = {"sha256": "x"}


def record(path, **changes):
    floor = {"choices": {"model": "pca"}, "size": SIZE, "data": DATA, "metrics": {"test/psnr": 20.0}}
    made = toys.typed(**floor | changes)
    path.mkdir(parents=True)
    save(path, made)
    return made


def test_write_then_read(tmp_path):
    made = record(tmp_path / "a")
    assert results.read(tmp_path / "a") == made
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["result.json"]
    assert results.read(tmp_path) is None


def test_a_record_holds_no_nan_and_a_failed_write_leaves_the_old_one(tmp_path):
    made = record(tmp_path / "a")
    with pytest.raises(ValueError, match="not JSON compliant"):
        save(tmp_path / "a", replace(made, metrics={"x": float("nan")}))
    assert results.read(tmp_path / "a") == made


@pytest.mark.parametrize(
    ("text", "line"), [("{", "not a readable run record"), ('{"schema": 9}', "schema 9")]
)
def test_a_damaged_or_foreign_record_is_named(tmp_path, text, line):
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(UserError, match=line):
        results.read(tmp_path)


@pytest.mark.parametrize(
    ("identity", "status", "done", "tried"),
    [("a", "finished", 1, 1), ("b", "finished", 0, 0), ("a", "failed", 0, 0), ("a", "trial", 0, 1)],
)
def test_a_run_is_settled_by_its_own_finished_record_only(tmp_path, identity, status, done, tried):
    made = record(tmp_path / "a", fingerprint="a", status=status, error="no luck")
    assert results.settled(tmp_path / "a", identity) == (made if done else None)
    assert results.settled(tmp_path / "a", identity, trial=True) == (made if tried else None)


@pytest.mark.parametrize(
    ("left", "complete"),
    [
        ({"best.ckpt": "weights"}, True),
        ({"best.ckpt": ""}, False),  # a power cut took what was not on the disk yet
        ({"last.ckpt": "weights"}, True),  # somebody has removed it, to save space
        (None, True),  # as in docs
    ],
)
def test_a_run_whose_checkpoint_got_lost_is_not_settled(tmp_path, left, complete):
    made = record(tmp_path / "a", fingerprint="a")
    if left is not None:
        (tmp_path / "a" / "checkpoints").mkdir()
        for name, content in left.items():
            (tmp_path / "a" / "checkpoints" / name).write_text(content)
    assert results.settled(tmp_path / "a", "a") == (made if complete else None)


def test_finished_tells_what_is_missing(tmp_path):
    with pytest.raises(UserError, match="no such directory"):
        results.finished(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="no such directory"):
        results.finished(tmp_path / "file")
    with pytest.raises(UserError, match="not finished"):
        results.finished(tmp_path)
    record(tmp_path / "a", status="failed", error="no luck")
    with pytest.raises(UserError, match="no luck"):
        results.finished(tmp_path / "a")


def audited(path, reliance=0.25, **changes):
    """Leave the file of an audit, and return the record that it is tied to."""
    made = record(path, fingerprint="f", finished="2026-05-01T12:00:00+00:00", **changes)
    figures = {"figures": {"audit/latent_reliance": reliance, "audit/psnr_pca": 21.0}, "seconds": 3}
    results.write_analysis(path, "audit", made, figures)
    return made


def test_analyses_add_their_figures_to_those_of_the_record(tmp_path):
    made = audited(tmp_path / "a")
    results.write_analysis(tmp_path / "a", "probe", made, {"figures": {"probe/z/linear": 0.4}})
    found = {"audit/latent_reliance": 0.25, "audit/psnr_pca": 21.0, "probe/z/linear": 0.4}
    assert results.analyses(tmp_path / "a", made) == found
    assert results.figures(tmp_path / "a", made) == {
        **made.metrics,
        "test/latent_reliance": 0.25,
        **found,
    }
    assert results.analysis(tmp_path / "a", "audit", made)["seconds"] == 3


@pytest.mark.parametrize("change", [{"fingerprint": "g"}, {"finished": "2026-05-02T12:00:00+00:00"}])
def test_an_analysis_of_another_training_does_not_count(tmp_path, change):
    made = audited(tmp_path / "a")
    assert results.analyses(tmp_path / "a", replace(made, **change)) == {}
    assert results.analysis(tmp_path / "a", "audit", replace(made, **change)) is None


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 1}', '{"schema": 9, "figures": {}}'])
def test_an_analysis_that_is_damaged_or_foreign_does_not_count(tmp_path, text):
    made = audited(tmp_path / "a")
    (tmp_path / "a" / "audit.json").write_text(text)
    assert results.analyses(tmp_path / "a", made) == {}


def test_older_records_tell_the_reliance_of_models_without_skips_only(tmp_path):
    around = {"size": {"latent": 8, "effective_code": 20}}
    through = {"size": {"latent": 8, "effective_code": 8}}

    def reliance(**changes):
        return toys.typed(**changes).metrics.get("test/latent_reliance")

    assert reliance(**through) == 1
    assert reliance(**around) is None
    assert reliance(size={"latent": 0, "effective_code": 0}) is None
    later = {"config": {"corruption": {"_target_": "caelab.corruptions.Clean"}}, **through}
    assert reliance(**later) is None  # measured: it had none
    assert reliance(metrics={"test/latent_reliance": 0.1}, **through) == 0.1
    made = record(tmp_path / "a", **around)
    assert results.figures(tmp_path / "a", made) == made.metrics
    # the training's own figure goes before that of a later audit
    measured = audited(tmp_path / "c", metrics={"test/psnr": 20.0, "test/latent_reliance": 0.3}, **around)
    assert results.figures(tmp_path / "c", measured)["test/latent_reliance"] == 0.3
