"""The command line of the report: from folders of runs to the files and lines that a reader gets."""

import csv
import html
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import toys

from caelab import studies
from caelab.composition import compose
from caelab.plotting.embed import plotly
from caelab.report import figures, pictures, tables
from caelab.report.asked import Asked, asked
from caelab.report.build import report
from caelab.runs import records, results
from caelab.runs.record import RECORD

PSNR = {"base": (20.0, 20.5, 21.0), "improved": (21.9, 22.5, 22.8), "PCA 256": (26.8,)}
HOLDS = "improved beats base on CIFAR-10: holds, +1.90 dB [0.81, 2.99], 3 seeds."  # by Welch's t test
LOST = (
    "skips around the bottleneck beat improved on CIFAR-10: not measured, improved_skip has no finished run "
    "(failed: loss is not finite; not run)."
)
ENVIRONMENT = {"device": "cpu", "torch": "2.11.0", "caelab": "0.1.0", "precision": "32-true"}
SIZE = {"parameters": 9, "latent": 8, "effective_code": 8, "flops_per_image": 10, "input_numbers": 12}
KINDS = ["curves", "images", "pareto", "psnr"]
COMMAND = ["table2", "dataset=cifar10,mnist,cinic10"]


def leave(path, variant, seed, psnr=20.0, **changes):
    """Leave the record, curves and pictures of a variant's run."""
    path.mkdir(parents=True)
    cfg = compose.variant(variant.overrides).copy()
    cfg.seed = seed
    choices = {"model": "base", "loss": "mse", "optimizer": "adam", "dataset": "cifar10"}
    keys = ("test/psnr", "test/psnr_pooled", "published/psnr", "val/psnr")
    made = vars(results.start(toys.job(cfg, choices=choices, overrides=variant.at(seed)))) | {
        "status": "finished",
        "error": "",
        "metrics": dict.fromkeys(keys, psnr) | {"test/ssim": 0.5, "published/ssim": 0.6, "test/loss": 0.01},
        "size": SIZE,
        "time": {"fit_seconds": 3.0, "epochs": 2},
        "data": {"name": "cifar10", "train": 40, "val": 10, "test": 50, "sha256": "d66d"},
        "artifacts": {"curves": "metrics.csv", "images": "reconstructions.npz"},
    }
    (path / RECORD).write_text(json.dumps(toys.record(**made | changes)))
    (path / "metrics.csv").write_text(f"epoch,train/loss,val/psnr\n0,0.1,{psnr - 1}\n1,0.05,{psnr - 1}\n")
    images = np.full((2, 3, 4, 4), seed, np.uint8)
    np.savez(path / "reconstructions.npz", originals=0 * images, reconstructions=images)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Seven finished runs of Table II, and a failed one."""
    folder = tmp_path_factory.mktemp("made") / "runs"
    variants = {one.label: one for one in studies.load("table2").variants("cifar10", lambda trial: None)}
    for label, values in PSNR.items():
        for seed, value in enumerate(values):
            threads = 1 if label == "PCA 256" else 2
            environment = ENVIRONMENT | {"threads": threads}
            if label != "PCA 256":  # whose record is older
                environment["speed"] = "32-true, fused"
            leave(folder / f"{label}-{seed}", variants[label], seed, value, environment=environment)
    failed = {"status": "failed", "error": "loss is not finite"}
    leave(folder / "failed", variants["improved_skip"], 0, **failed)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory, runs):
    """A report in a folder that was there and empty."""
    out = tmp_path_factory.mktemp("report")
    report(asked([str(runs), *COMMAND]), out)
    return out


@pytest.fixture
def command(tmp_path, monkeypatch, lab):
    """Call the command in an empty folder: exit status, lines on stdout, lines on stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        status, out, err = lab("report", *words)
        return status, out.splitlines(), err.splitlines()

    return call


def files(out):
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


def test_every_file_is_there(made):
    expected = {f"tables/table2-cifar10.{ending}" for ending in ("csv", "md", "tex")}
    expected |= {f"figures/table2-cifar10-{kind}.{ending}" for kind in KINDS for ending in ("png", "pdf")}
    assert files(made) == sorted(expected | {"index.html", "index.md"})
    for kind in KINDS:
        name = f"table2-cifar10-{kind}"
        assert matplotlib.image.imread(made / "figures" / f"{name}.png").std() > 0.01
        assert (made / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF-")


def test_the_table_holds_the_runs(made):
    with (made / "tables" / "table2-cifar10.csv").open(newline="") as file:
        found = {line["variant"]: line for line in csv.DictReader(file)}
    assert {label: line["seeds"] for label, line in found.items() if line["seeds"] != "0"} == {
        "base": "3",
        "improved": "3",
        "PCA 256": "1",
    }
    assert float(found["improved"]["psnr"]) == pytest.approx(22.4)
    assert float(found["base"]["difference"]) == pytest.approx(20.5 - 20.75)
    note = "seed 0: failed: loss is not finite; seed 1: not run; seed 2: not run"
    assert found["improved_skip"]["note"] == note


def test_the_page_draws_from_what_it_has_and_the_other_page_links_to_its_figures(made):
    names = [f"table2-cifar10-{kind}.png" for kind in ("psnr", "curves", "pareto", "images")]
    text = (made / "index.html").read_text(encoding="utf-8")
    (drawn,) = json.loads(re.search('id="data">(.*)</script>', text)[1])["sections"]
    assert drawn["rows"][0]["psnr"] == [20.5, *map(pytest.approx, (19.258, 21.742)), *PSNR["base"]]
    assert drawn["rows"][0]["curves"]["val/psnr"] == [[1, 2], [19.5, 19.5], [19, 19], [20, 20]]
    assert drawn["rows"][1]["report"] == {"test/psnr": 23.92, "test/ssim": 0.81, "test/loss": 0.004}
    assert [one["name"] for one in drawn["pictures"]["rows"]] == ["original", *PSNR]
    assert re.findall(r'(?:src|href)="(?!#|data:)', text.replace(plotly(), "")) == []
    links = re.findall(r"\]\(([^)]*)\)\n", (made / "index.md").read_text(encoding="utf-8"))
    assert links == [f"figures/{names[0]}", "tables/table2-cifar10.csv"]


def test_verdicts_and_absent_studies_stand_in_both_files(made):
    words = "dataset=cifar10,mnist,cinic10"
    large = "; it fetches 687 MB, or put CINIC-10.tar.gz into the data folder"
    title = "Table II: three architectures"
    # the page is text between tags, and verdicts begin with a sign and a word of their own
    pages = [
        html.unescape(re.sub("<[^>]*>", "", (made / "index.html").read_text(encoding="utf-8"))),
        (made / "index.md").read_text(encoding="utf-8"),
    ]
    for text in pages:
        assert HOLDS in text
        assert LOST in text
        for dataset in ("MNIST", "CINIC-10"):
            assert f"improved beats base on {dataset}: not measured, " in text
        assert f"{title}, MNIST: caelab study table2 {words}\n" in text
        assert f"{title}, CINIC-10: caelab study table2 {words}{large}\n" in text
        assert text.index(HOLDS) < text.index(LOST)


def test_the_page_says_what_made_it(made, runs):
    text = (made / "index.md").read_text(encoding="utf-8")
    assert f"Written by `caelab report {runs} {' '.join(COMMAND)} --out {made}`." in text
    versions = "torch 2.11.0, caelab 0.1.0, 32-true"
    assert f"\n- 6 runs: cpu, 2 threads, {versions}, fused\n- 1 run: cpu, 1 thread, {versions}\n" in text


def test_a_second_report_replaces_the_first(command, made, runs, tmp_path):
    out, bare = tmp_path / "report", tmp_path / "bare"
    shutil.copytree(made, out)
    shutil.copytree(runs, bare, ignore=shutil.ignore_patterns("*.npz"))  # records, as they are kept in git
    status, shown, _ = command(bare, "table2", "--seeds", 1, "--out", out)
    assert status == 0
    assert files(out) == files(made)
    assert [name for name in files(out) if (out / name).read_bytes() == (made / name).read_bytes()] == [
        f"figures/table2-cifar10-images.{ending}"
        for ending in ("pdf", "png")  # for which there is nothing to draw from
    ]
    assert "of the lowest seed; drawn by an earlier report<" in (out / "index.html").read_text(
        encoding="utf-8"
    )
    verdict = "improved beats base on CIFAR-10: undecided, +1.90 dB (1 seed: no verdict)."
    assert verdict in shown
    assert f"- ? **undecided**: {verdict}\n" in (out / "index.md").read_text(encoding="utf-8")
    assert HOLDS not in (out / "index.md").read_text(encoding="utf-8")
    assert shown[-3:] == ["  report/index.html", "  report/index.md", "next: open report/index.html"]


def test_the_screen_shows_the_table_and_the_verdicts(command, runs):
    # --out between the words, as people type it; the folder is made
    status, shown, _ = command("table2", "--out", "new/report", runs)
    assert status == 0
    assert shown.index(HOLDS) < shown.index(LOST)
    assert shown[-3:-1] == ["  new/report/index.html", "  new/report/index.md"]
    rows = [line.split("│")[1].strip() for line in shown if line.startswith("│")]
    assert [row for row in rows if row in PSNR] == ["PCA 256", "improved", "base"]
    assert "3 rows not run" in [line.strip() for line in shown]


@pytest.mark.slow
def test_what_a_report_costs_does_not_grow_with_the_square_of_its_runs(tmp_path, runs, monkeypatch):
    """Each record is read once; figures and pages hold the best 40 rows, the CSV all."""
    record = json.loads((runs / "base-0" / RECORD).read_text())
    for number in range(60):
        path = tmp_path / "many" / str(number)
        shutil.copytree(runs / "base-0", path)
        config = record["config"] | {"optimizer": record["config"]["optimizer"] | {"lr": (number + 1) / 1000}}
        metrics = record["metrics"] | {"val/psnr": 20 + number / 10, "test/psnr": 30 - number / 10}
        own = {"fingerprint": str(number), "choices": record["choices"] | {"dataset": "own"}, "sweep": None}
        (path / RECORD).write_text(json.dumps(record | own | {"config": config, "metrics": metrics}))
    calls = Counter()

    def counted(module, name):
        call = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, **keys: calls.update([name]) or call(*args, **keys))

    for module, name in ((records, "load"), (pictures, "_read"), (figures, "save"), (tables, "groups")):
        counted(module, name)
    report(asked([str(tmp_path / "many")]), tmp_path / "report")
    assert calls == {"load": 60, "_read": 40, "save": 4}
    with (tmp_path / "report/tables/runs-own.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 60
    page = (tmp_path / "report/index.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| optimizer\.lr=(\S+) ", page, re.MULTILINE)
    assert shown == [str((number + 1) / 1000) for number in range(59, 19, -1)]
    assert "Runs, best 40 of 60 rows, own" in page
    assert "Verdicts" not in page


def test_without_a_study_the_report_is_of_what_has_runs(command, runs, tmp_path):
    """Runs of a study's sweep are that study's; others stand by themselves, wherever they lie."""
    mixed = tmp_path / "mixed"
    shutil.copytree(runs, mixed / "a")
    for path in mixed.glob("a/improved*/result.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"sweep": "table2-full"}))
    own = json.loads((runs / "base-0" / RECORD).read_text())
    (mixed / "own").mkdir()
    changed = own["config"] | {"optimizer": own["config"]["optimizer"] | {"lr": 0.5}}
    (mixed / "own" / RECORD).write_text(json.dumps(own | {"fingerprint": "own", "config": changed}))
    variants = {one.label: one for one in studies.load("table2").variants("cifar10", lambda trial: None)}
    leave(mixed / "fifth", variants["base"], 4, sweep="table2-full")
    status, shown, said = command(mixed)
    assert (
        "study=table2: finished runs with seeds beyond its 3: 1; --seeds 5 takes them into its rows"
        in "\n".join(said)
    )
    text = (tmp_path / "report/index.md").read_text(encoding="utf-8")
    assert status == 0
    assert re.findall("^## (.*)", text, re.MULTILINE) == [
        "Verdicts",
        "Table II: three architectures, CIFAR-10",
        "Other runs, CIFAR-10",
        "How to read this",
    ]
    assert HOLDS in shown
    assert "not measured" not in text.lower()
    assert not any("not measured" in line or "rows not run" in line for line in shown)
    rows = re.findall(r"^\| (\w[^|]*) \|", text, re.MULTILINE)
    assert [row for row in rows if row != "variant"][-5:] == [
        "improved",
        "improved_skip",
        "PCA 256",
        "optimizer.lr=0.001",  # the fifth seed
        "optimizer.lr=0.5",
    ]
    # a picture of other loose runs, of which an earlier report was
    (tmp_path / "two" / "figures").mkdir(parents=True)
    shutil.copy(next(tmp_path.glob("report/figures/*-psnr.png")), "two/figures/runs-cifar10-paths.png")
    command(runs / "base-0", runs / "base-1", "--out", "two")
    assert "drawn by an earlier report" not in (tmp_path / "two/index.html").read_text(encoding="utf-8")
    two = (tmp_path / "two/index.md").read_text(encoding="utf-8")
    assert re.findall("^## (.*)", two, re.MULTILINE) == ["Runs, CIFAR-10", "How to read this"]
    assert "\n| base | 2 |" in two


def test_a_command_names_every_folder_that_it_needs():
    assert Asked([Path("multirun"), Path("old")], [], []).command("report") == "caelab report multirun old"
    assert Asked([Path("multirun")], ["table2"], []).command("report") == "caelab report table2"


@pytest.mark.parametrize("name", ["index.md", "index.html"])
def test_a_page_that_is_no_report_is_not_replaced(command, runs, tmp_path, name):
    (tmp_path / name).write_text("My notes on caelab report")
    line = f"caelab: {name} is not a report and would be overwritten; give another --out"
    assert command(runs, "--out", ".") == (1, [], [line])
    assert files(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "My notes on caelab report"


def test_a_folder_may_have_a_name_like_a_setting(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("multirun/lr=0.1").mkdir(parents=True)
    found = asked(["multirun/lr=0.1", "model.latent=8"])
    assert (found.roots, found.overrides) == ([Path("multirun/lr=0.1")], ["model.latent=8"])


MISTAKES = {
    "nowhere": "nowhere: there is no such folder or study; give folders with runs, such as multirun",
    "": "multirun: there is no such folder; give folders with runs, such as multirun",
    "empty": "empty: there is no run in it",
    "FAILED": "FAILED: 1 run, none finished; caelab runs FAILED --failed says what went wrong",
    "FAILED table2": "FAILED: 1 run, none finished; caelab runs FAILED --failed says what went wrong",
    "RUNS model=improved": (
        "model=improved: KEY=VALUE chooses runs of studies only; for other runs, give folders"
    ),
    "RUNS tabel2": "tabel2: there is no such folder or study; did you mean 'table2'?",
    "RUNS table2 --budget quik": "budget=quik: there is no such budget; did you mean 'quick'?",
    "RUNS table2 --budget quick": (
        "RUNS: 8 runs, but none with --budget quick and these words; give the report the same words as "
        "the training"
    ),
    "RUNS beyond": (  # which shares a floor with table2
        "RUNS: 8 runs, but none with --budget full and these words; give the report the same words as "
        "the training"
    ),
    "RUNS table2 --seeds abc": "seeds=abc: must be a whole number, 1 or more",
    "RUNS table2 --seeds 0": "seeds=0: must be a whole number, 1 or more",
    "RUNS table2 --seeds ²": "seeds=²: must be a whole number, 1 or more",
    "RUNS study=table2": "study=table2: give the name of a study alone, as in table2",
    "RUNS table2 budget=quick": "budget=quick: an option; write --budget quick",
    "RUNS table2 seed=3": "seed=3: study=table2 varies this key; --seeds N sets how many",
    "RUNS table2 dataset=cifar": "dataset=cifar: there is no such dataset; did you mean 'cifar10'?",
}


@pytest.mark.parametrize(("words", "line"), MISTAKES.items())
def test_a_mistake_is_one_line_and_writes_nothing(command, runs, tmp_path, words, line):
    (tmp_path / "empty").mkdir()

    def placed(text):
        return text.replace("RUNS", str(runs)).replace("FAILED", str(runs / "failed"))

    answer = command(*placed(words).split())
    assert answer == (1, [], [f"caelab: {placed(line)}"])
    assert files(tmp_path) == []
    assert not (tmp_path / "report").exists()
