"""The package as users install it: a wheel and an editable checkout, as a module and as a script."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib import import_module
from pathlib import Path

import pytest
from commands import leave_files

import caelab
from caelab.interactive.interactive import SCRIPTS

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    return build(ROOT, folder)


def test_the_wheel_holds_code_and_config_and_nothing_else(wheel):
    assert wheel.name.startswith(f"caelab-{caelab.__version__}-")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    configs = {f"caelab/{path.relative_to(ROOT)}" for path in (ROOT / "conf").rglob("*.yaml")}
    modules = {
        f"caelab/{path.relative_to(ROOT / 'src/caelab')}" for path in (ROOT / "src/caelab").rglob("*.py")
    }
    assert configs | modules <= names
    rest = {name for name in names - configs - modules if ".dist-info/" not in name}
    parts = ("page.html.j2", "page.md.j2", "page.js", "report.css")
    pages = {f"caelab/report/{name}" for name in parts} | {"caelab/export/card.md.j2"}
    pages |= {f"caelab/analysis/look/look.{ending}" for ending in ("html.j2", "js")}
    pages |= {
        f"caelab/plotting/{name}" for name in ("page.css", "plotly/plotly-basic.min.js", "plotly/LICENSE")
    }
    pages |= {f"caelab/analysis/rate/{name}.csv" for name in ("published", "published_numbers")}
    pages |= {"caelab/bench/pictures.js", "caelab/interactive/interactive.html.j2"}
    pages |= {f"caelab/interactive/{name}" for name in ("interactive.css", *SCRIPTS)}
    built = {"caelab/commit.json"} & names  # where ROOT is a checkout of git
    plugins = {f"hydra_plugins/caelab_{name}.py" for name in ("folders", "sweeper")}
    assert rest == {"caelab/py.typed"} | plugins | pages | built


def git(folder: Path, *words: str) -> str:
    own = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(["git", *own, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def build(source: Path, out: Path, kind: str = "--wheel") -> Path:
    command = [sys.executable, "-m", "build", kind, "--no-isolation", "--outdir", str(out), str(source)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (path,) = out.iterdir()
    return path


def commit_in(wheel: Path) -> dict | None:
    with zipfile.ZipFile(wheel) as archive:
        there = [name for name in archive.namelist() if name.endswith("commit.json")]
        assert there in ([], ["caelab/commit.json"])
        return json.loads(archive.read(there[0])) if there else None


@pytest.fixture
def checkout(tmp_path):
    """A small package that is built as ours is, in a folder of its own."""
    folder = tmp_path / "checkout"
    (folder / "src" / "caelab").mkdir(parents=True)
    (folder / "src" / "hydra_plugins").mkdir()
    (folder / "conf").mkdir()
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("src/hydra_plugins/x.py", "conf/train.yaml"):
        (folder / name).write_text("")
    (folder / "src/caelab/version.py").write_text('__version__ = "1.2"\n')
    return folder


def test_a_wheel_and_an_sdist_hold_the_commit_that_they_were_built_from(checkout, tmp_path):
    git(checkout, "init", "-q")
    git(checkout, "add", ".")
    git(checkout, "commit", "-qm", "x")
    said = {"commit": git(checkout, "rev-parse", "HEAD"), "dirty": False}
    assert commit_in(build(checkout, tmp_path / "wheel")) == said
    sdist = build(checkout, tmp_path / "sdist", "--sdist")
    shutil.unpack_archive(sdist, tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    git(tmp_path, "init", "-q")  # the checkout of somebody else, in which the sdist is unpacked
    assert commit_in(build(source, tmp_path / "again")) == said
    (checkout / "src" / "caelab" / "new.py").write_text("")  # which git does not know, and the wheel holds
    assert commit_in(build(checkout, tmp_path / "untracked")) == said | {"dirty": True}
    (checkout / "src" / "caelab" / "new.py").unlink()
    (checkout / "README.md").write_text("changed")
    assert commit_in(build(checkout, tmp_path / "dirty")) == said | {"dirty": True}


def test_what_is_built_outside_of_git_names_no_commit(checkout, tmp_path):
    assert commit_in(build(checkout, tmp_path / "wheel")) is None


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A venv with the wheel in it, which sees the dependencies of this one."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(command, check=True, capture_output=True)
    here = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "dependencies.pth").write_text(here + "\n")  # after the wheel, which therefore wins
    return folder


def make(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run make as a user would, whatever flags the make that runs the tests hands down."""
    alone = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    command = ["make", *arguments]
    return subprocess.run(command, cwd=cwd, env=alone, capture_output=True, text=True, check=False)


@pytest.fixture
def steps(tmp_path):
    """What make would do for a target, with its environment in a folder of the test's."""

    def steps(target: str) -> list[str]:
        done = make("-n", f"VENV={tmp_path}", "PYTHON=python3.x", target, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return steps


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_installs_no_more_than_a_target_needs(steps, tmp_path):
    pip = f"{tmp_path}/bin/python -m pip install --progress-bar on --editable"
    begin, lean, full = f"python3.x -m venv {tmp_path}", f"{pip} '.[runs]'", f"{pip} '.[dev]'"
    assert [step for step in steps("demo") if step in (begin, lean, full)] == [begin, lean]
    for target in ("test", "lint", "check"):
        assert [step for step in steps(target) if step in (begin, lean, full)] == [begin, lean, full]


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_adds_to_an_environment_and_makes_it_anew_with_pyproject(steps, tmp_path):
    def installs(target: str) -> list[str]:
        return [step for step in steps(target) if "install" in step or step.startswith("rm")]

    changed = (ROOT / "pyproject.toml").stat().st_mtime
    (tmp_path / ".ready").touch()
    assert installs("demo") == []
    assert len(installs("test")) == 1  # of what it needs besides
    (tmp_path / ".tools").touch()
    assert installs("demo") == installs("test") == []
    os.utime(tmp_path / ".ready", (changed - 1, changed - 1))
    assert installs("demo")[0] == f"rm -rf {tmp_path}"
    assert installs("test")[0] == f"rm -rf {tmp_path}"


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_clean_removes_an_environment_and_no_other_folder(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "pyvenv.cfg").touch()  # an environment of the user's own
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / ".caelab").touch()

    makefile = str(ROOT / "Makefile")
    assert make("-f", makefile, "clean", "VENV=made", cwd=tmp_path).returncode == 0
    refused = make("-f", makefile, "clean", "VENV=mine", cwd=tmp_path)
    assert refused.returncode != 0
    assert refused.stdout == "VENV=mine is no environment that make has made; it stays as it is\n"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_every_script_is_the_main_of_its_module():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for name, target in scripts.items():
        module, _, function = target.partition(":")
        assert module.removesuffix(".cli.main") == name.replace("caelab-", "caelab.")
        assert callable(getattr(import_module(module), function))


def test_the_citation_and_the_newest_changes_are_of_this_version():
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    newest = re.search(r"^## (\S+) \(", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert cited
    assert newest
    assert cited[1] == newest[1] == caelab.__version__


def config(command: list[str], folder: Path) -> str:
    done = subprocess.run([*command, "--cfg", "job"], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def test_module_and_script_find_conf_from_anywhere(installed, tmp_path):
    python = str(installed / "bin" / "python")
    (script,) = installed.rglob("bin/caelab-train")
    where = subprocess.run(
        [python, "-c", "import caelab.config as c; print(c.CONF)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert str(installed) in where.stdout
    commands = [
        [python, "-m", "caelab.train"],
        [python, str(script)],
        [sys.executable, "-m", "caelab.train"],
        [str(Path(sys.executable).parent / "caelab-train")],
    ]
    printed = [config(command, tmp_path) for command in commands]
    assert "_target_: caelab.models.improved.Improved" in printed[0]
    assert len(set(printed)) == 1


RECIPES = """
import shlex, sys
from pathlib import Path
from caelab.cli.main import main

for line in sys.stdin.read().splitlines():
    run = next((str(path.parent) for path in Path().rglob("result.json")), "")
    sys.argv = [run if word == "RUN" else word for word in shlex.split(line)]
    try:
        main()
    except SystemExit as end:
        if end.code:
            sys.exit(f"{line}: {end.code}")
"""
SMALL = "dataset.train_size=64 trainer.max_epochs=1 trainer.accelerator=cpu"


@pytest.mark.slow
def test_every_recipe_of_the_page_runs_where_only_the_wheel_is_installed(installed, tmp_path, environment):
    """Files are written and commands typed as docs/how/extend.md has them, on few images."""
    leave_files(tmp_path)
    page = (ROOT / "docs" / "how" / "extend.md").read_text()
    typed = re.findall(r"^caelab .*", page, re.MULTILINE)
    small = [f"{line} {SMALL}" if re.match("caelab (train|sweep|study) ", line) else line for line in typed]
    script = tmp_path / "elsewhere" / "recipes.py"  # whose folder Python imports from, as that of a command
    script.parent.mkdir()
    script.write_text(RECIPES)
    done = subprocess.run(
        [str(installed / "bin" / "python"), str(script)],
        input="\n".join(small),
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "hello, epoch 0" in done.stdout
    (bias,) = [json.loads(path.read_text()) for path in tmp_path.rglob("bias.json")]
    assert -1 < bias["figures"]["bias/mean"] < 1
    records = [json.loads(path.read_text()) for path in tmp_path.rglob("result.json")]
    assert len(records) == 6
    (whole,) = [one for one in records if "experiment=all_mine" in one["overrides"]]
    assert list(whole["sources"]) == [
        "dimmed.Dimmed",
        "halving.Halving",
        "signs.Signs",
        "stripes.Stripes",
        "wide.Wide",
    ]
    assert len(list(tmp_path.rglob("lines.txt"))) == 1
