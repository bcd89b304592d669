"""The lab from Python, as in a notebook: the runs, records and directories of the command line.

``caelab.run``, ``caelab.sweep``, ``caelab.study`` and ``caelab.compare`` are the functions of this module.
"""

import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from caelab.composition import objects, words
from caelab.composition.objects import Keys, SweptKeys
from caelab.composition.words import Overrides
from caelab.config import instances
from caelab.errors import RunsFailed, UserError
from caelab.handle import Run
from caelab.runs import tables
from caelab.studies import execute
from caelab.sweeps.session import once, session
from caelab.training.attempt import attempt, stop, train

if TYPE_CHECKING:
    import pandas as pd

_GOES_ON = "the same call goes on from the last finished epoch"


def run(overrides: Overrides = (), *, epochs: int | None = None, **keys: Unpack[Keys]) -> Run:
    """Train one run, or take it where it is finished: the run that the same words on the command line are.

    ``caelab.run(model="improved", loss="l1_mse", epochs=5, overrides={"loss.alpha": 0.1})`` is
    ``caelab train model=improved loss=l1_mse trainer.max_epochs=5 loss.alpha=0.1``.

    >>> run = caelab.run(model="base", dataset="shapes", epochs=1, seed=3)
    >>> run.record.status, run.record.seed
    ('finished', 3)

    Args:
        overrides: further ones, as on the command line or by key: ``["loss.alpha=0.1"]``,
            ``{"model.channels": [16, 32]}``.
        epochs: passes over the training images.
        keys: ``model``, ``loss``, ``optimizer``, ``scheduler``, ``dataset`` and ``corruption``, each by its
            option, a class of yours, ``functools.partial`` of a class with arguments, or an object;
            ``dataset`` also by images themselves, see ``caelab.data.in_memory.hold``; the other groups by
            their option; and ``seed``, ``speed``, ``compile``, ``force`` and their like.

    Returns:
        The finished run.

    Raises:
        UserError: what the command line would say in one line.
        KeyboardInterrupt: stopped; the same call goes on from the last finished epoch.
    """
    for key, value in keys.items():
        if objects.several(value) and key not in words.LISTS and not objects.is_images(value):
            raise UserError(f"{key}: one run has one value; caelab.sweep takes several")
    again = not any(objects.is_instance(key, value) for key, value in keys.items())
    with _interruptible(_GOES_ON if again else f"to go on after a stop, {instances.MEND}"):
        job, record = once(train, words.from_python(overrides, keys, epochs, once=True))
    return Run(job.run_dir, record)


def sweep(
    overrides: Overrides = (), *, epochs: int | Iterable[int] | None = None, **keys: Unpack[SweptKeys]
) -> list[Run]:
    """Train every combination of the values given, as the command line does with ``-m``.

    ``caelab.sweep(model=["base", "improved"], seed=range(3))`` is
    ``caelab sweep model=base,improved seed=0,1,2``.

    >>> runs = caelab.sweep(model="base", dataset="shapes", seed=range(2), epochs=1)
    >>> [run.record.seed for run in runs]
    [0, 1]

    Args:
        overrides: as in ``run``, where a list is one value; several are a tuple, or text as on the command
            line: ``{"model.latent": (64, 256)}``, ``["model.latent=64,256"]``.
        epochs: passes over the training images.
        keys: as in ``run``, with one value or several, but without objects.

    Returns:
        All runs of the sweep. A failed one stops no other: it is told, and has ``record.error``.

    Raises:
        UserError: a mistake that concerns all of it.
        KeyboardInterrupt: stopped; the same call goes on from the last finished epoch.
    """
    with _interruptible(), session() as lab:
        try:
            asked = words.swept(words.from_python(overrides, keys, epochs))
            left = lab.multirun("train", attempt, asked)
        except RunsFailed as failed:
            left = failed.runs
    return [Run(path, record) for path, record in left.items()]


def study(
    names: str | Sequence[str],
    overrides: Overrides = (),
    *,
    budget: str = "full",
    seeds: int | None = None,
    epochs: int | None = None,
    **keys: Unpack[SweptKeys],
) -> list[Run]:
    """Carry out studies, as ``caelab study`` does; their tables and verdicts are printed.

    ``caelab.study("table2", budget="quick", seeds=3)`` is ``caelab study table2 --budget quick --seeds 3``.

    >>> runs = caelab.study("speed", seeds=1, dataset="shapes", epochs=1)
    >>> len(runs)
    3

    Args:
        names: of one or several, or ``"all"``.
        overrides: of every run, as in ``run``.
        budget: ``full``, or ``quick``: fewer epochs and images, one seed.
        seeds: runs a row; None is each study's own number.
        epochs: passes over the training images, in place of each study's own.
        keys: of every run, as in ``run``, but without objects; ``dataset`` may have several values.

    Returns:
        All runs of the studies. A failed one stops no other: it is told, and has ``record.error``.

    Raises:
        UserError: a mistake that concerns all of it.
        KeyboardInterrupt: stopped; the same call goes on from the last finished epoch.
    """
    from caelab.report import claims, summary  # pandas and scipy, which the runs need not wait for

    chosen = [names] if isinstance(names, str) else names
    with _interruptible():
        asked = words.from_python(overrides, keys, epochs)
        execution = execute.carry_out(chosen, budget, seeds, asked, claims.require)
    summary.show_studies(execution)
    with suppress(RunsFailed):
        execution.end()
    return [Run(path, record) for path, record in execution.runs.records.items()]


def compare(runs: Run | str | Path | Iterable[Run | str | Path]) -> "pd.DataFrame":
    """Return the table that stands at the end of a sweep: best validation PSNR first, failed runs last.

    >>> caelab.compare(caelab.sweep(model=["base", "pca"], dataset="shapes", epochs=1)).shape[0]
    2

    Args:
        runs: runs, or directories of finished ones.

    Returns:
        A line a run: the keys in which the runs differ, sizes, PSNR (dB) on validation, PSNR and SSIM on
        test, epochs and seconds; rounded to 4 decimals, the exact figures are in each run's ``metrics``.

    Raises:
        UserError: no run, or none in a directory.
    """
    listed = [runs] if isinstance(runs, Run | str | Path) else list(runs)
    if not listed:
        raise UserError("compare: no run given; caelab.sweep(...) returns some")
    return tables.frame([(run if isinstance(run, Run) else Run(run)).record for run in listed])


@contextmanager
def _interruptible(mend: str = _GOES_ON) -> Iterator[None]:
    """Let an interrupt end a run as on the command line, and say what to do then."""
    if threading.current_thread() is not threading.main_thread():  # where no signal arrives
        yield
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    except SystemExit as ended:
        if ended.code != 128 + signal.SIGINT:
            raise
        raise KeyboardInterrupt(f"stopped; {mend}") from None
    finally:
        signal.signal(signal.SIGINT, before)
