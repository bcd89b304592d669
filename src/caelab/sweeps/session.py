"""Hydra in a process that is not its own, such as a notebook or ``caelab study``, and its launchers."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig

from caelab import config
from caelab.compat import Callbacks, Hydra
from caelab.composition import compose
from caelab.config import explain, folders
from caelab.config.job import Job
from caelab.sweeps import launching
from caelab.training.job_log import LOGGERS

T = TypeVar("T")


@contextmanager
def session() -> Iterator[Hydra]:
    """Hydra in this process; a mistake is a UserError, and the process gets its own settings back.

    Raises:
        UserError: what a command line would say in one line.
    """
    with (
        _own_logging(),
        _apart(),
        folders.seen(),
        folders.importable(),
        explain.told(),
        initialize_config_dir(config.CONF, job_name="train", version_base="1.3"),
    ):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        yield hydra


def once(task: Callable[[Job], T], overrides: list[str]) -> tuple[Job, T]:
    """Have Hydra compose one run, and carry a task out for it, with its log.

    Raises:
        UserError: a mistake in the overrides.
    """
    ended: list[tuple[Job, T]] = []
    raised: list[Exception] = []

    def carry_out(cfg: DictConfig) -> None:
        try:
            job = compose.job(cfg)
            ended.append((job, task(job)))
        except Exception as error:  # which Hydra would tell in many lines
            raised.append(error)

    with session() as hydra:
        folders.announce()
        hydra.run(config_name="train", task_function=carry_out, overrides=overrides)
        if raised:
            raise raised[0]
    return ended[0]


@contextmanager
def launcher(overrides: Sequence[str], task: TaskFunction) -> Iterator[tuple[Launcher, DictConfig]]:
    """The launcher that overrides choose, such as ``hydra/launcher=joblib``, and the config of its sweep.

    Args:
        overrides: as Hydra reads them; those that are not Hydra's own are ``hydra.overrides.task`` there.
        task: what the launcher carries out for each job.

    Raises:
        UserError: a mistake in the overrides, or a launcher whose package is not installed.
    """
    with session() as hydra:
        cfg = hydra.compose_config("train", list(overrides), RunMode.MULTIRUN, with_log_configuration=True)
        context = HydraContext(hydra.config_loader, Callbacks(cfg))
        with launching.installed(cfg):
            made = Plugins.instance().instantiate_launcher(context, task, cfg)
        yield made, cfg


@contextmanager
def _apart() -> Iterator[None]:
    """Set the Hydra of an application that calls the lab aside, and give it back."""
    if not GlobalHydra.instance().is_initialized():
        yield
        return
    state = Singleton.get_state()
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        Singleton.set_state(state)


@contextmanager
def _own_logging() -> Iterator[None]:
    """Take back what a job sets for its log file: where its lines, Lightning's and warnings go."""
    root, shows = logging.getLogger(), warnings.showwarning
    level, loggers = root.level, [root, *map(logging.getLogger, LOGGERS)]
    before = [(one, list(one.handlers), one.propagate) for one in loggers]
    try:
        yield
    finally:
        for one, handlers, propagate in before:
            for handler in one.handlers:
                if handler not in handlers:
                    handler.close()
            one.handlers[:], one.propagate = handlers, propagate
        root.setLevel(level)
        if warnings.showwarning is not shows:
            logging.captureWarnings(False)
