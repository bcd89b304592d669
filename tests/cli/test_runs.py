"""caelab runs: what it finds on disk, picks, orders, sums up and prints, and how mistakes are told."""

import csv
import json
import random
import re
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import toys

from caelab.cli import runs
from caelab.metrics.measures import measures
from caelab.runs import query, records
from caelab.runs.analyses import columns
from caelab.runs.columns import COLUMNS
from caelab.runs.database import load

ADAM = {"_target_": "torch.optim.Adam", "lr": 1e-3}
SGD = {"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": 0.9}


def record(
    model="base", seed=0, psnr=20.0, dataset="mnist", ssim=0.5, optimizer=ADAM, overrides=(), **settings
):
    return {
        "schema": 1,
        "fingerprint": f"{seed:064x}",
        "status": "finished",
        "started": "2026-02-03T04:05:06+00:00",
        "finished": "2026-02-03T05:00:00+00:00",
        "overrides": list(overrides),
        "choices": {
            "model": model,
            "loss": "mse",
            "optimizer": optimizer["_target_"].rpartition(".")[2].lower(),
            "dataset": dataset,
        },
        "config": {
            "model": {"latent": 8, **settings},
            "dataset": {},
            "optimizer": optimizer,
            "seed": seed,
            "budget": "full",
        },
        "seed": seed,
        "metrics": {
            "test/psnr": psnr,
            "test/psnr_pooled": psnr - 1,
            "test/ssim": ssim,
            "test/mse": 0.01,
            "test/l1": 0.07,
            "test/latent_reliance": 0.125,
            "published/psnr": psnr + 1,
            "published/ssim": ssim / 2,
            "val/psnr": psnr + 2,
        },
        "best_epoch": 2,
        "size": {
            "parameters": 1234,
            "latent": 8,
            "effective_code": 9,
            "flops_per_image": 5678,
            "input_numbers": 784,
        },
        "time": {"fit_seconds": 3.25, "test_seconds": 1.5, "epochs": 3, "images_per_second": 96.5},
        "data": {"name": dataset, "sha256": "d66d", "shape": [1, 28, 28], "train": 40, "val": 5, "test": 30},
        "environment": toys.record()["environment"] | {"commit": "abc"},
        "artifacts": {},
    }


def failed(error="no luck", **changes):
    known = {
        k: v
        for k, v in record(**changes).items()
        if k not in ("metrics", "best_epoch", "size", "time", "data", "environment")
    }
    return known | {"status": "failed", "error": error}


def write(folder: Path, **made: dict[str, Any]) -> None:
    for name, found in made.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "result.json").write_text(json.dumps(found, indent=2))


@dataclass
class Said:
    status: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, str]]:
        return list(csv.DictReader(self.out.splitlines()))

    def column(self, name: str) -> list[str]:
        return [row[name] for row in self.rows]


@pytest.fixture
def multirun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    records.left_out.cache_clear()  # which tells a file of one name once
    return tmp_path / "multirun"


@pytest.fixture
def call(multirun: Path, lab: Callable[..., tuple[int, str, str]]) -> Callable[..., Said]:
    """Call the command line in this process, with CSV unless a format is named."""

    def call(*arguments: str) -> Said:
        form = () if "--format" in arguments else ("--format", "csv")
        return Said(*lab("runs", *arguments, *form))

    return call


def test_finished_runs_best_on_validation_first(multirun, call):
    made = {"a": record(psnr=20.0), "b": record(psnr=22.0), "c": failed(), "d": record(psnr=21.0)}
    for name, validation in (("a", 23.0), ("b", 24.5), ("d", 25.0)):
        made[name]["metrics"]["val/psnr"] = validation
    write(multirun / "runs", **made)
    said = call()
    assert said.column("run") == ["multirun/runs/d", "multirun/runs/b", "multirun/runs/a"]
    assert said.column("psnr") == ["21.0", "22.0", "20.0"]
    assert (said.status, said.err) == (0, "")


def test_every_column_holds_what_the_record_says(multirun, call):
    found = record("improved", seed=3, psnr=20.5, ssim=0.75, overrides=["model=improved", "seed=3"])
    found["metrics"] |= {"test/gmsd": 0.0625, "val/gmsd": 0.03125}
    found["config"]["select"] = "val/gmsd"
    write(multirun, x=found)
    (row,) = call("--columns", ",".join(COLUMNS)).rows
    assert row == {
        "run": "multirun/x",
        "status": "finished",
        "dataset": "mnist",
        "model": "improved",
        "loss": "mse",
        "optimizer": "adam",
        "seed": "3",
        "psnr": "20.5",
        "psnr_pooled": "19.5",
        "ssim": "0.75",
        "mse": "0.01",
        "l1": "0.07",
        **(dict.fromkeys(measures(), "") | {"gmsd": "0.0625"}),
        "published_psnr": "21.5",
        "published_ssim": "0.375",
        "val_psnr": "22.5",
        "val_ssim": "",
        "chosen_by": "val/gmsd",
        **(dict.fromkeys((f"val_{name}" for name in measures()), "") | {"val_gmsd": "0.03125"}),
        "parameters": "1234",
        "latent": "8",
        "effective_code": "9",
        "bits": "",
        "coded_bits": "",
        "usage": "",
        "perplexity": "",
        "active_numbers": "",
        "latent_reliance": "0.125",
        "flops": "5678",
        "epochs": "3",
        "best_epoch": "2",
        "seconds": "4.75",
        "images_per_second": "96.5",
        "train_images": "40",
        "test_images": "30",
        "data_sha256": "d66d",
        "started": "2026-02-03 04:05:06",
        "finished": "2026-02-03 05:00:00",
        "error": "",
        "fingerprint": "0" * 63 + "3",
        "overrides": "model=improved seed=3",
        "commit": "abc",
        "own_code": "",
        "device": "cpu",
        "size": str((multirun / "x" / "result.json").stat().st_size / 1e6),
    }


def test_a_run_is_named_by_its_commit_or_else_by_the_digest_of_its_code(multirun, call):
    def made(**environment):
        return record() | {"environment": toys.record()["environment"] | environment}

    code = {"code": "0123456789abcdef"}
    write(multirun, a=made(commit="abc", **code), b=made(**code), c=made(commit=None, **code), d=made())
    found = call("--columns", "run,commit", "--sort", "run")
    assert found.column("commit") == ["abc", "code:0123456789", "code:0123456789", ""]


def test_changed_own_code_can_be_a_group_of_its_own(multirun, call):
    made = {
        name: record(seed=seed, psnr=psnr) | {"sources": {"own.Net": text}}
        for name, seed, psnr, text in (("a", 0, 20.0, "old"), ("b", 0, 22.0, "new"), ("c", 1, 24.0, "new"))
    }
    write(multirun, **made)
    found = call("--group", "model,own_code")
    assert (found.column("runs"), found.column("psnr")) == (["2", "1"], ["23.0", "20.0"])


def test_trials_are_shown_where_they_are_asked_for(multirun, call):
    trial = record(seed=1) | {"status": "trial", "metrics": {"val/psnr": 30.0}}
    write(multirun, a=record(), b=trial)
    assert call("--columns", "run").column("run") == ["multirun/a"]
    asked = call("--where", "status = 'trial'", "--columns", "run,status,val_psnr,psnr,latent_reliance")
    assert asked.rows == [
        {"run": "multirun/b", "status": "trial", "val_psnr": "30.0", "psnr": "", "latent_reliance": ""}
    ]
    assert call("multirun/b").err.strip().endswith("and 1 are trials (--where \"status = 'trial'\")")
    assert call("--group", "dataset").column("runs") == ["1"]


def test_older_records_have_the_latent_reliance_of_models_without_skips(multirun, call):
    old = record()
    del old["metrics"]["test/latent_reliance"]
    honest = old | {"size": old["size"] | {"effective_code": 8}}
    write(multirun, a=old, b=honest, c=record())
    found = call("--columns", "run,latent_reliance", "--sort", "run")
    assert found.column("latent_reliance") == ["", "1.0", "0.125"]


def test_conditions_agree_with_a_loop_over_the_records(multirun):
    dice = random.Random(0)
    records = {
        f"r{i}": record(
            dice.choice(["base", "improved"]),
            seed=i,
            psnr=dice.uniform(20, 30),
            optimizer=dice.choice([ADAM, SGD]),
            kernel_size=dice.choice([3, 5]),
        )
        for i in range(200)
    }
    write(multirun, **records)
    table = load([multirun])

    def agree(where: str, holds: Callable[[dict[str, Any]], bool]) -> None:
        wanted = sorted(f"multirun/{name}" for name, found in records.items() if holds(found))
        assert wanted
        assert [run for (run,) in query.select(table, where, ["run"], ["run"]).rows] == wanted

    agree(
        "psnr > 26 and model = 'improved'",
        lambda r: r["metrics"]["test/psnr"] > 26 and r["choices"]["model"] == "improved",
    )
    agree("optimizer.lr > 1e-2", lambda r: r["config"]["optimizer"]["lr"] > 1e-2)
    agree('"optimizer.lr" > 1e-2', lambda r: r["config"]["optimizer"]["lr"] > 1e-2)
    agree("optimizer.momentum is null", lambda r: "momentum" not in r["config"]["optimizer"])
    agree("optimizer.momentum = 0.9", lambda r: "momentum" in r["config"]["optimizer"])
    agree(
        "model.kernel_size - 4 < 0 and seed < 50",
        lambda r: r["config"]["model"]["kernel_size"] == 3 and r["seed"] < 50,
    )
    agree("model != 'optimizer.lr' and model.upper() = 'BASE'", lambda r: r["choices"]["model"] == "base")
    agree("started < '2026-02-04' and budget = 'full' -- all", lambda r: True)
    best = max(found["metrics"]["test/psnr"] for found in records.values())
    agree("psnr = (select max(psnr) from runs)", lambda r: r["metrics"]["test/psnr"] == best)


def test_settings_have_the_kind_of_their_values(multirun):
    write(
        multirun,
        a=record(psnr=3, activation="ReLU", width=1, slope=None, hidden=[1, 2], bias=True),
        b=record(psnr=2, activation="Tanh", width=0.5, slope=0.2, hidden=[], bias=False),
        c=record(psnr=1, width="auto", slope=-1),
    )
    columns = [f"model.{key}" for key in ("latent", "activation", "slope", "hidden", "bias", "width")]
    assert query.select(load([multirun]), columns=columns).rows == [
        (8, "ReLU", None, "[1,2]", True, "1"),
        (8, "Tanh", 0.2, "[]", False, "0.5"),
        (8, None, -1.0, None, None, "auto"),
    ]


def test_a_path_that_is_no_text_is_shown_as_far_as_it_is(multirun, call):
    write(multirun, a=record(folder="f\udcff"), b=failed("f\udcff: there is no such folder"))
    said = call("--failed", "--columns", "error,model.folder")
    assert (said.status, said.rows) == (
        0,
        [
            {"error": "", "model.folder": "f?"},
            {"error": "f?: there is no such folder", "model.folder": ""},
        ],
    )


def test_failed_runs_only_where_asked_for(multirun, call):
    write(multirun, a=record(psnr=20.0), b=failed("disk full"), c=failed("no GPU", model="improved"))
    assert call().column("run") == ["multirun/a"]
    said = call("--failed")
    assert said.column("run") == ["multirun/a", "multirun/b", "multirun/c"]
    assert said.column("error") == ["", "disk full", "no GPU"]
    assert call("--where", "model = 'improved'", "--failed").column("error") == ["no GPU"]
    assert call("--where", "status = 'failed'").column("run") == ["multirun/b", "multirun/c"]
    assert call("--where", "error like '%GPU'").column("run") == ["multirun/c"]


def test_sort_and_limit(multirun, call):
    write(
        multirun,
        a=record(psnr=20.0, seed=1),
        b=record(psnr=21.0, seed=0),
        c=record(psnr=21.0, seed=1),
        d=record(psnr=20.0, seed=0, optimizer=SGD),
    )

    def order(*arguments: str) -> str:
        return "".join(Path(run).name for run in call(*arguments).column("run"))

    assert order() == "bcad"
    assert order("--sort", "psnr") == "adbc"
    assert order("--sort", "-psnr,-seed") == "cbad"
    assert order("--sort=seed,psnr") == "dbac"
    assert order("--sort", "-optimizer.momentum", "--limit", "2") == "da"


def test_groups_agree_with_statistics(multirun, call):
    figures = {"base": [20.0, 21.5, 22.25], "improved": [25.0, 24.0], "pca": [19.0]}
    records = {
        f"{model}{seed}": record(model, seed, psnr, ssim=psnr / 40)
        for model, values in figures.items()
        for seed, psnr in enumerate(values)
    }
    write(multirun, **records, x=failed(model="base"))
    rows = call("--group", "model,optimizer").rows
    assert [row["model"] for row in rows] == ["improved", "base", "pca"]
    for row in rows:
        values = figures[row["model"]]
        assert row["optimizer"] == "adam"
        assert int(row["runs"]) == len(values)
        assert float(row["psnr"]) == pytest.approx(statistics.fmean(values), rel=1e-12)
        assert float(row["ssim"]) == pytest.approx(statistics.fmean(values) / 40, rel=1e-12)
        assert float(row["seconds"]) == 4.75
        if len(values) > 1:
            assert float(row["psnr_sd"]) == pytest.approx(statistics.stdev(values), rel=1e-12)
            assert float(row["ssim_sd"]) == pytest.approx(statistics.stdev(values) / 40, rel=1e-12)
    assert (rows[2]["psnr_sd"], rows[2]["ssim_sd"]) == ("", "")
    chosen = call("--group", "model", "--where", "seed > 0", "--sort", "runs,model", "--limit", "1").rows
    assert [(row["model"], row["runs"], row["psnr"]) for row in chosen] == [("improved", "1", "24.0")]


def test_groups_by_a_setting(multirun, call):
    write(multirun, a=record(psnr=20.0), b=record(psnr=22.0), c=record(psnr=23.0, optimizer=SGD))
    rows = call("--group", "optimizer.momentum").rows
    assert [(row["optimizer.momentum"], row["psnr"]) for row in rows] == [("0.9", "23.0"), ("", "21.0")]


def test_a_group_over_several_datasets_is_remarked(multirun, call):
    write(multirun, a=record(dataset="mnist"), b=record(dataset="cifar10"))
    assert "several datasets" in call("--group", "model").err
    assert call("--group", "dataset,model").err == ""


def test_runs_on_other_test_images_are_remarked(multirun, call):
    few, all_of_them = record(), record(seed=1)
    few["data"] = few["data"] | {"test": 3}
    few["config"]["dataset"] = {"classes": [0]}
    write(multirun, few=few, all=all_of_them)
    assert "different test images, whose figures cannot be compared" in call().err
    assert "different test images, whose figures cannot be compared" in call("--group", "model").err
    assert call("--group", "model,test_images").err == ""
    assert call("--where", "test_images = 30").err == ""
    assert call("--columns", "run,test_images").column("test_images") == ["30", "3"]


def test_drawn_test_images_are_those_of_their_settings(multirun, call):
    runs = {}
    for size in (100, 200):
        runs[f"n{size}"] = record(seed=size)
        runs[f"n{size}"]["data"] |= {"train": size, "test": 30, "sha256": f"of {size}"}
        runs[f"n{size}"]["config"]["dataset"] = {"test_size": 30, "train_size": size}
    write(multirun, **runs)
    assert call().err == ""


FOUND = query.Found(
    ["model", "psnr", "psnr_sd", "parameters", "optimizer.lr", "error"],
    [
        ("improved_skip", 32.456789, None, 1234567, 1e-05, "50% of $x & {y}|\n~^\\<#"),
        ("base", -0.5, 0.125, 10, 0.1, None),
    ],
)


def shown(form: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    runs._FORMATS[form](FOUND)
    return capsys.readouterr().out.splitlines()


def test_table(capsys):
    assert shown("table", capsys) == [
        "model           psnr  psnr_sd  parameters  optimizer.lr  error",
        "-------------  -----  -------  ----------  ------------  ----------------------",
        r"improved_skip  32.46        -   1,234,567         1e-05  50% of $x & {y}| ~^\<#",
        "base           -0.50     0.12          10           0.1  -",
    ]


def test_csv_and_json_keep_every_digit(capsys):
    rows = list(csv.reader("\n".join(shown("csv", capsys)).splitlines(keepends=True)))
    assert rows[0] == FOUND.columns
    assert rows[1] == ["improved_skip", "32.456789", "", "1234567", "1e-05", FOUND.rows[0][-1]]
    assert [tuple(json.loads(line).values()) for line in shown("json", capsys)] == FOUND.rows
    assert list(json.loads(shown("json", capsys)[0])) == FOUND.columns


def test_json_dates(multirun, call):
    write(multirun, a=record())
    (line,) = call("--columns", "started,latent", "--format", "json").out.splitlines()
    assert json.loads(line) == {"started": "2026-02-03 04:05:06", "latent": 8}


def test_latex(capsys):
    assert shown("latex", capsys) == [
        r"\begin{tabular}{lrrrrl}",
        r"\toprule",
        r"model & psnr & psnr\_sd & parameters & optimizer.lr & error \\",
        r"\midrule",
        r"improved\_skip & 32.46 & - & 1,234,567 & 1e-05 & 50\% of \$x \& \{y\}\textbar{} "
        r"\textasciitilde{}\textasciicircum{}\textbackslash{}\textless{}\# \\",
        r"base & -0.50 & 0.12 & 10 & 0.1 & - \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_markdown(capsys):
    lines = shown("markdown", capsys)
    assert lines == [
        "| model | psnr | psnr_sd | parameters | optimizer.lr | error |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
        r"| improved_skip | 32.46 | - | 1,234,567 | 1e-05 | 50% of \$x & {y}\| \~^\\<# |",
        "| base | -0.50 | 0.12 | 10 | 0.1 | - |",
    ]
    assert {len(re.split(r"(?<!\\)\|", line)) for line in lines} == {8}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--where", "psrn > 3"], "no column 'psrn' (text takes single quotes); did you mean 'psnr'?"),
        (["--where", 'model = "basis"'], "no column 'basis' (text takes single quotes)"),
        (
            ["--where", "optimizer.lt > 3"],
            "no column 'optimizer.lt' (text takes single quotes); did you mean 'optimizer.lr'?",
        ),
        (
            ["--where", "modell.latent > 3"],
            "no column 'modell.latent' (text takes single quotes); did you mean 'model.latent'?",
        ),
        (["--where", "psnr > 3 andd seed"], '--where: Parser Error: syntax error at or near "seed"'),
        (["--where", "psnr > 3; drop table records"], "--where: Parser Error: Expected a single SELECT"),
        (["--where", "model > 3"], "--where: Binder Error: Cannot compare values of type VARCHAR"),
        (["--where", "model::int > 3"], "--where: Conversion Error"),
        (["--where", "psnr > 99"], "no such run among 2, of which 1 failed"),
        (["--sort", "-psrn"], "--sort: there is no column 'psrn'; did you mean 'psnr'?"),
        (
            ["--columns", "run,optimizer.lt"],
            "--columns: there is no column 'optimizer.lt'; did you mean 'optimizer.lr'?",
        ),
        (["--group", "modle"], "--group: there is no column 'modle'; did you mean 'model'?"),
        (["--group", "model", "--sort", "seed"], "--sort: there is no column 'seed'; known: model, psnr"),
        (["--group", "model", "--where", "psrn > 3"], "did you mean 'psnr'?"),
        (["--group", "model", "--failed"], "--group: has its own columns"),
        (
            ["--clean", "--where", "psnr > 3", "--delete"],
            "--clean: does not choose runs; omit --where, --format, --delete",
        ),
        (["--delete", "--yes", "--columns", "run"], "--delete: has its own columns; omit --columns"),
        (["--format", "mardown"], "--format mardown: there is no such format; did you mean 'markdown'?"),
        (["--limit", "0"], "--limit 0: must be at least 1"),
        (["nowhere"], "nowhere: no such folder"),
        (["empty"], "empty: no run below"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, said, multirun, call):
    write(multirun, a=record(), b=failed())
    Path("empty").mkdir()
    answer = call(*arguments)
    assert answer.status == 1
    assert answer.out == ""
    assert said in answer.err
    assert answer.err.startswith("caelab: ")
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize("source", ["read_text('{}')", "'{}'", "read_csv('{}')", "glob('{}')"])
def test_a_condition_reaches_no_file(source, multirun, call):
    write(multirun, a=record())
    secret = multirun / "secret.csv"
    secret.write_text("key\n1\n")
    answer = call("--where", f"(select count(*) from {source.format(secret)}) > 0")
    assert (answer.status, answer.out) == (1, "")
    assert "file system operations are disabled" in answer.err


def test_damaged_records_are_named_and_left_out(multirun, call):
    write(multirun, good=record(), other={"schema": 2}, text=["no", "record"])
    for name, content in {"half": b'{"schema": 1,', "bytes": b"\xff\xfe", "nothing": b""}.items():
        (multirun / name).mkdir()
        (multirun / name / "result.json").write_bytes(content)
    answer = call()
    assert answer.status == 0
    assert answer.column("run") == ["multirun/good"]
    assert answer.err.splitlines() == [
        f"multirun/{name}/result.json is not a readable run record ({reason}); left out"
        for name, reason in (
            ("bytes", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
            ("half", "Expecting property name enclosed in double quotes: line 1 column 14 (char 13)"),
            ("nothing", "Expecting value: line 1 column 1 (char 0)"),
            ("other", "schema 2, this caelab reads 1"),
            ("text", "no JSON object"),
        )
    ]


def test_only_damaged_records_are_no_runs(multirun, call):
    write(multirun, other={"schema": 2})
    answer = call()
    assert answer.status == 1
    assert answer.err.splitlines()[1:] == [
        "caelab: multirun: no run below; give a folder that caelab train wrote to"
    ]


def test_folders(multirun, call):
    """Records set aside are left out, overlapping folders counted once, options may stand between folders."""
    write(multirun / "x", a=record(psnr=20.0), b=record(psnr=21.0))
    write(multirun / "x" / "a", previous=record(psnr=30.0))
    write(multirun.parent / "odd [1] *", c=record(psnr=22.0))
    every = ["odd [1] */c", "multirun/x/b", "multirun/x/a"]
    assert call("multirun/x", "--sort", "-psnr", "odd [1] *", str(multirun)).column("run") == every
    assert call(".").column("run") == every
    assert call("multirun/x/a").column("run") == ["multirun/x/a"]


def test_dates_compare_as_dates(multirun, call):
    today = datetime.now(UTC).isoformat(timespec="seconds")
    write(multirun, old=record(), new=record() | {"started": today})
    assert call("--where", "started > current_date - 7").column("run") == ["multirun/new"]


def test_without_duckdb_one_line_says_what_to_install(multirun, monkeypatch, command):
    write(multirun, a=record())
    monkeypatch.setitem(sys.modules, "duckdb", None)
    status, _, lines = command()
    assert status == 1
    assert lines == ["caelab: caelab runs: duckdb is not installed; pip install 'caelab[runs]'"]


def test_help_stays_light():
    code = (
        "import sys; sys.argv = ['caelab', 'runs', '--help']\n"
        "from caelab.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'duckdb', 'pandas', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *lines, heavy = done.stdout.splitlines()
    assert heavy == "[]"
    listed = {line.split()[0] for line in lines[lines.index("  Columns:") + 1 :]}
    assert listed == set(columns())


def test_a_reader_that_has_seen_enough(multirun):
    write(multirun, **{f"r{i}": record(overrides=["x" * 100_000]) for i in range(3)})
    command = [sys.executable, "-m", "caelab", "runs", "--columns", "overrides", "--format", "csv"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"overrides\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


def test_clean_removes_what_nobody_needs_and_says_it(tmp_path, monkeypatch, command):
    monkeypatch.setenv("CAELAB_DATA", str(tmp_path / "data"))
    board, cache = tmp_path / "multirun/.sweep-old", tmp_path / "data/folder/0123456789abcdef/cache"
    for folder in (board, cache):
        folder.mkdir(parents=True)
    origin = json.dumps({"target": "caelab.data.folder.Folder", "folder": "/gone", "contents": "0"})
    (cache.parent / "origin.json").write_text(origin)
    (cache / "images.npy").write_bytes(bytes(1234 - len(origin)))
    status, out, _ = command("--clean", tmp_path / "multirun")
    assert (status, board.exists(), cache.parent.exists()) == (0, False, False)
    assert "files of a sweep that has ended" in out
    assert "1,234 bytes, cached from a folder of pictures that is gone or has changed" in out
    assert "2 cleared" in out
    assert "nothing to clear" in command("--clean", tmp_path / "multirun")[1]
