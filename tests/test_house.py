"""The plan of the house: arrows between packages go down."""

import subprocess
import sys
from pathlib import Path


def test_arrows_between_packages_go_down():
    """As pyproject.toml lists them; imports inside functions and for types count."""
    root = Path(__file__).parents[1]
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[done.stdout.find("Broken contracts") :]
