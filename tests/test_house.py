"""The plan of the house: arrows between packages go down."""

import subprocess
import sys
from pathlib import Path

import mutants


def test_arrows_between_packages_go_down():
    """As pyproject.toml lists them; imports inside functions and for types count."""
    root = Path(__file__).parents[1]
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[done.stdout.find("Broken contracts") :]


def test_tools_need_nothing_but_their_folder():
    """They are started by their path; pytest has more on its own."""
    folder = Path(__file__).parent / "tools"
    names = [
        ".".join(path.relative_to(folder).with_suffix("").parts)
        for path in sorted(folder.rglob("*.py"))
        if path.parent == folder or path.parent.name == "survival"
    ]
    assert {"survive", "commands", "survival.rows"} <= {*names}
    code = "import sys, importlib; sys.path[0] = sys.argv[1]; [*map(importlib.import_module, sys.argv[2:])]"
    done = subprocess.run([sys.executable, "-c", code, folder, *names], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_each_mutant_has_one_place_and_its_tests():
    """``make mutants`` takes minutes; that its list fits the source is seen at once."""
    assert len(mutants.mutants()) > 100
