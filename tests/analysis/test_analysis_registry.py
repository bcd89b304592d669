"""An analysis is declared in one place: its command, columns, files and studies follow from that."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import toys
import typer

import caelab.analysis
from caelab.cli import analyses as cli_analyses
from caelab.config import folders, installed
from caelab.errors import UserError
from caelab.runs import analyses as registry
from caelab.runs import database, previous, records, results
from caelab.runs.columns import COLUMNS
from caelab.runs.record import RECORD, save

NAMES = [
    "anomaly",
    "audit",
    "gradients",
    "look",
    "photos",
    "probe",
    "rate",
    "refine",
    "sample",
    "segment",
    "steps",
]


@pytest.fixture
def heft(tmp_path, monkeypatch):
    """A throwaway analysis in a folder of its own, which is found beside the lab's."""
    package = toys.leave_analysis(tmp_path / "packages" / "heft")
    monkeypatch.setattr(caelab.analysis, "__path__", [*caelab.analysis.__path__, str(package.parent)])
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    cli_analyses.add(app)
    monkeypatch.setattr("caelab.cli.main.app", app)
    yield registry.find("heft", "here")
    for name in [name for name in sys.modules if name.startswith("caelab.analysis.heft")]:
        del sys.modules[name]


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A working directory with options, and an analysis beside them; nothing is imported from there."""
    monkeypatch.setenv(folders.VARIABLE, "")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "model").mkdir(parents=True)
    yield toys.leave_analysis(tmp_path / "bulk")
    for name in [name for name in sys.modules if name.startswith(("bulk", "bulky"))]:
        del sys.modules[name]


def commands():
    """Names of the commands that there are now."""
    app = typer.Typer()
    cli_analyses.add(app)
    return [one.name for one in app.registered_commands]


def registered(site, name, value):
    """Leave what pip leaves of a package that registers an analysis."""
    about = site / f"{name}-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (about / "entry_points.txt").write_text(f"[caelab.analysis]\n{name} = {value}\n")


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "runs" / "one"
    path.mkdir(parents=True)
    save(path, toys.typed())
    return path


def test_each_package_is_an_analysis_of_its_name():
    known = registry.analyses()
    assert list(known) == NAMES
    for name, analysis in known.items():
        assert analysis.package == f"caelab.analysis.{name}"
        assert all(column.path.startswith(f"{name}/") for column in analysis.columns.values())
        assert analysis.question.endswith(("?", "."))


def test_no_two_columns_share_a_name():
    names = [name for one in registry.analyses().values() for name in one.columns]
    assert len({*names}) == len(names)
    assert not {*names} & {*COLUMNS}


def test_help_of_every_analysis_waits_for_nothing_heavy():
    code = f"""
import contextlib, sys
from caelab.cli.main import main
for name in {NAMES}:
    sys.argv = ["caelab", name, "--help"]
    with contextlib.suppress(SystemExit):
        main()
print(sorted({{"hydra", "matplotlib", "omegaconf", "sklearn", "torch"}} & set(sys.modules)))
"""
    out = subprocess.check_output([sys.executable, "-c", code], text=True)
    for name, analysis in registry.analyses().items():
        assert f"Usage: caelab {name} [OPTIONS]" in out
        assert f"caelab {name} {analysis.examples[0]}" in out
        assert all(f"--{option}" in out for option in analysis.options)
    assert out.count("--trust MODULE") == len(NAMES)
    assert out.endswith("[]\n")


def test_a_new_package_has_a_command(heft, run, lab):
    assert lab("heft", run, "--times", 2)[:2] == (
        0,
        f"one: 6.0 g\n0 s; {run / 'heft.png'}\nnext: caelab report {run.parent}\n",
    )
    spaced = run.parent / "of May" / "one"
    shutil.copytree(run, spaced)
    assert lab("heft", spaced)[1].endswith(f"\nnext: caelab report '{spaced.parent}'\n")
    written = json.loads((run / "heft.json").read_text())
    assert written.pop("seconds") >= 0
    tie = {key: toys.record()[key] for key in ("fingerprint", "finished")}
    assert written == {"schema": 1, **tie, "figures": {"heft/grams": 6.0}}
    status, out, _ = lab("heft", "--help")
    assert (status, "How heavy is the model?" in out, "how often (default 1)" in out) == (0, True, True)


def test_a_new_package_has_columns(heft, run):
    heft(run, times=4)
    rows = database.load([run.parent]).sql("SELECT run, grams FROM runs WHERE grams > 11").fetchall()
    assert rows == [(str(run), 12.0)]
    assert registry.columns()["grams"].meaning == "weight in g"
    record = results.read(run)
    save(run, replace(record, finished="2026-05-02T12:00:00+00:00"))  # trained anew
    assert database.load([run.parent]).sql("SELECT grams FROM runs").fetchall() == [(None,)]


def test_one_of_the_user_s_own_is_found_where_python_imports_from(outside, run, monkeypatch):
    assert commands() == NAMES
    assert cli_analyses.hint(["bulk", "RUN"]) == " bulk/ is an analysis: PYTHONPATH=. finds it."
    assert cli_analyses.hint(["bulg"]) == ""
    assert "bulk" not in sys.modules
    monkeypatch.syspath_prepend(outside.parent)
    assert commands() == sorted([*NAMES, "bulk"])
    assert registry.find("bulk", "after")(run)["figures"] == {"bulk/grams": 3.0}
    assert {"bulk.json", "bulk.png", "bulk-parts"} <= registry.files()
    assert database.columns()["grams"].meaning == "weight in g"


def test_what_an_installed_package_registers_is_an_analysis(outside, run, monkeypatch):
    site = outside.parent / "site"
    toys.leave_analysis(site / "bulky" / "girth")
    (site / "bulky" / "__init__.py").write_text("")
    registered(site, "bulky", "bulky.girth")
    monkeypatch.syspath_prepend(site)
    assert commands() == sorted([*NAMES, "girth"])
    assert registry.find("girth", "after")(run, times=2)["figures"] == {"girth/grams": 6.0}
    registered(outside.parent, "bulk", "bulk")  # in the working directory it counts for nothing
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert [point.module for point in installed.points(registry.ENTRY_POINTS)] == ["bulky.girth"]


def test_one_that_is_broken_or_whose_name_is_taken_is_left_out_and_named(outside, monkeypatch, capfd):
    site = outside.parent / "site"
    for name in ("audit", "broken"):
        toys.leave_analysis(site / f"bulky_{name}" / name)
        (site / f"bulky_{name}" / "__init__.py").write_text("")
        registered(site, f"bulky_{name}", f"bulky_{name}.{name}")
    (site / "bulky_broken" / "broken" / "__init__.py").write_text("import nothing_of_that_name\n")
    monkeypatch.syspath_prepend(site)
    assert commands() == NAMES
    assert sorted(capfd.readouterr().err.splitlines()) == [
        "the analysis in bulky_audit.audit is left out: there is an analysis audit already",
        "the analysis in bulky_broken.broken is left out: No module named 'nothing_of_that_name'",
    ]
    app = typer.Typer()
    app.command("look")(print)
    cli_analyses.add(app)
    assert "caelab.analysis.look gets no command: caelab look exists already" in capfd.readouterr().err


@pytest.mark.parametrize("name", sorted({*NAMES} - {"anomaly", "photos"}))  # which refuse this run before
def test_a_run_without_its_checkpoint_is_named(lab, tmp_path, name):
    best = toys.leave_run(tmp_path / "run") / "checkpoints" / "best.ckpt"
    best.unlink()
    status, _, err = lab(name, tmp_path / "run")
    assert status == 1
    assert err == f"caelab: {best} is missing; train the run again with force=true\n"


def test_after_force_no_file_of_any_analysis_survives(heft, run):
    leave_all(run)
    (run / "notes.txt").write_text("mine")
    previous.set_aside(run)
    assert {path.name for path in run.iterdir()} == {"notes.txt", "previous"}


def test_what_a_killed_analysis_left_goes_as_well(run):
    leave_all(run)
    for path in run.glob("*.json"):
        if path.name != RECORD:
            path.unlink()
    previous.set_aside(run)
    assert {path.name for path in run.iterdir()} == {"previous"}


def leave_all(run: Path) -> None:
    for analysis in registry.analyses().values():
        for name in analysis.files:
            (run / name).parent.mkdir(exist_ok=True)
            (run / name).write_text("old")
        results.write_analysis(run, analysis.name, toys.typed(), {"figures": {}})


def test_no_run_is_looked_for_in_what_an_analysis_left(heft, run):
    (run / "heft-parts").mkdir()
    save(run / "heft-parts", toys.typed())
    assert [path for path, _ in records.find(run.parent)] == [run]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"times": 0}, "--times 0: must be a whole number, at least 1"),
        ({"times": "many"}, "--times many: must be a whole number, at least 1"),
        ({"tims": 2}, "heft: no such option --tims; did you mean 'times'?"),
    ],
)
def test_mistakes_from_python_are_those_of_the_command(heft, run, options, line):
    with pytest.raises(UserError) as caught:
        heft(run, **options)
    assert str(caught.value) == line
    assert not (run / "heft.json").exists()


def test_a_mistake_in_one_run_stops_no_other(heft, run, lab, tmp_path):
    status, out, err = lab("heft", tmp_path / "nothing", run)
    assert (status, out.startswith("one: 3.0 g\n")) == (1, True)
    assert err == (
        f"caelab: {tmp_path}/nothing: no result.json there (no such directory); "
        "give the directory of a finished run\n"
    )
