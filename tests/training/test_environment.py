"""Where a run is carried out: what the record says of its parts, and a resume of what has changed."""

import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from torch import nn

from caelab.augmentations import Trivial
from caelab.bottlenecks.vq import VQ
from caelab.config import source
from caelab.inference import restore
from caelab.runs.record import made
from caelab.training import environment

HERE = {"code": "c", "torch": "2.14", "threads": 2, "speed": "32-true", "commit": "a", "dirty": False}


@pytest.mark.parametrize(
    ("now", "line"),
    [
        ({}, ""),
        ({"commit": "b", "dirty": True}, ""),  # of files that do not act
        ({"threads": 1}, "threads 1 (was 2)"),
        ({"code": "d", "torch": "2.15"}, "code (of caelab, or yours), torch 2.15 (was 2.14)"),
        ({"libraries": {"vector_quantize_pytorch": "1.33", "new": "1"}}, ""),  # older parts tell none
        ({"speed": "bf16-mixed, fused"}, "speed bf16-mixed, fused (was 32-true)"),
    ],
)
def test_what_may_change_figures_is_named(now, line):
    assert environment.changes(HERE, HERE | now) == line


def test_libraries_are_those_that_the_parts_of_a_run_are_of():
    before, now = (HERE | {"libraries": {"torchmetrics": "1.9", "zuko": one}} for one in ("1.4", "1.5"))
    assert environment.changes(before, now) == "zuko 1.5 (was 1.4)"
    assert environment.changes(before, HERE) == environment.changes(before, before) == ""
    parts = nn.Sequential(Trivial(), VQ(64), nn.ReLU())
    names = ("torchvision", "vector_quantize_pytorch")
    assert environment._libraries(parts) == {name: version(name) for name in names}


def test_a_resume_says_what_has_changed_and_the_record_lists_all_parts(train, killed, monkeypatch):
    words = ["trainer.max_epochs=4"]
    killed(*words, after=1)
    killed(*words, after=2)  # the same in all
    monkeypatch.setattr(environment, "version", lambda name: "0.1")
    monkeypatch.setattr(source, "acting", lambda config: "other")
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        answer = train(*words)
    finally:
        torch.set_num_threads(before)
    changed = f"changed since then: code (of caelab, or yours), threads {before + 1} (was {before})"
    assert answer.out.count("changed since then") == 1
    assert changed + f", torchmetrics 0.1 (was {version('torchmetrics')});" in answer.out
    present, (earlier,) = answer.record["environment"], answer.record["earlier_environments"]
    assert (present["code"], present["threads"]) == ("other", before + 1)
    assert (len(earlier["code"]), earlier["threads"]) == (64, before)
    different = {key for key in present if present[key] != earlier[key]}
    assert different == {"code", "threads", "libraries"}


def test_a_resume_in_the_same_environment_says_nothing(train, killed):
    killed(after=1)
    answer = train()
    assert "going on after epoch 1" in answer.out
    assert "changed" not in answer.out
    assert "earlier_environments" not in answer.record


def test_force_starts_anew_what_other_code_began_and_goes_on_with_its_own(train, killed, monkeypatch):
    killed("trainer.max_epochs=3", after=2)
    next(Path("multirun").rglob("result.json")).unlink()  # a killed process leaves none
    monkeypatch.setattr(source, "acting", lambda config: "other")
    killed("trainer.max_epochs=3", "force=true", after=1)
    next(Path("multirun").rglob("result.json")).unlink()
    answer = train("trainer.max_epochs=3", "force=true")
    assert "going on after epoch 1" in answer.out
    assert answer.record["environment"]["code"] == "other"
    assert "earlier_environments" not in answer.record


def test_a_run_goes_on_with_its_own_images_only_and_force_starts_it_anew(train, killed):
    def marked(images):
        killed(after=1)
        for path in Path("multirun").rglob("*.ckpt"):
            content = torch.load(path)
            assert len(content.pop("images")) == 64
            torch.save(content | images, path)

    marked({})  # as older checkpoints are
    whole = train()
    assert "going on after epoch 1" in whole.out
    (whole.run_dir / "result.json").unlink()
    shutil.rmtree(whole.run_dir / "checkpoints")
    marked({"images": "0" * 64})
    refused = train()
    assert refused.err.startswith("caelab: dataset=shapes in ")
    assert refused.err.endswith(
        ": not the images that the run began with; restore those, or start the run again with force=true\n"
    )
    assert (refused.status, refused.err.count("\n")) == (1, 1)
    (whole.run_dir / "result.json").unlink()
    again = train("force=true")
    assert "begun with other images; force=true: the run starts again" in again.out
    assert again.record["metrics"] == whole.record["metrics"]


def test_float64_survives_a_resume_and_load(train, killed):
    words = ["trainer.precision=64-true", "ema=0.9"]
    whole = train(*words)
    weights = [
        torch.load(whole.run_dir / "checkpoints" / f"{name}.ckpt")["state_dict"] for name in ("last", "best")
    ]
    (whole.run_dir / "result.json").unlink()
    for file in (whole.run_dir / "checkpoints").iterdir():
        file.unlink()
    killed(*words, after=1)
    again = train(*words)
    last = torch.load(again.run_dir / "checkpoints" / "last.ckpt")["state_dict"]
    assert again.record["metrics"] == whole.record["metrics"]
    assert all(torch.equal(last[key], value) for key, value in weights[0].items())
    net = restore.load(again.run_dir)
    assert {p.dtype for p in net.parameters()} == {torch.float64}
    kernel = net.state_dict()["decoder.0.0.weight"]
    assert torch.equal(kernel, weights[1]["net.decoder.0.0.weight"])
    assert not torch.equal(kernel, kernel.float().double())  # it needs more than float32
    data = restore.datamodule(made(again.record))
    data.setup()
    images = data.splits["test"][:]
    mse = (net.reconstruct(images) - images / 255).square().flatten(1).mean(1).double()
    assert again.record["metrics"]["test/psnr"] == pytest.approx(float((-10 * mse.log10()).mean()), abs=1e-4)


def test_a_checkout_says_whether_files_differ_from_its_commit(tmp_path, monkeypatch):
    def git(*words):
        done = subprocess.run(["git", "-C", tmp_path, *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x")
    monkeypatch.setattr(environment, "CONF", str(tmp_path))
    there = environment._commit.__wrapped__
    assert there() == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    (tmp_path / "file").write_text("2")
    assert there()["dirty"] is True


def test_what_the_build_wrote_down_comes_first_and_nothing_is_said_without_either(tmp_path, monkeypatch):
    there = environment._commit.__wrapped__
    monkeypatch.setattr(environment, "CONF", str(tmp_path))
    assert there() == {}
    built = tmp_path / "commit.json"
    built.write_text('{"commit": "abc", "dirty": false}')
    monkeypatch.setattr(environment, "_BUILT", built)
    assert there() == {"commit": "abc", "dirty": False}
