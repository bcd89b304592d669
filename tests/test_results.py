"""The run record: identity, atomic writing, reading, finding."""

import pytest
import toys
from omegaconf import OmegaConf

from caelab import compose, results
from caelab.errors import UserError


def config(**changes):
    plain = {
        "model": {"latent": 8},
        "dataset": {"data_dir": "${paths.data}", "archive": None},
        "trainer": {"max_epochs": 2, "enable_progress_bar": True},
        "logger": {"csv": {"save_dir": "${hydra:runtime.output_dir}"}},
        "paths": {"data": "/a", "output": "multirun"},
        "seed": 0,
        "force": False,
    }
    cfg = OmegaConf.create(plain)
    for key, value in changes.items():
        OmegaConf.update(cfg, key.replace("__", "."), value)
    return cfg


@pytest.mark.parametrize(
    "change",
    [
        {"paths__data": "/b"},
        {"paths__output": "elsewhere"},
        {"logger": {}},
        {"force": True},
        {"dataset__archive": "x.tar.gz"},
        {"trainer__enable_progress_bar": False},
    ],
)
def test_fingerprint_ignores_what_cannot_change_a_figure(change):
    assert results.fingerprint(config(**change)) == results.fingerprint(config())


@pytest.mark.parametrize("change", [{"seed": 1}, {"model__latent": 9}, {"trainer__max_epochs": 3}])
def test_fingerprint_follows_what_matters(change):
    assert results.fingerprint(config(**change)) != results.fingerprint(config())


@pytest.mark.parametrize("change", [{"seeds": 5}, {"budget": "quick"}, {"study": {"title": "x"}}])
def test_fingerprint_does_not_know_what_asked_for_the_run(change):
    assert results.fingerprint(config(**change)) == results.fingerprint(config())


def test_fingerprint_follows_the_files_of_a_folder(tmp_path):
    (tmp_path / "one.png").write_bytes(b"1")
    cfg = config(dataset__path=str(tmp_path), paths__data=str(tmp_path / ".data"))
    first = results.fingerprint(cfg)
    assert results.fingerprint(cfg) == first
    (tmp_path / "two.png").write_bytes(b"2")
    second = results.fingerprint(cfg)
    (tmp_path / "two.png").write_bytes(b"22")
    assert len({first, second, results.fingerprint(cfg)}) == 3


# of runs on record, which the same words must find again
ON_RECORD = {
    "model=base dataset=mnist": "22ef97806c2fe4d14cc72bcfdf2fa58e145f4eaac2efe899a5ab2cfad21a36c7",
    "model=improved_skip dataset=cifar10 seed=2": (
        "59de3cfcbd3c8f6a860129b758473751dd56760a97286825f0a6ccc03efe32cb"
    ),
    "model=improved dataset=cifar10 loss=l1_mse loss.alpha=0.1": (
        "6fe2ab40a950bee44ff5ceb9ffdb02499939cdf293c3bf6c9d8fe469587514fd"
    ),
    "model=honest_skip model.skip_dropout=0 model.budget=512 dataset=mnist": (
        "334660cba01f960a37f3496fa1f6679794265a656ea9733cae923501873567d7"
    ),
    "model=residual dataset=cifar10 dataset.batch_size=64 trainer.max_epochs=16 optimizer=adamw "
    "optimizer.lr=1.5e-3 scheduler=cosine flip=true ema=0.999 speed=auto +trainer.gradient_clip_val=0.01": (
        "f07f4d6411c36e10dad6cc8e41d043e07e8461b7f180b2fb33645ebd96f10823"
    ),
}


@pytest.mark.parametrize("words", ON_RECORD)
def test_fingerprints_on_record_stay(words):
    common = ["loss=mse", "optimizer=adam", "dataset.batch_size=256", "trainer.max_epochs=10"]
    own = {word.partition("=")[0] for word in words.split()}
    cfg, _ = compose.config([*(o for o in common if o.partition("=")[0] not in own), *words.split()])
    assert results.fingerprint(cfg) == ON_RECORD[words]


def test_fingerprint_leaves_the_config_alone():
    cfg = config()
    before = OmegaConf.to_yaml(cfg)
    results.fingerprint(cfg)
    assert OmegaConf.to_yaml(cfg) == before


SIZE = {"latent": 8, "effective_code": 20}
DATA = {"sha256": "x"}


def record(path, **changes):
    floor = {"choices": {"model": "pca"}, "size": SIZE, "data": DATA, "metrics": {"test/psnr": 20.0}}
    made = toys.record(**floor | changes)
    path.mkdir(parents=True)
    results.write(path, made)
    return made


def test_write_then_read(tmp_path):
    made = record(tmp_path / "a")
    assert results.read(tmp_path / "a") == made
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["result.json"]
    assert results.read(tmp_path) is None


def test_a_record_holds_no_nan_and_a_failed_write_leaves_the_old_one(tmp_path):
    made = record(tmp_path / "a")
    with pytest.raises(ValueError, match="not JSON compliant"):
        results.write(tmp_path / "a", {"x": float("nan")})
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
        **made["metrics"],
        "test/latent_reliance": 0.25,
        **found,
    }
    assert results.analysis(tmp_path / "a", "audit", made)["seconds"] == 3


@pytest.mark.parametrize("change", [{"fingerprint": "g"}, {"finished": "2026-05-02T12:00:00+00:00"}])
def test_an_analysis_of_another_training_does_not_count(tmp_path, change):
    made = audited(tmp_path / "a")
    assert results.analyses(tmp_path / "a", made | change) == {}
    assert results.analysis(tmp_path / "a", "audit", made | change) is None


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 1}', '{"schema": 9, "figures": {}}'])
def test_an_analysis_that_is_damaged_or_foreign_does_not_count(tmp_path, text):
    made = audited(tmp_path / "a")
    (tmp_path / "a" / "audit.json").write_text(text)
    assert results.analyses(tmp_path / "a", made) == {}


def test_older_records_tell_the_reliance_of_models_without_skips_only(tmp_path):
    around = {"size": {"latent": 8, "effective_code": 20}}
    through = {"size": {"latent": 8, "effective_code": 8}}
    assert results.latent_reliance({"metrics": {}, **through}) == 1
    assert results.latent_reliance({"metrics": {}, **around}) is None
    assert results.latent_reliance({"metrics": {}, "size": {"latent": 0, "effective_code": 0}}) is None
    later = {"config": {"corruption": {"_target_": "caelab.corruptions.Clean"}}, **through}
    assert results.latent_reliance({"metrics": {}, **later}) is None  # measured: it had none
    assert results.latent_reliance({"metrics": {"test/latent_reliance": 0.1}, **through}) == 0.1
    made = record(tmp_path / "a", **around)
    assert results.figures(tmp_path / "a", made) == made["metrics"]
    (tmp_path / "b").mkdir()
    assert results.figures(tmp_path / "b", made | through)["test/latent_reliance"] == 1
    # the training's own figure goes before that of a later audit
    measured = audited(tmp_path / "c", metrics={"test/psnr": 20.0, "test/latent_reliance": 0.3}, **around)
    assert results.figures(tmp_path / "c", measured)["test/latent_reliance"] == 0.3
