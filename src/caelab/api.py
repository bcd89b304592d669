"""The lab from Python, as in a notebook: the runs, records and directories of the command line.

``caelab.train``, ``caelab.sweep`` and ``caelab.compare`` are the functions of this module.
"""

import io
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from caelab import results, screen, tables, words
from caelab.errors import RunsFailed, UserError
from caelab.results import Record
from caelab.session import session
from caelab.studies import execute
from caelab.train import attempt, stop
from caelab.train import train as carry_out
from caelab.words import written

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image

    from caelab.trained import Trained

_LISTS = ("logger", "callbacks")  # a run may have several
Overrides = str | Sequence[str] | Mapping[str, Any]


class Run:
    """A run: its directory, and what lies in it.

    Args:
        directory: of a finished run.
        record: of the run; None reads it.

    Attributes:
        dir: absolute directory.
        record: what ``result.json`` holds; its ``status`` is "finished", "failed" with an ``error``, or
            "trial": trained for a study's tuning, and not tested.

    Raises:
        UserError: there is no finished run in the directory.
    """

    def __init__(self, directory: str | Path, record: Record | None = None) -> None:
        self.dir = Path(directory).absolute()
        self.record = results.finished(directory) if record is None else record

    def __repr__(self) -> str:
        if self.record["status"] == "trial":
            psnr = self.record["metrics"]["val/psnr"]
            return f"Run({screen.shown(self.dir)}: a trial, validation PSNR {psnr:.2f} dB)"
        if self.record["status"] != "finished":
            return f"Run({screen.shown(self.dir)}: {self.record['error']})"
        psnr, ssim = (self.record["metrics"][f"test/{key}"] for key in ("psnr", "ssim"))
        return f"Run({screen.shown(self.dir)}: test PSNR {psnr:.2f} dB, SSIM {ssim:.3f})"

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Key -> figure, such as ``test/psnr`` (dB): the record's, and those of analyses of the run.

        Raises:
            UserError: the run failed, or is a trial.
        """
        return results.figures(self.dir, self._finished())

    def load(self, trust: Sequence[str] = ()) -> "Trained":
        """Load the trained network: see ``caelab.load``."""
        from caelab.trained import load

        return load(self.dir, trust=trust)

    def show(self) -> "Image":
        """Return the picture of originals over reconstructions, which a notebook shows."""
        return _image(self.dir / self._finished()["artifacts"]["reconstructions"])

    def curves(self) -> "Image":
        """Return a picture of training loss and validation PSNR (dB) by epoch, which a notebook shows."""
        from caelab.report import figures, rows

        choices = self._finished()["choices"]
        row = rows.Row(choices["model"], choices["dataset"], runs={0: rows.Run(self.dir, self.record)})
        title = ", ".join(f"{choices[group]}" for group in ("model", "loss", "optimizer"))
        picture = io.BytesIO()
        figures.curves(rows.Section("run", title, "", choices["dataset"], [row])).savefig(picture)
        return _image(picture)

    def _finished(self) -> Record:
        if self.record["status"] != "finished":
            raise UserError(f"{screen.shown(self.dir)}: {results.unfinished(self.record)}")
        return self.record


def _image(file: Path | io.BytesIO) -> "Image":
    from PIL import Image

    picture = Image.open(file)
    picture.load()  # and close the file
    return picture


def train(overrides: Overrides = (), *, epochs: int | None = None, **keys: Any) -> Run:
    """Train one run, or take it where it is finished: the run that the same words on the command line are.

    ``caelab.train(model="improved", loss="l1_mse", epochs=5, overrides={"loss.alpha": 0.1})`` is
    ``caelab-train model=improved loss=l1_mse trainer.max_epochs=5 loss.alpha=0.1``.

    Args:
        overrides: further ones, as on the command line or by key: ``["loss.alpha=0.1"]``,
            ``{"model.channels": [16, 32]}``.
        epochs: passes over the training images.
        keys: ``model``, ``loss``, ``optimizer``, ``dataset``, ``corruption`` and the other groups by their
            option, and ``seed``, ``speed``, ``compile``, ``force``.

    Returns:
        The finished run.

    Raises:
        UserError: what the command line would say in one line.
        KeyboardInterrupt: stopped; the same call goes on from the last finished epoch.
    """
    for key, value in keys.items():
        if isinstance(value, Iterable) and not isinstance(value, str) and key not in _LISTS:
            raise UserError(f"{key}: one run has one value; caelab.sweep takes several")
    raised: list[Exception] = []

    def once(cfg: DictConfig) -> Record | None:
        try:
            return carry_out(cfg)
        except Exception as error:  # which Hydra would tell in many lines
            raised.append(error)
            return None

    with _interruptible(), session() as lab:
        left = lab.run(config_name="train", task_function=once, overrides=_words(overrides, keys, epochs))
        if raised:
            raise raised[0]
    assert left.hydra_cfg is not None
    return Run(left.hydra_cfg.hydra.runtime.output_dir, left.return_value)


def sweep(overrides: Overrides = (), *, epochs: int | Iterable[int] | None = None, **keys: Any) -> list[Run]:
    """Train every combination of the values given, as the command line does with ``-m``.

    ``caelab.sweep(model=["base", "improved"], seed=range(3))`` is
    ``caelab-train -m model=base,improved seed=0,1,2``.

    Args:
        overrides: as in ``train``, where a list is one value; several are a tuple, or text as on the command
            line: ``{"model.latent": (64, 256)}``, ``["model.latent=64,256"]``.
        epochs: passes over the training images.
        keys: as in ``train``, with one value or several.

    Returns:
        All runs of the sweep. A failed one stops no other: it is told, and has ``record["error"]``.

    Raises:
        UserError: a mistake that concerns all of it.
        KeyboardInterrupt: stopped; the same call goes on from the last finished epoch.
    """
    with _interruptible(), session() as lab:
        try:
            left = lab.multirun("train", attempt, _words(overrides, keys, epochs))
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
    **keys: Any,
) -> list[Run]:
    """Carry out studies, as ``caelab study`` does; their tables and verdicts are printed.

    ``caelab.study("table2", budget="quick", seeds=3)`` is ``caelab study table2 --budget quick --seeds 3``.

    Args:
        names: of one or several, or ``"all"``.
        overrides: of every run, as in ``train``.
        budget: ``full``, or ``quick``: fewer epochs and images, one seed.
        seeds: runs a row; None is each study's own number.
        epochs: passes over the training images, in place of each study's own.
        keys: of every run, as in ``train``; ``dataset`` may have several values.

    Returns:
        All runs of the studies. A failed one stops no other: it is told, and has ``record["error"]``.

    Raises:
        UserError: a mistake that concerns all of it.
        KeyboardInterrupt: stopped; the same call goes on from the last finished epoch.
    """
    from caelab.report import summary  # pandas and scipy, which the runs need not wait for

    chosen = [names] if isinstance(names, str) else names
    with _interruptible():
        execution = execute.carry_out(chosen, budget, seeds, _words(overrides, keys, epochs))
    summary.show_studies(execution)
    with suppress(RunsFailed):
        execution.end()
    return [Run(path, record) for path, record in execution.runs.records.items()]


def compare(runs: Run | str | Path | Iterable[Run | str | Path]) -> "pd.DataFrame":
    """Return the table that stands at the end of a sweep: best validation PSNR first, failed runs last.

    Args:
        runs: runs, or directories of finished ones.

    Returns:
        A line a run: the keys in which the runs differ, sizes, PSNR (dB) on validation, PSNR and SSIM on
        test, epochs and seconds; rounded to 4 decimals, the exact figures are in each run's ``metrics``.

    Raises:
        UserError: no run, or none in a directory.
    """
    given = [runs] if isinstance(runs, Run | str | Path) else list(runs)
    if not given:
        raise UserError("compare: no run given; caelab.sweep(...) returns some")
    return tables.frame([(run if isinstance(run, Run) else Run(run)).record for run in given])


def _words(overrides: Overrides, keys: Mapping[str, Any], epochs: Any) -> list[str]:
    """Everything that was given, as on the command line; of keys a list is several values, too."""
    given = {**keys, **({} if epochs is None else {"trainer.max_epochs": epochs})}
    given = {
        key: tuple(value) if isinstance(value, list) and key not in _LISTS else value
        for key, value in given.items()
    }
    if isinstance(overrides, Mapping):
        given |= overrides
    own = [f"{key}={_text(value)}" for key, value in given.items()]
    typed = [overrides] if isinstance(overrides, str) else () if isinstance(overrides, Mapping) else overrides
    return words.read([*own, *map(str, typed)])


def _text(value: Any) -> str:
    several = isinstance(value, Iterable) and not isinstance(value, str | list)
    return ",".join(written(one) for one in value) if several else written(value)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let an interrupt end a run as on the command line, so that it can go on."""
    if threading.current_thread() is not threading.main_thread():  # where no signal arrives
        yield
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    except SystemExit as ended:
        if ended.code != 128 + signal.SIGINT:
            raise
        raise KeyboardInterrupt("stopped; the same call goes on from the last finished epoch") from None
    finally:
        signal.signal(signal.SIGINT, before)
