"""The run directory: who may write there, and what becomes of an earlier run in it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from caelab import durable, results, screen
from caelab.errors import UserError

_MADE = (
    results.RECORD,
    "checkpoints",
    "metrics.csv",
    "reconstructions.png",
    "reconstructions.npz",
    "evaluations",
    "export",
    "floors.json",
    "audit.json",
    "audit.npz",
    "audit.png",
    "anomaly.json",
    "anomaly.png",
    "probe.json",
    "probe.png",
    "rate.json",
    "rate.png",
    "refine.json",
    "refine.png",
)


_LOCK = ".lock"


class Busy(str):
    """Why a job of a sweep did not run: another process is training the same run."""


class Early(str):
    """Why a trial of a search ended before its last epoch."""


class BusyError(UserError):
    """Another process is training in the directory."""


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Keep other processes out; the lock goes with this process, however it ends.

    Raises:
        BusyError: another process is training there.
    """
    lock = FileLock(run_dir / _LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise BusyError(
            f"{screen.shown(run_dir)}: another process is training there; let it finish"
        ) from None
    try:
        yield
    finally:
        lock.release()


def held(run_dir: Path) -> bool:
    """Whether another process is training there."""
    try:
        with locked(run_dir):
            return False
    except BusyError:
        return True


def claim(cfg: DictConfig, identity: str, run_dir: Path) -> None:
    """Make sure that the directory is this run's own, set an old record aside, and write ``.hydra/``.

    Raises:
        UserError: the directory holds a run of another config, or of other pictures.
    """
    saved = run_dir / ".hydra" / "config.yaml"
    known = saved.with_name("fingerprint")  # the config does not tell what a folder of pictures held
    if known.exists() and known.read_text() != identity:
        raise UserError(
            f"{screen.shown(run_dir)} holds a run of another config, or of other pictures; "
            "choose another hydra.run.dir"
        )
    if saved.exists():
        owner = OmegaConf.load(saved)
        if not isinstance(owner, DictConfig) or results.fingerprint(owner) != identity:
            raise UserError(
                f"{screen.shown(run_dir)} holds a run of another config; choose another hydra.run.dir"
            )
    record = results.read(run_dir)
    if record is not None and cfg.force:
        _set_aside(run_dir)
    elif record is not None:
        (run_dir / results.RECORD).unlink()
    saved.parent.mkdir(exist_ok=True)
    settings = HydraConfig.get()
    durable.write(known, identity)
    durable.write(saved, OmegaConf.to_yaml(cfg))
    durable.write(saved.with_name("hydra.yaml"), OmegaConf.to_yaml(OmegaConf.create({"hydra": settings})))
    durable.write(saved.with_name("overrides.yaml"), OmegaConf.to_yaml(settings.overrides.task))


def _set_aside(run_dir: Path) -> None:
    """Move what the old run made to ``previous/``; what is there already is a complete run and stays."""
    aside = run_dir / results.ASIDE
    kept = aside.exists()
    aside.mkdir(exist_ok=True)
    for name in _MADE:
        path = run_dir / name
        if path.exists():
            path.replace(aside / name) if not kept else _remove(path)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()
