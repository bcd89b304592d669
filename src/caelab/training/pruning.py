"""How a search keeps its trials on disk, and which of them end early: by Optuna."""

from pathlib import Path

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.storages import RDBStorage
from optuna.trial import Trial
from sqlalchemy.pool import NullPool

from caelab import compat
from caelab.metrics.measures import higher

STARTUP = 5
"""Trials before the sampler, and the pruner, rely on what was found."""
_WARM_UP = 2  # epochs before the median may end a trial
_PATIENCE = 60  # seconds to wait for the database while another process writes


def attach(reference: str, select: str) -> Trial:
    """Return the trial that a run is of.

    Args:
        reference: number, pruner and folder of its search, as a job's environment names them.
        select: key of the figure that is searched by.
    """
    number, pruner, folder = reference.split(":", 2)
    study = open_search(Path(folder), None if pruner == "None" else pruner, select)
    (trial,) = [t for t in study.get_trials(deepcopy=False) if t.number == int(number)]
    return compat.trial(study, trial)


def open_search(folder: Path, pruner: str | None, select: str) -> optuna.Study:
    """Open the database of a search, or make it.

    Args:
        folder: of the search.
        pruner: what ends its trials early; None lets all of them end.
        select: key of the figure that is searched by.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = f"sqlite:///{folder / 'trials.sqlite3'}"
    options = {"connect_args": {"timeout": _PATIENCE}, "poolclass": NullPool}  # no connection stays open
    storage = RDBStorage(url, engine_kwargs=options)
    return optuna.create_study(
        study_name=folder.name,
        storage=storage,
        direction="maximize" if higher(select) else "minimize",
        load_if_exists=True,
        pruner=_pruner(pruner),
    )


def _pruner(name: str | None) -> BasePruner:
    if name == "median":  # below the median of what the others had at the same epoch
        return MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=_WARM_UP)
    return HyperbandPruner() if name == "hyperband" else NopPruner()
