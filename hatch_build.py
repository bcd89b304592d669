"""Writes the commit into the package when it is built, so that its runs say what code they are of."""

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILE = "caelab/commit.json"


class CommitHook(BuildHookInterface):
    """Adds ``commit.json`` to a wheel or an sdist of a checkout; a wheel of that sdist has it too."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Find the commit, and have its file put in; an editable install asks git itself, at each run."""
        if version == "editable" or self._git("rev-parse", "--show-toplevel") != str(
            Path(self.root).resolve()
        ):
            return
        changed, new = (
            self._git("status", "--porcelain", *which) for which in (("-uno",), ("--", "src", "conf"))
        )
        said = {"commit": self._git("rev-parse", "HEAD"), "dirty": bool(changed or new)}
        self._folder = tempfile.TemporaryDirectory()  # which goes with this object
        file = Path(self._folder.name, "commit.json")
        file.write_text(json.dumps(said) + "\n")
        build_data["force_include"][str(file)] = FILE if self.target_name == "wheel" else f"src/{FILE}"

    def _git(self, *words: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", self.root, *words], capture_output=True, text=True)
        except FileNotFoundError:
            return None
        return done.stdout.strip() or None
