"""Dashboards: the keys that workspace and report name are those that runs have, and their JSON is W&B's."""

import csv
import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import offline
import pytest
import toys
from wandb_server import Server

from caelab.training import pictures

pytest.importorskip("wandb_workspaces", reason="the extra dashboard is not installed")
from caelab.dashboard import dashboard as made  # noqa: E402
from caelab.dashboard import upload  # noqa: E402
from caelab.report.rows import Row, Run, Section  # noqa: E402

STUDY = """\
title: Two rates
text: Which rate is better?
datasets: [shapes]
epochs: 2
seeds: 2
train_size: 96
batch_size: 32
recipe: [dataset.val_size=40, dataset.test_size=50]
runs:
  fast: [model=base, "model.channels=[4,8]", "model.hidden=[]", model.latent=8, optimizer.lr=1e-2]
  slow: [model=base, "model.channels=[4,8]", "model.hidden=[]", model.latent=8, optimizer.lr=1e-5]
claims:
  - {text: fast beats slow, better: [fast], than: [slow]}
"""


@pytest.fixture(autouse=True)
def _no_key(monkeypatch, tmp_path):
    for key in ("API_KEY", "MODE", "PROJECT", "ENTITY"):
        monkeypatch.delenv(f"WANDB_{key}", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for folder in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"WANDB_{folder}_DIR", str(tmp_path / f"wandb_{folder}"))
    monkeypatch.setenv("WANDB_SILENT", "true")


@pytest.fixture
def board(command, tmp_path):
    """Call ``caelab dashboard`` with words: what it says, and the file that it writes."""

    def call(*words):
        status, out, err = command(*words)
        assert status == 0, err
        return out, json.loads((tmp_path / "dashboard.json").read_text())

    return call


def nodes(value) -> Iterator[dict]:
    """Every object within a JSON value."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(inner)


def named(spec) -> dict[str, set[str]]:
    """Where -> keys that a specification names: in ``history``, ``summary`` and ``config``."""
    found = {"history": set(), "summary": set(), "config": set()}

    def add(text: str) -> None:
        where, key = re.fullmatch(r"(?:(config|summary)(?:_metrics)?[.:])?(.*)", text).groups()
        found[where or "history"].add(re.sub(r"\.value\b", "", key, count=1) if where == "config" else key)

    for panel in (node for node in nodes(spec) if "viewType" in node):
        config = panel["config"]
        last = "summary." if panel["viewType"] == "Bar Chart" else ""  # of which it draws the last value
        for text in (*config.get("metrics", ()), *config.get("mediaKeys", ())):
            add(f"{last}{text}")
        for axis in ("xAxis", "yAxis"):
            if axis in config:
                add(config[axis])
        if "groupBy" in config:
            add(f"config.{config['groupBy']}")
        for call in nodes(config if panel["viewType"] == "Weave" else {}):
            if call.get("name") == "pick":
                add(call["inputs"]["key"]["val"])
    for columns in (node["columnPinned"] for node in nodes(spec) if "columnPinned" in node):
        for column in columns:
            if column.partition(":")[0] in ("config", "summary"):
                add(column)
    return found


def filtered(spec) -> list[set[str]]:
    """Fingerprints of each set of runs."""
    return [
        set(re.findall(r"[0-9a-f]{64}", json.dumps(node["filters"])))
        for node in nodes(spec)
        if "runFeed" in node
    ]


def leaves(node, prefix="") -> Iterator[str]:
    """Keys of a nested config, with dots."""
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")


def there(runs) -> dict[str, set[str]]:
    """Keys that offline runs have, as ``named`` gives them."""
    media = {key.removesuffix("._type") for run in runs for row in run.history for key in row}
    return {
        "history": media,
        "summary": {key for run in runs for key in run.summary},
        "config": {key for run in runs for key in leaves(run.config)},
    }


def check(sent, runs) -> None:
    """Workspace and report name what the runs have, and are what the library would send."""
    from wandb_workspaces.reports.v2.internal import Spec
    from wandb_workspaces.workspaces.internal import WorkspaceViewspec

    models = {"workspace": WorkspaceViewspec, "report": Spec}
    known = there(runs)
    for name, model in models.items():
        spec = sent[name]["spec"]
        for where, keys in named(spec).items():
            assert keys <= known[where], (name, where, keys - known[where])
        again = json.loads(model.model_validate(spec).model_dump_json(by_alias=True, exclude_none=True))
        for node in nodes(again):
            if node.get("inlineComments") == []:  # which reading adds to the text of a heading
                del node["inlineComments"]
        assert again == spec
        assert filtered(spec)
        for fingerprints in filtered(spec):
            assert fingerprints <= {run.config["fingerprint"] for run in runs}
    assert set(sent["runs"]) == {run.config["fingerprint"] for run in runs}


def check_run(run, epochs: int) -> None:
    """Curves, pictures at each interval, a summary and a table lie in an offline run."""
    assert run.exit == [0]
    for key in ("val/psnr", "val/ssim", "val/loss", "train/loss"):
        assert len(run.column(key)) == epochs
    shown = [row["epoch"] for row in run.history if "val/images._type" in row]
    assert shown == sorted(pictures.turns(epochs, 1, None))
    assert {
        "test/psnr",
        "test/ssim",
        "best_epoch",
        "size/effective_code",
        "fingerprint",
    } <= run.summary.keys()
    assert len(run.media("table/test/*.json")) == len(run.media("images/test/*.png")) == 1


def test_a_sweep_of_a_weight_is_drawn_against_it(train, board):
    answer = train("-m", "logger=wandb", "loss=l1_mse", "loss.alpha=0.1,0.9")
    runs = [offline.read(path) for path in answer.run_dirs]
    for run in runs:
        check_run(run, 2)
    out, sent = board()
    check(sent, runs)
    assert "no key for W&B, so the dashboard is in dashboard.json" in out
    keys = named(sent["workspace"]["spec"])
    assert {"val/psnr", "val/ssim", "val/loss", "train/loss", "val/images", "test/table"} <= keys["history"]
    assert {"test/psnr", "test/ssim", "size/effective_code"} <= keys["summary"]
    assert keys["config"] == {"variant", "loss.alpha"}
    best, other = sorted(answer.records, key=lambda record: -record["metrics"]["val/psnr"])
    texts = [node["text"] for node in nodes(sent["report"]["spec"]) if "text" in node]
    psnr = other["metrics"]["test/psnr"]
    apart = psnr - best["metrics"]["test/psnr"]
    (said,) = [text for text in texts if f"PSNR {apart:+.2f} dB from" in text]
    assert f"loss.alpha={other['config']['loss']['alpha']}: PSNR {psnr:.2f} dB, SSIM" in said


@pytest.mark.slow
def test_the_sweep_of_optimizers_and_seeds(train, board):
    answer = train("-m", "logger=wandb", "optimizer=adam,adamax,sgd", "seed=0,1,2")
    runs = [offline.read(path) for path in answer.run_dirs]
    assert len(runs) == 9
    for run in runs:
        check_run(run, 2)
    _, sent = board()
    check(sent, runs)
    assert "choices.optimizer" in named(sent["workspace"]["spec"])["config"]
    texts = " ".join(node["text"] for node in nodes(sent["report"]["spec"]) if "text" in node)
    for name in ("adam", "adamax", "sgd"):
        assert re.search(rf"\b{name}: PSNR [0-9.]+ dB \[[0-9., -]+\], SSIM .* \(3 seeds", texts)


@pytest.mark.slow
def test_a_study_tells_its_verdicts_and_the_runs_of_others_are_left_out(train, board, lab, tmp_path):
    (tmp_path / "conf" / "study").mkdir(parents=True)  # a folder of the user's own
    (tmp_path / "conf" / "study" / "toy.yaml").write_text(STUDY)
    train("logger=wandb", "seed=7")
    status, out, _ = lab("study", "toy", "logger=wandb", "trainer.accelerator=cpu")
    assert status == 0
    (verdict,) = re.findall(r"fast beats slow on shapes: .*", out)
    _, sent = board("toy", "trainer.accelerator=cpu")
    texts = [node["text"] for node in nodes(sent["report"]["spec"]) if "text" in node]
    assert verdict in texts
    assert len(sent["runs"]) == 4


def test_rows_on_other_test_images_stand_apart(tmp_path, monkeypatch):
    runs = {n: Run(tmp_path / str(n), toys.exact(data={"test": n}, artifacts={})) for n in (10, 20)}
    rows = [Row(str(n), "shapes", runs={0: run}) for n, run in runs.items()]
    claim = {"text": "more is better", "better": ["20"], "than": ["10"]}
    one = Section("s", "Title", "", "shapes", rows, claims=[claim])
    monkeypatch.setattr(made, "section", lambda *_: one)
    first, second = made._parts([SimpleNamespace(datasets=["shapes"])], {}, {}, rest=False)
    assert [[row.label for row in part.section.rows] for part in (first, second)] == [["10"], ["20"]]
    assert ("not measured" in first.verdicts[0], second.verdicts) == (True, ())


def test_the_runs_of_a_report_are_those_of_a_dashboard(tmp_path, monkeypatch):
    shared, floor = (Run(tmp_path / name, toys.exact(artifacts={}, sweep="b-full")) for name in "ab")
    rows = {
        "a": [Row("trained", "shapes"), Row("PCA", "shapes", floor=True, runs={0: shared})],  # not begun
        "c": [Row("PCA", "shapes", floor=True, runs={0: floor})],  # has no other row
    }
    monkeypatch.setattr(
        made, "section", lambda study, *_: Section(study.name, "", "", "shapes", rows[study.name])
    )
    plans = [SimpleNamespace(name=name, datasets=["shapes"]) for name in rows]
    runs = {name: (run.path, run.record) for name, run in (("a", shared), ("b", floor))}
    parts = made._parts(plans, runs, {}, rest=True)
    found = [(part.section.study, [run.path.name for run in part.runs]) for part in parts]
    assert found == [("c", ["b"]), ("runs", ["a"])]


def test_a_validation_is_sent_with_its_own_epoch(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,step,val/psnr,train/loss\n0,9,,0.2\n1,19,20.0,0.1\n")
    first, second, _ = upload._rows(Run(tmp_path, toys.exact(artifacts={"curves": "metrics.csv"})))
    assert first == ({"epoch": 0, "train/loss": 0.2}, 9)
    assert second == ({"epoch": 1, "train/loss": 0.1, "val/psnr": 20.0}, 19)


def test_what_was_trained_without_wandb_is_sent_once(train, board, command):
    answer = train("seed=0,1", "-m", "trainer.max_epochs=1")
    status, _, err = command()
    assert (status, err) == (1, [err[0]])
    assert err[0].startswith("caelab: multirun: 2 finished runs, none of them in W&B; --upload sends them")

    out, sent = board("--upload")
    assert "2 runs written below their directories" in out
    runs = [offline.read(path) for path in answer.run_dirs]
    check(sent, runs)
    for run, record in zip(runs, answer.records, strict=True):
        assert run.exit == [0]
        assert run.run.display_name == f"shapes-base-mse-adam-s{record['seed']}"
        assert run.column("val/psnr") == pytest.approx([record["metrics"]["val/psnr"]], rel=1e-6)
        assert record["metrics"].items() <= run.summary.items()
        assert run.config["model"]["latent"] == 8
        assert len(run.media("table/test/*.json")) == len(run.media("images/test/*.png")) == 1
        assert not run.media("images/val/*.png")  # of which no record tells
    assert "0 runs written" in board("--upload")[0]
    assert [len(offline.read(path).folders) for path in answer.run_dirs] == [1, 1]


def test_a_run_that_was_trained_again_is_sent_again_as_another(train, board):
    answer = train("trainer.max_epochs=1")
    board("--upload")
    before = offline.read(answer.run_dir)
    sent = answer.run_dir / "wandb" / "id"
    os.utime(sent, (sent.stat().st_atime, datetime.fromisoformat(answer.record["finished"]).timestamp() - 1))
    assert "1 run written" in board("--upload")[0]  # as after force=true
    assert "0 runs written" in board("--upload")[0]
    assert len(offline.read(answer.run_dir).folders) == len(before.folders) + 1


def test_each_training_of_a_run_has_an_id_of_its_own(monkeypatch, tmp_path):
    ids = []

    def begin(*_, run_id, **__):
        ids.append(run_id)
        raise KeyboardInterrupt

    monkeypatch.setattr(upload, "WandB", begin)
    for day in ("2026-01-01", "2026-01-02", "2026-01-02"):
        with pytest.raises(KeyboardInterrupt):
            upload.send(Run(tmp_path, toys.exact(finished=f"{day}T00:00:00+00:00")), "offline", None, "p")
    assert ids[0] != ids[1] == ids[2]


def test_a_run_that_was_sent_by_half_is_not_taken_for_sent(monkeypatch):
    sent = [
        SimpleNamespace(
            state=state, config={"fingerprint": state}, created_at=f"2026-12-0{day}T10:00:00{zone}"
        )
        for state, day, zone in (
            ("finished", 1, ""),
            ("finished", 2, "Z"),
            ("crashed", 3, "Z"),
            ("failed", 3, "Z"),
        )
    ]
    other = SimpleNamespace(state="finished", config={}, created_at="2026-12-04T10:00:00Z")
    monkeypatch.setattr(
        "wandb.Api",
        lambda: SimpleNamespace(runs=lambda *_, **__: [*sent, other]),
    )
    assert upload.there("team", "mine") == {"finished": datetime(2026, 12, 2, 10, tzinfo=UTC)}


def test_with_a_key_both_are_saved_and_only_what_a_project_lacks_is_sent(
    train, command, monkeypatch, tmp_path
):
    from wandb_workspaces.reports.v2 import Report
    from wandb_workspaces.workspaces import Workspace

    answer = train("-m", "seed=0,1,2", "trainer.max_epochs=1")
    whole, older, _ = answer.records
    finished = [datetime.fromisoformat(record["finished"]) for record in answer.records]
    before = {whole["fingerprint"]: finished[0], older["fingerprint"]: finished[1] - timedelta(seconds=1)}
    sent = []
    monkeypatch.setattr(made, "key_configured", lambda: True)
    monkeypatch.setattr(made, "there", lambda *place: before if place == ("team", "mine") else {})

    def send(run, *place):
        sent.append((run, *place))
        (run.path / "wandb").mkdir()
        (run.path / "wandb" / "id").touch()

    monkeypatch.setattr(made, "send", send)
    for kind in (Workspace, Report):
        monkeypatch.setattr(kind, "save", lambda self: self)
        monkeypatch.setattr(kind, "url", property(lambda self: f"at {self.entity}/{self.project}"))
    status, out, err = command("--upload", "--entity", "team", "--project", "mine")
    assert (status, err) == (0, [])
    assert [(run.record.seed, *place) for run, *place in sent] == [
        (1, "online", "team", "mine"),
        (2, "online", "team", "mine"),
    ]
    assert out.count("at team/mine") == 2
    again = next(path.name for path in answer.run_dirs if path.name.endswith(older["fingerprint"][:10]))
    assert f"trained again since they were sent: 1, such as {again}; " in " ".join(out.split())
    assert not (tmp_path / "dashboard.json").exists()


@pytest.mark.slow
def test_a_server_gets_the_run_the_workspace_and_the_report(trained, environment):
    answer = trained()
    (answer.run_dir / "reconstructions.npz").unlink()  # so that there are no artifacts, which take more of it
    with Server() as server:
        done = server.call(environment, "caelab", "dashboard", "--upload")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("/me/caelab") == 2
    curve = [row["val/psnr"] for row in server.history if "val/psnr" in row]
    with (answer.run_dir / "metrics.csv").open() as file:
        assert curve == pytest.approx([float(row["val/psnr"]) for row in csv.DictReader(file)], rel=1e-6)
    assert {kind: view["displayName"] for kind, view in server.views.items()} == {
        "runs": "caelab: all runs",
        "project-view": "caelab: all runs",
    }
    assert filtered(json.loads(server.views["project-view"]["spec"])) == [{answer.record["fingerprint"]}]


def test_a_mistake_is_one_line(train, command, monkeypatch, tmp_path):
    train("logger=wandb", "trainer.max_epochs=1")
    assert command("tabel2")[2] == [
        "caelab: tabel2: there is no such folder or study; did you mean 'table2'?"
    ]
    (tmp_path / "empty").mkdir()
    assert command("empty")[2] == ["caelab: empty: no finished run there; give folders with runs"]
    monkeypatch.setattr("caelab.cli.dashboard.find_spec", lambda _: None)
    assert command()[2] == [
        "caelab: caelab dashboard: it needs wandb-workspaces; pip install 'caelab[dashboard]'"
    ]
