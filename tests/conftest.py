"""Fixtures shared by the tests: the command line in this process, and tiny runs of it."""

import contextlib
import gc
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tiny import TINY

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side, and their networks are tiny
os.environ["COLUMNS"] = "200"  # which the screen takes when it is imported, and tables are cut at


@dataclass
class Answer:
    """What a command line did."""

    status: int
    out: str
    err: str
    output: Path
    run_dirs: list[Path]  # those with a record, when the command ended
    records: list[dict[str, Any]]

    @property
    def record(self) -> dict[str, Any]:
        (record,) = self.records
        return record

    @property
    def run_dir(self) -> Path:
        (path,) = self.run_dirs
        return path


@pytest.fixture(scope="session", autouse=True)
def _users_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what the tests train with out of the user's data folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("user")))
        yield


@pytest.fixture(scope="module", autouse=True)
def _settled() -> Iterator[None]:
    """Let no later collection go through what the tests of a file have imported, which stays to the end."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture
def train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Answer]]:
    """Call the command line of caelab.train in this process, on tiny data unless told otherwise."""
    from hydra._internal.hydra import Hydra

    from caelab.train import main

    # Hydra composes all once more to look for hydra.mode, which is a quarter of a tiny run
    monkeypatch.setattr(Hydra, "get_mode", lambda *_, **__: None)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAELAB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str, tiny: bool = True) -> Answer:
        flags = [a for a in arguments if a.startswith("-")]
        overrides = [a for a in arguments if not a.startswith("-")]
        monkeypatch.setattr(sys, "argv", ["caelab-train", *flags, *(TINY if tiny else ()), *overrides])
        capfd.readouterr()
        status = 0
        try:
            main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        finally:
            close_log_files()
        shown = capfd.readouterr()
        return answered(status, shown.out, shown.err, tmp_path / "multirun")

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


def answered(status: int, out: str, err: str, output: Path) -> Answer:
    """What a command line did, with the runs that are below its folder."""
    found = [path for path in sorted(output.rglob("result.json")) if path.parent.name != "previous"]
    records = [json.loads(path.read_text()) for path in found]
    return Answer(status, out, err, output, [path.parent for path in found], records)


@pytest.fixture(scope="session")
def _kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[tuple[str, ...], Answer]]:
    """Folder of runs that were trained once, and these by their words."""
    return tmp_path_factory.mktemp("kept"), {}


@pytest.fixture
def trained(
    train: Callable[..., Answer], _kept: tuple[Path, dict[tuple[str, ...], Answer]], tmp_path: Path
) -> Callable[..., Answer]:
    """Give a copy of a run to tests that only look at it: the first of them trains it, in an empty folder."""

    def call(*words: str, tiny: bool = True) -> Answer:
        key, output = (str(tiny), *words), tmp_path / "multirun"
        folder, known = _kept
        if key not in known:
            answer = train(*words, tiny=tiny)
            copy = shutil.copytree(output, folder / str(len(known)))
            known[key] = answered(answer.status, answer.out, answer.err, copy)
            return answer
        kept = known[key]
        shutil.copytree(kept.output, output)
        return answered(kept.status, kept.out, kept.err, output)

    return call


@pytest.fixture
def call_main(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Call the entry point of a command line with words: exit status, stdout, stderr."""

    def call(main: Callable[[], None], *words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["caelab", *map(str, words)])
        capfd.readouterr()
        status = 0
        try:
            main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        shown = capfd.readouterr()
        return status, shown.out, shown.err

    return call


@pytest.fixture
def lab(call_main: Callable[..., tuple[int, str, str]]) -> Callable[..., tuple[int, str, str]]:
    """Call the command ``caelab`` with words: exit status, stdout, stderr."""
    from caelab.cli.main import main

    def call(name: str, *words: object) -> tuple[int, str, str]:
        return call_main(main, name, *words)

    return call


@pytest.fixture
def command(
    request: pytest.FixtureRequest, lab: Callable[..., tuple[int, str, str]]
) -> Callable[..., tuple[int, str, list[str]]]:
    """Call the command that a test file is of: exit status, stdout, lines that say what is wrong."""
    name = request.module.__name__.removeprefix("test_").removesuffix("_main")

    def call(*words: object) -> tuple[int, str, list[str]]:
        status, out, err = lab(name, *words)
        return status, out, [line for line in err.splitlines() if line.startswith("caelab:")]

    return call


@pytest.fixture(scope="session")
def _random_vgg16(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A cache of torchvision's with random weights in the place of VGG16's, and their SHA-256."""
    import hashlib

    import torch
    from torchvision.models import vgg16

    with torch.device("meta"):
        shapes = {f"features.{name}": one.shape for name, one in vgg16().features.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: torch.randn(shape, generator=generator) * (2 / max(1, shape[1:].numel())) ** 0.5
        for name, shape in shapes.items()
    }
    file = tmp_path_factory.mktemp("torch") / "hub/checkpoints/vgg16-397923af.pth"
    file.parent.mkdir(parents=True)
    torch.save(weights, file)
    return file, hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def random_vgg16(_random_vgg16: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """File of random weights that stand for those of VGG16, which no test can fetch."""
    from caelab.metrics import perceptual

    file, digest = _random_vgg16
    monkeypatch.setenv("TORCH_HOME", str(file.parents[2]))
    monkeypatch.setattr(perceptual, "SHA256", digest)
    perceptual.stages.cache_clear()
    yield file
    perceptual.stages.cache_clear()


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch, train: Callable[..., Answer]) -> Callable[..., None]:
    """Train until the checkpoint of an epoch is written, and no further."""
    from caelab.training.callbacks import Checkpoints

    save = Checkpoints.save

    def call(*words: str, after: int, tiny: bool = True) -> None:
        def stops(self: Checkpoints, trainer: Any, epoch: int) -> None:
            save(self, trainer, epoch)
            if epoch == after:
                raise KeyError("killed")

        with monkeypatch.context() as broken:
            broken.setattr(Checkpoints, "save", stops)
            with pytest.raises(KeyError):
                train(*words, tiny=tiny)

    return call


def close_log_files() -> None:
    """Close what Hydra's logging of a job left open."""
    for handler in list(logging.getLogger().handlers):
        if isinstance(handler, logging.FileHandler):
            handler.close()
            logging.getLogger().removeHandler(handler)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Environment of a subprocess that keeps its data to itself."""
    with contextlib.suppress(KeyError):
        del os.environ["HYDRA_FULL_ERROR"]
    return {**os.environ, "CAELAB_DATA": str(tmp_path / "data"), "COLUMNS": "200", "WANDB_MODE": ""}
