"""What is killed: a command each, and what stands on the disk before it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from survival.start import Running, start
from tiny import TINY

from caelab.training.trial import GRID, TRIAL

Words = tuple[str, ...]

DIRECTORY = "multirun/runs/shapes"
PICTURES = "pictures"
FORCE = "force=true"
TRAIN = ("caelab.train", *TINY)
AUDIT = ("caelab.cli.main", "audit")
REFINE = ("caelab.cli.main", "refine", "--steps", "2")
SHORT = ("dataset.train_size=32", "dataset.val_size=10", "dataset.test_size=20", "trainer.max_epochs=1")
SWEEP = ("caelab.train", "-m", *TINY, *SHORT, "model=base,improved")
FOLDER = (
    "caelab.train",
    "dataset=folder",
    "dataset.image_size=16",
    "dataset.batch_size=8",
    "model=pca",
    "model.latent=4",
    "trainer.accelerator=cpu",
)


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        title: what is killed.
        words: the command, which is killed and then started again.
        before: brings a folder to where the command is to start.
        kills: at most; where that is fewer than its changes, some are left out.
        leaders: also kill the first process of several where another one changes something.
    """

    title: str
    words: Callable[[Path], Words]
    before: Callable[[Path], None]
    kills: int
    leaders: bool = False


def done(running: Running) -> None:
    """Wait for a start that must succeed."""
    end = running.wait()
    assert end.status == 0, f"a start that nobody disturbed ended with status {end.status}"


def _nothing(folder: Path) -> None:
    pass


def _half(folder: Path) -> None:
    """Leave a run that was killed after its first epoch."""
    trial = start(TRAIN, folder)
    done(trial)
    names = [change.to.rpartition("/")[2] for change in trial.changes()]
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    start(TRAIN, folder, kill_at=names.index("last.ckpt") + 2).wait()


def _other(folder: Path) -> None:
    """Leave a finished run of the same config whose figures are others: as if older code had made it."""

    def seed_differently() -> None:
        plain = torch.manual_seed
        torch.manual_seed = lambda seed: plain(seed + 1)

    done(start(TRAIN, folder, prepare=seed_differently))


def _finished(folder: Path) -> None:
    done(start(TRAIN, folder))


def _tried(folder: Path) -> None:
    """Leave a trial of the run, which a study has chosen by."""
    words = ("caelab.train", "-m", *TINY)
    done(start(words, folder, prepare=lambda: os.environ.update({TRIAL: GRID})))


def _audited(folder: Path) -> None:
    _other(folder)
    for words in (AUDIT, REFINE):
        done(start((*words, *_directories(folder)), folder))


def _two(folder: Path) -> None:
    done(start(SWEEP, folder))


def draw_pictures(folder: Path) -> None:
    """Make a folder of pictures, which no start changes."""
    folder.mkdir()
    for number in range(20):
        values = bytes((7 * number + 3 * place) % 256 for place in range(3 * 16 * 16))
        Image.frombytes("RGB", (16, 16), values).save(folder / f"{number}.png")


def _directories(folder: Path) -> Words:
    return tuple(str(path.relative_to(folder)) for path in sorted((folder / DIRECTORY).iterdir()))


def _always(*words: str) -> Callable[[Path], Words]:
    return lambda folder: words


def _cache(folder: Path) -> Words:
    return (*FOLDER, f"dataset.path={folder.with_name(PICTURES)}")


def _runs(*words: str) -> Callable[[Path], Words]:
    return lambda folder: (*words, *_directories(folder))


ROWS = {
    "run": Row("a first run", _always(*TRAIN), _nothing, 60),
    "resume": Row("a run that goes on", _always(*TRAIN), _half, 40),
    "test": Row("a trial that is tested as a run", _always(*TRAIN), _tried, 30),
    "force": Row("`force=true` over a finished run", _always(*TRAIN, FORCE), _audited, 84),
    "cache": Row("a folder of pictures cached", _cache, _nothing, 25),
    "audit": Row("an audit", _runs(*AUDIT), _finished, 10),
    "refine": Row("a refinement", _runs(*REFINE), _finished, 7),
    "sweep": Row("a sweep", _always(*SWEEP), _nothing, 20),
    "joblib": Row(
        "a sweep side by side, one of its processes",
        _always(*SWEEP, "hydra/launcher=joblib"),
        _nothing,
        3,
        leaders=True,
    ),
    "report": Row("a report", _always("caelab.cli.main", "report", "--out", "report"), _two, 10),
}
