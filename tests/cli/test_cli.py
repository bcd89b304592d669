"""The command ``caelab``: its help, its version, mistakes in its words, and what it leaves alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from toys import record

import caelab

COMMANDS = (
    "train",
    "sweep",
    "study",
    "report",
    "runs",
    "evaluate",
    "encode",
    "decode",
    "reconstruct",
    "export",
    "bench",
)


def test_help_lists_every_command_on_one_screen(lab):
    status, out, err = lab("--help")
    lines = out.splitlines()
    listed = [line.split()[0] for line in lines[lines.index("Commands:") + 1 :]]
    assert (status, err) == (0, "")
    assert set(COMMANDS) <= set(listed)
    assert len(lines) <= 40
    assert not any(line.endswith("...") for line in lines[lines.index("Commands:") :])


def test_help_and_mistakes_come_without_torch():
    code = (
        "import sys\n"
        "from caelab.cli.main import main\n"
        f"for name in {COMMANDS[2:]}:\n"
        "    sys.argv = ['caelab', name, '--help']\n"
        "    try: main()\n"
        "    except SystemExit as end: assert end.code == 0, name\n"
        "heavy = ('torch', 'lightning', 'hydra', 'omegaconf', 'duckdb', 'pandas')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_version(lab):
    assert lab("--version") == (0, f"caelab {caelab.__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["runz"], "caelab: No such command 'runz'. Did you mean 'runs'?\n"),
        (["runs", "--wher", "x"], "caelab: No such option: --wher (Possible options: --help, --where)\n"),
        (["evaluate"], "caelab: Missing argument 'RUN'.\n"),
    ],
)
def test_a_mistake_in_the_words_is_one_line(lab, words, line):
    assert lab(*words) == (2, "", line)


@pytest.mark.parametrize(("command", "flag"), [("train", []), ("sweep", ["-m"])])
def test_train_and_sweep_hand_their_words_over(lab, monkeypatch, command, flag):
    seen = []
    monkeypatch.setattr("caelab.train.main", lambda: seen.extend(sys.argv))
    assert lab(command, "model=base", "--cfg", "job")[0] == 0
    assert seen == ["caelab-train", *flag, "model=base", "--cfg", "job"]


def test_runs_are_deleted_after_a_question(lab, monkeypatch, train):
    answer = train("-m", "seed=0,1", "trainer.max_epochs=1")
    kept, gone = sorted(answer.run_dirs, key=lambda path: "-s1-" in path.name)
    size = sum(path.stat().st_size for path in gone.rglob("*") if path.is_file()) / 1e6
    words = ("runs", "--where", "seed = 1", "--delete")
    monkeypatch.setattr("typer.confirm", lambda question: False)
    status, _, err = lab(*words)
    assert (status, err) == (1, "caelab: nothing is deleted\n")
    assert gone.is_dir()
    monkeypatch.setattr("typer.confirm", lambda question: question == f"delete 1 run, {size:,.1f} MB?")
    status, out, _ = lab(*words)
    assert (status, out.splitlines()[-1]) == (0, f"deleted 1 run, {size:,.1f} MB")
    assert (kept.is_dir(), gone.exists()) == (True, False)


def test_a_run_in_use_is_not_deleted(lab, trained):
    from caelab.runs.run_dir import locked

    run = trained("trainer.max_epochs=1").run_dir
    with locked(run):
        status, _, err = lab("runs", "--delete", "--yes")
    assert status == 1
    assert err.startswith("caelab: 1 of 1 not deleted; ")
    assert run.is_dir()


def test_a_run_that_cannot_be_deleted_does_not_keep_the_others(lab, tmp_path, monkeypatch):
    for name in "abc":
        (tmp_path / "multirun" / name).mkdir(parents=True)
        (tmp_path / "multirun" / name / "result.json").write_text(json.dumps(record()))
    rename = Path.rename

    def refused(path, new):
        if path.name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return rename(path, new)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "rename", refused)
    status, _, err = lab("runs", "--delete", "--yes")
    assert status == 1
    assert err == "caelab: 1 of 3 not deleted; multirun/b: Permission denied\n"
    assert [path.name for path in (tmp_path / "multirun").iterdir()] == ["b"]
