"""Break the source in one place after another: do the tests that guard the place notice?

``make mutants`` tries all of ``mutants.toml``, ``python tests/tools/mutants.py WORD ...`` those described by
one of the words. Places and tests are known by their text and name, so that files can move. The exit status
is not 0 if a mutant survives, or if its place or its test is no longer there.
"""

import importlib
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from compileall import compile_dir
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("src", "conf", "tests", "pyproject.toml", "README.md")
LIMIT = 400  # seconds, for tests that a mutant leaves hanging
# imported once, before the processes that test fork: what takes long, and nothing of the lab
HEAVY = (
    "pytest",
    "torch",
    "torchvision",
    "lightning.pytorch",
    "torchmetrics",
    "hydra.main",
    "optuna",
    "duckdb",
)
HEAVY += ("skimage.metrics", "sklearn.decomposition", "scipy.stats", "scipy.ndimage", "pandas", "wandb")
HEAVY += ("matplotlib.pyplot", "rich.progress", "torch._dynamo")


@dataclass(frozen=True)
class Mutant:
    """In ``file``, ``text`` becomes ``becomes``; each of ``tests`` must fail, or pass if there is no file."""

    what: str
    tests: tuple[str, ...]
    file: str = ""
    text: str = ""
    becomes: str = ""


def mutants() -> list[Mutant]:
    """The whole list, after a look that each text and each test is there exactly once."""
    mutable = [ROOT / "README.md", *(ROOT / "src").rglob("*.py")]
    sources = {str(path.relative_to(ROOT)): path.read_text() for path in mutable}
    suites = {str(path.relative_to(ROOT)): path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    found, lost = [], []
    for one in tomllib.loads((ROOT / "tests/tools/mutants.toml").read_text())["mutant"]:
        files = [file for file, source in sources.items() for _ in range(source.count(one["text"]))]
        nodes = [
            [f"{file}::{name}" for file, source in suites.items() if f"\ndef {name}(" in source]
            for name in one["tests"]
        ]
        if len(files) != 1:
            lost.append(f"{one['what']}: {len(files)} places instead of one: {one['text']}")
        for name, places in zip(one["tests"], nodes, strict=True):
            if len(places) != 1:
                lost.append(f"{one['what']}: {len(places)} tests instead of one: {name}")
        found.append(Mutant(one["what"], sum(map(tuple, nodes), ()), *files[:1], one["text"], one["becomes"]))
    if lost:
        sys.exit("\n".join(lost))
    return found


def tree(folder: Path) -> Path:
    """Copy the source, compiled in a way that notices any change, however soon it comes."""
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, folder / name)
    for cache in folder.rglob("__pycache__"):
        shutil.rmtree(cache)
    compile_dir(folder / "src", quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
    (folder / "docs").symlink_to(ROOT / "docs")
    return folder


class Failures:
    """A plugin of pytest that writes down which tests fail."""

    def __init__(self) -> None:
        self.nodes: set[str] = set()

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep a test's name, without its parameters."""
        if report.failed:
            self.nodes.add(report.nodeid.partition("[")[0])


def attempt(folder: Path, mutant: Mutant) -> None:
    """In a process of its own, with the mutant in its tree: end with status 1 if each of its tests failed."""
    import pytest

    signal.alarm(LIMIT)
    os.chdir(folder)
    for stream in (1, 2):
        os.dup2(os.open("out", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    source = str(folder / "src")
    sys.path[:] = [source, *(path for path in sys.path if path != str(ROOT / "src"))]
    sys.dont_write_bytecode = True
    os.environ |= {"PYTHONPATH": source, "PYTHONDONTWRITEBYTECODE": "1"}
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # they would import anew what is shared
    failures = Failures()
    status = pytest.main(["-q", "-p", "no:cacheprovider", *mutant.tests], plugins=[failures])
    if mutant.file and status == 1 and failures.nodes != set(mutant.tests):
        status = 0
    sys.exit(int(status))


def start(whole: Path, folder: Path, mutant: Mutant) -> ForkProcess:
    """Put a mutant into a tree of its own, and test that."""
    shutil.copytree(whole, folder, symlinks=True)
    if mutant.file:
        place = folder / mutant.file
        place.write_text(place.read_text().replace(mutant.text, mutant.becomes))
    process = multiprocessing.get_context("fork").Process(target=attempt, args=(folder, mutant))
    process.start()
    return process


def fault(mutant: Mutant, status: int | None, folder: Path) -> str:
    """Return what is wrong with an answer; "" where a mutant died, and where all is well without one."""
    if status == (1 if mutant.file else 0):
        return ""
    if mutant.file and status == 0:
        return f"SURVIVES {' '.join(mutant.tests)}"
    return f"shows nothing: the tests ended with status {status}\n{(folder / 'out').read_text()[-3000:]}"


def main() -> None:
    """Exit with status 1 if a mutant survives, or if the tests fail without any."""
    chosen = [m for m in mutants() if any(word in m.what for word in sys.argv[1:] or [""])]
    tests = dict.fromkeys(test for mutant in chosen for test in mutant.tests)
    waiting = [Mutant("nothing is changed", tuple(tests)), *chosen]
    count, began, faults = len(waiting), time.monotonic(), 0
    for module in HEAVY:
        importlib.import_module(module)
    running: dict[int, tuple[ForkProcess, Mutant, Path]] = {}
    with tempfile.TemporaryDirectory() as name:
        whole = tree(Path(name, "whole"))
        os.environ["PYTEST_DEBUG_TEMPROOT"] = name  # where pytest keeps what tests write
        while waiting or running:
            while waiting and len(running) < len(os.sched_getaffinity(0)):
                folder = Path(name, str(len(waiting)))
                process = start(whole, folder, mutant := waiting.pop(0))
                running[process.sentinel] = process, mutant, folder
            for ready in wait(list(running)):
                assert isinstance(ready, int)
                process, mutant, folder = running.pop(ready)
                process.join()
                wrong = fault(mutant, process.exitcode, folder)
                faults += bool(wrong)
                shutil.rmtree(folder)
                done = count - len(waiting) - len(running)
                left = (time.monotonic() - began) / done * (count - done)
                print(f"{done}/{count}, {left:.0f} s left: {mutant.what}: {wrong or 'ok'}", flush=True)
    print(f"{len(chosen)} mutants in {time.monotonic() - began:.0f} s, {faults} not as they must be")
    sys.exit(bool(faults))


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()
