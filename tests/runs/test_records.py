"""Runs and searches on disk: what is found, what is named and left out, and the floor among them."""

import json
import os

import pytest
import toys

from caelab import durable
from caelab.runs import records
from caelab.runs.record import save

SIZE = {"latent": 8, "effective_code": 20}
DATA = {"sha256": "x"}
PCA = {"_target_": "caelab.models.pca.PCA", "latent": 8}


@pytest.fixture(autouse=True)
def _nothing_told():
    records.left_out.cache_clear()


def leave(path, **changes):
    """Leave the record of a run of PCA."""
    floor = {"config": {"model": PCA}, "size": SIZE, "data": DATA, "metrics": {"test/psnr": 20.0}}
    path.mkdir(parents=True)
    save(path, toys.typed(**floor | changes))


def found(root):
    return [str(path.relative_to(root)) for path, _ in records.find(root)]


def test_runs_are_found_wherever_they_lie_but_not_what_is_inside_of_them(tmp_path):
    for name in ("b/deep/run", "a", "a/previous", "a/checkpoints/x", "a/nested", f"c/{durable.ASIDE}moving"):
        leave(tmp_path / name)
    leave(tmp_path / "export")
    (tmp_path / "empty").mkdir()
    assert found(tmp_path) == ["a", "a/nested", "b/deep/run", "export"]
    assert found(tmp_path / "nothing") == []


def nested(depth):
    return "[" * depth + "]" * depth


def odd(**changes):
    return json.dumps(toys.record(**changes))


ODD = {
    "bytes": b"\xff\xfe",
    "list": "[]",
    "half": '{"schema": 1,',
    "deep": '{"schema": ' + nested(100_000) + "}",
    "deeper than a record": odd(config={"x": json.loads(nested(90))}),
    "no status": odd(status=None),
    "unhashable status": odd(status=["finished"]),
    "another status": odd(status="abandoned"),
    "metrics": odd()[:-1] + ', "metrics": [1, 2]}',
    "text for a figure": odd(metrics={"test/psnr": "20"}),
    "true for a figure": odd(metrics={"test/psnr": True}),
    "nan": odd(metrics={"test/psnr": float("nan")}),
    "infinity": odd().replace("21.5", "1e999"),
    "too large": odd(seed=10**30),
    "no size": odd(size=None),
    "size without a latent": odd(size=None)[:-1] + ', "size": {}}',
    "choices": odd(choices={"model": {}}),
    "artifacts": odd(artifacts={"best": 3}),
    "config": odd(config={"model": []}),
    "failed without a reason": odd(status="failed"),
}


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_record_is_named_once_and_left_out(tmp_path, capfd, kind):
    leave(tmp_path / "good")
    (tmp_path / "odd").mkdir()
    content = ODD[kind]
    (tmp_path / "odd" / "result.json").write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )
    for _ in range(2):
        assert found(tmp_path) == ["good"]
    told = capfd.readouterr().err.splitlines()
    assert len(told) == 1
    assert told[0].startswith(f"{tmp_path}/odd/result.json is not a readable run record (")
    assert told[0].endswith("); left out")


def test_what_is_no_file_or_huge_is_left_out_too(tmp_path, capfd):
    leave(tmp_path / "good")
    for name in ("pipe", "huge", "loop"):
        (tmp_path / name).mkdir()
    os.mkfifo(tmp_path / "pipe" / "result.json")
    os.truncate(os.open(tmp_path / "huge" / "result.json", os.O_CREAT | os.O_WRONLY), 1 << 40)
    (tmp_path / "loop" / "result.json").symlink_to("result.json")
    assert found(tmp_path) == ["good"]
    reasons = [line.partition("(")[2] for line in capfd.readouterr().err.splitlines()]
    huge, loop, pipe = reasons
    assert huge == "more than 16,777,216 bytes); left out"
    assert loop.startswith("[Errno 40] Too many levels of symbolic links")
    assert pipe == "it is not a file); left out"


@pytest.mark.parametrize("status", ["failed", "pruned"])
def test_a_record_of_a_run_that_did_not_finish_needs_no_figures(tmp_path, status):
    leave(tmp_path / "a", status=status, error="no luck", metrics=None, size=None, time=None)
    assert found(tmp_path) == ["a"]


def test_a_damaged_search_is_named_and_left_out(tmp_path, capfd):
    (tmp_path / "search.json").write_text('{"schema": 1, "name": "table2/found"}')
    assert records.searches(tmp_path) == {}
    assert "search.json is not a readable record of a search (" in capfd.readouterr().err


def test_floor_is_pca_at_the_same_latent_on_the_same_data(tmp_path):
    mine = toys.typed(size=SIZE, data=DATA)
    assert records.floor(tmp_path, mine) is None
    leave(tmp_path / "other_latent", size={"latent": 9})
    leave(tmp_path / "other_data", data={"sha256": "y"})
    leave(tmp_path / "other_model", config={"model": {"_target_": "caelab.models.base.Base", "latent": 8}})
    leave(tmp_path / "fitted", config={"model": PCA | {"refine": 20}})
    leave(tmp_path / "shrunk", config={"model": PCA | {"refine": 0, "shrinkage": "auto"}})
    leave(tmp_path / "failed", status="failed", error="no luck")
    leave(tmp_path / "other_classes", config={"model": PCA, "dataset": {"classes": [1]}})
    leave(tmp_path / "noisy", config={"model": PCA, "corruption": {"_target_": "caelab.corruptions.Blur"}})
    assert records.floor(tmp_path, mine) is None
    clean = {"model": PCA, "corruption": {"_target_": "caelab.corruptions.Clean"}}
    leave(tmp_path / "floor", metrics={"test/psnr": 21.5}, config=clean)
    assert records.floor(tmp_path, mine).metrics["test/psnr"] == 21.5
    assert records.floor(tmp_path, mine, 9).metrics["test/psnr"] == 20.0
    assert records.floor(tmp_path, mine, 10) is None
    leave(tmp_path / "stronger", metrics={"test/psnr": 22.0}, config=clean)
    leave(tmp_path / "weaker", metrics={"test/psnr": 19.0}, config=clean)
    assert records.floor(tmp_path, mine).metrics["test/psnr"] == 22.0


def test_a_floor_of_some_classes_is_one_of_the_same(tmp_path):
    for name, classes, psnr in (("zero", [0], 20.0), ("one", [1], 21.0), ("all", None, 22.0)):
        config = {"model": PCA, "dataset": {"classes": classes}}
        leave(tmp_path / name, config=config, metrics={"test/psnr": psnr})
    mine = toys.typed(size=SIZE, data=DATA, config={"dataset": {"classes": [1]}})
    assert records.floor(tmp_path, mine).metrics["test/psnr"] == 21.0


def test_a_floor_is_what_its_record_calls_so(tmp_path):
    own = {"config": {"model": {"_target_": "mine.Cosines", "latent": 10}}, "size": {"latent": 10}}
    leave(tmp_path / "own", floor="DCT", **own)
    mine = toys.typed(size=SIZE | {"latent": 10}, data=DATA)
    assert records.floor(tmp_path, mine).floor == "DCT"
    assert records.floor(tmp_path, mine, name="PCA") is None
