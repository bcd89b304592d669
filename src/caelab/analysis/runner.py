"""What every analysis begins and ends with: the run, its network and data, its lock, and its file."""

import time
from functools import cached_property
from pathlib import Path
from typing import Any

from caelab.data.datamodule import ImageDataModule
from caelab.errors import UserError
from caelab.inference.restore import datamodule, load
from caelab.models.autoencoder import Autoencoder
from caelab.plotting import bands
from caelab.runs import results
from caelab.runs.analyses import Analysis, Result
from caelab.runs.record_file import ARCHIVE
from caelab.runs.run_dir import locked
from caelab.terminal import shown

LONGEST = 4_096
"""Numbers of a latent, at most, where an analysis needs as many squared."""


class Subject:
    """A finished run that is analysed; network and data are read when they are first asked for.

    Args:
        analysis: which looks into it.
        run: the run's directory.

    Attributes:
        run: the same.
        record: of the run.

    Raises:
        UserError: there is no finished run.
    """

    def __init__(self, analysis: Analysis, run: Path) -> None:
        self.run, self.record = run, results.finished(run)
        self._analysis = analysis

    @cached_property
    def network(self) -> Autoencoder:
        """The network of the best checkpoint, on the CPU."""
        return load(self.run)

    @cached_property
    def unread(self) -> ImageDataModule:
        """The data as they were composed, not fetched yet."""
        return datamodule(self.record)

    @cached_property
    def data(self) -> ImageDataModule:
        """The data with all their splits."""
        self.unread.prepare_data()
        self.unread.setup("test")
        return self.unread

    def require_short(self) -> None:
        """Refuse a latent that is too long, before data are fetched for it.

        Raises:
            UserError: it has more than ``LONGEST`` numbers.
        """
        if (latent := self.record.size.latent) > LONGEST:
            raise UserError(
                f"{shown(self.run)}: its latent has {latent:,} numbers; caelab {self._analysis.name} needs "
                f"the square of that, and takes {LONGEST:,} at most"
            )

    @property
    def picture(self) -> Path:
        """Where the first of the analysis' files goes."""
        return self.run / self._analysis.files[0]

    @cached_property
    def earlier(self) -> Result | None:
        """What the same analysis has left of this very training."""
        return results.analysis(self.run, self._analysis.name, self.record)


def analyse(analysis: Analysis, run: Path, options: dict[str, Any], again: bool = True) -> Result:
    """Analyse the best checkpoint of a finished run, and leave ``<name>.json`` and a picture with it.

    Args:
        analysis: what to measure.
        run: the run's directory.
        options: of the analysis, all of them.
        again: whether to measure what was measured before.

    Returns:
        ``figures``, by key as in ``docs/definitions``; ``seconds``; and the details of the analysis.

    Raises:
        UserError: no finished run, one in use by another process, no checkpoint, data that cannot be had, or
            what the analysis itself refuses.
    """
    subject = Subject(analysis, run)
    if not run.is_dir():
        raise UserError(f"{run} lies in {run.parent / ARCHIVE}, which holds no checkpoints; train it again")
    with locked(run):
        if subject.earlier is not None and not again:  # nor did another process just now
            return subject.earlier
        began = time.perf_counter()
        with bands.of_run(subject.record.config):
            result: Result = analysis.module.measure(subject, **options)
        if result is not subject.earlier:
            result.setdefault("seconds", time.perf_counter() - began)
            results.write_analysis(run, analysis.name, subject.record, result)
    return result
