"""How caelab sweeps: Hydra finds this sweeper by its place in ``hydra_plugins``."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from caelab import terminal
from caelab.compat import BasicSweeper
from caelab.composition import words
from caelab.config import explain, folders
from caelab.errors import UserError
from caelab.runs.labels import image_sets
from caelab.runs.record import Record, chosen_by, is_finished
from caelab.sweeps import launching
from caelab.sweeps.sweeping import Job, Sweep, group

_PICTURED = 40  # runs in one picture, at most: it is loaded and drawn run by run, and 364 are no PNG any more


class CaelabSweeper(BasicSweeper):
    """Every combination of a sweep's values.

    One after the other, or side by side with ``hydra/launcher=joblib`` and others. Runs that another process
    is training come last: that process's record is taken, or, if it dies, its run goes on. A failed run stops
    no other. At the end stands a table of all, and an exit status of 1 if one failed.
    """

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take up Hydra's settings, and the launcher.

        Raises:
            UserError: the launcher's package is not installed.
        """
        with launching.installed(config):
            super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> dict[Path, Record]:
        """Carry out a sweep.

        Returns:
            Directory -> record of each run.

        Raises:
            UserError: an invalid override.
            RunsFailed: if a run failed; any other exception would be swallowed by Hydra.
        """
        assert self.config is not None
        assert self.launcher is not None
        assert self.hydra_context is not None
        folders.announce()
        runs = Sweep(self.launcher)
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*words.read(self._parse_config()), *arguments])
        (jobs,) = self.split_arguments(overrides, None)
        if not jobs:
            empty = next(one for one in overrides if one.is_sweep_override() and not [*one.sweep_iterator()])
            raise UserError(f"{empty.input_line}: no value given; give at least one, as in range(0,3)")
        for job in _kinds(jobs):
            self._validate(job)
        runs.total = len(jobs)
        with group(f"sweep-{datetime.now():%Y-%m-%d_%H-%M-%S}"):
            runs.launch(jobs)
        _compare(runs.records, Path(self.config.paths.output))
        runs.end()
        return runs.records

    def _validate(self, job: Job) -> None:
        """Refuse a job that cannot be composed, by the options that it chooses."""
        try:
            self.validate_batch_is_legal([job])
        except HydraException as error:
            chosen = dict(override.split("=", 1) for override in job if "=" in override)
            line = explain.line(error, chosen)
            assert line is not None  # Hydra's errors are the user's
            raise UserError(line) from None


def _compare(runs: dict[Path, Record], output: Path) -> None:
    """Draw the reconstructions of runs where they share their test images, and print the table of all."""
    from caelab.report.summary import show_sweep

    done = {path: record for path, record in runs.items() if is_finished(record)}
    if len(done) > 1 and len(set(image_sets(list(done.values())))) == 1:
        from caelab.report.comparison import compare_runs

        key = chosen_by(done.values())
        best = sorted(done, key=lambda path: -done[path].score(key))[:_PICTURED]
        pictured = {path: record for path, record in done.items() if path in best}
        of = "" if len(pictured) == len(done) else f" of the best {_PICTURED}"
        try:
            terminal.say(f"picture{of}: {terminal.shown(compare_runs(pictured, output))}")
        except (UserError, OSError) as error:  # as of runs that keep no checkpoint; the table needs none
            terminal.note(f"picture left out: {terminal.explain(error)}")
    show_sweep(runs)


def _kinds(jobs: Sequence[Job]) -> list[Job]:
    """One job for each choice of options and keys: to compose all takes long, and values rule out none."""
    kinds: dict[tuple[str, ...], Job] = {}
    for job in jobs:
        keys = [override.partition("=")[0] for override in job]
        kind = (
            key if "." in key or key == "seed" else override for key, override in zip(keys, job, strict=True)
        )
        kinds.setdefault(tuple(kind), job)
    return list(kinds.values())
