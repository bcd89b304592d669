"""How caelab sweeps: Hydra finds this sweeper by its place in ``hydra_plugins``."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from caelab import after, records, results, screen, studies, tables, words
from caelab.errors import RunsFailed, UserError
from caelab.labels import image_sets
from caelab.report.measure import index, score, section
from caelab.studies import Study
from caelab.sweeping import Job, Sweep
from caelab.tuning import Search, as_trial
from caelab.variants import Variant

_PICTURED = 40  # runs in one picture, at most: it is loaded and drawn run by run, and 364 are no PNG any more


class CaelabSweeper(BasicSweeper):
    """Every combination of a sweep's values, or the runs of studies (``study=table2``).

    One after the other, or side by side with ``hydra/launcher=joblib`` and others. Runs that another process
    is training come last: that process's record is taken, or, if it dies, its run goes on. A failed run stops
    no other. At the end stands a table of all, and an exit status of 1 if one failed.
    """

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take up Hydra's settings, and the launcher.

        Raises:
            UserError: the launcher's package is not installed.
        """
        try:
            super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        except (ImportError, RuntimeError) as error:
            choice = str(config.hydra.runtime.choices["hydra/launcher"])
            extra = "slurm" if choice.startswith("submitit") else choice
            raise UserError(
                f"hydra/launcher={choice}: its package is not installed; pip install 'caelab[{extra}]'"
            ) from error

    def sweep(self, arguments: list[str]) -> dict[Path, results.Record]:
        """Carry out a sweep.

        Returns:
            Directory -> record of each run.

        Raises:
            UserError: a study, budget or override that cannot be.
            RunsFailed: if a run failed; any other exception would be swallowed by Hydra.
        """
        assert self.config is not None
        assert self.launcher is not None
        self.runs = Sweep(self.launcher)
        self.reasons: dict[str, str | None] = {}
        self.unanalysed = 0
        if self.max_batch_size is not None and self.max_batch_size < 1:
            raise UserError(f"hydra.sweeper.max_batch_size={self.max_batch_size}: must be at least 1")
        arguments = [*words.read(self._parse_config()), *arguments]
        own = {
            key: a.partition("=")[2] for a in arguments if (key := a.partition("=")[0]) in results.OF_A_STUDY
        }
        rest = [a for a in arguments if a.partition("=")[0] not in results.OF_A_STUDY]
        if "study" in own:
            self._studies(own, rest)
        elif own:
            raise UserError(f"{next(iter(own))}: only a study takes it, as in study=table2 seeds=5")
        else:
            self._combinations(rest)
        if self.runs.failed:
            screen.error(f"{self.runs.failed} of {self.runs.total} runs failed")
        if self.unanalysed:
            word = "analysis" if self.unanalysed == 1 else "analyses"
            screen.error(f"{self.unanalysed} {word} of finished runs failed")
        if self.runs.failed or self.unanalysed:
            raise RunsFailed(self.runs.records)
        return self.runs.records

    def _combinations(self, arguments: list[str]) -> None:
        assert self.config is not None
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        (jobs,) = self.split_arguments(parser.parse_overrides(arguments), None)
        self.validate_batch_is_legal(_kinds(jobs))
        self.runs.total = len(jobs)
        with _group(f"sweep-{datetime.now():%Y-%m-%d_%H-%M-%S}"):
            self._launch(jobs)
        self._compare()

    def _compare(self) -> None:
        """Print the table of all runs, and draw their reconstructions where they share their test images."""
        assert self.config is not None
        title = f"{len(self.runs.records)} runs, test split, best on validation first"
        screen.console.print(tables.comparison(list(self.runs.records.values()), title))
        done = {path: record for path, record in self.runs.records.items() if record["status"] == "finished"}
        if len(done) > 1 and len(set(image_sets(list(done.values())))) == 1:
            from caelab.figures import compare_runs

            best = sorted(done, key=lambda path: -float(done[path]["metrics"]["val/psnr"]))[:_PICTURED]
            kept = {path: record for path, record in done.items() if path in best}
            picture = compare_runs(kept, Path(self.config.paths.output))
            of = "" if len(kept) == len(done) else f" of the best {_PICTURED}"
            screen.say(f"picture{of}: {screen.shown(picture)}")

    def _studies(self, own: dict[str, str], rest: list[str]) -> None:
        """Carry out one study after the other, and end with their tables and verdicts."""
        assert self.config is not None
        budget = own.get("budget", "full")
        seeds = self.config.seeds if "seeds" in own else None
        everything = own["study"] == studies.ALL
        names = studies.names() if everything else dict.fromkeys(own["study"].split(","))
        plans = [studies.load(name, budget, seeds, rest) for name in names]
        if everything:
            plans = [_at_hand(study) for study in plans]
        self.runs.index = index(self.config.paths.output)
        self.searched = records.searches(self.config.paths.output)
        for study in plans:
            with _group(f"{study.name}-{budget}"):
                self._study(study, force="force=true" in rest)
        self._summarise(plans)
        for record in self.runs.records.values():
            if record["status"] == "failed":
                screen.error(f"{' '.join(record['overrides'])}: {record['error']}")

    def _summarise(self, plans: list[Study]) -> None:
        from caelab.report import summary  # pandas and scipy, which the runs need not wait for
        from caelab.report.claims import verdicts

        sections = [
            section(study, dataset, self.runs.index, self.searched)
            for study in plans
            for dataset in study.datasets
        ]
        summary.show(sections, [verdict for one in sections for verdict in verdicts(one)])

    def _unavailable(self, variant: Variant) -> str | None:
        """Why the data of a variant cannot be had; each dataset is tried once."""
        if variant.dataset not in self.reasons:
            try:
                variant.data().prepare_data()
                self.reasons[variant.dataset] = None
            except UserError as error:
                self.reasons[variant.dataset] = str(error)
        return self.reasons[variant.dataset]

    def _study(self, study: Study, force: bool) -> None:
        trials = [
            (trial, study.tune.seed)
            for dataset in study.datasets
            for one in study.trials(dataset).values()
            for trial in one
            if study.tune
        ]
        if trials:
            screen.say(f"study={study.name}: {len(trials)} trials of what is tuned on validation")
            self._carry_out(trials, force, trial=True)
        for dataset in study.datasets:
            for search in study.searches(dataset):
                self._search(search, force)
        scores = score(study, self.runs.index)
        rows = [v for dataset in study.datasets for v in study.variants(dataset, scores, self.searched)]
        runs = [(v, seed) for seed in range(study.seeds) for v in rows if seed == 0 or not v.floor]
        screen.say(f"study={study.name}: {len(rows)} rows, {len(runs)} runs")
        self._carry_out(runs, force)
        found = [one for v, seed in runs if (one := self.runs.index.get(v.identity(seed)))]
        done = {path: record for path, record in found if record["status"] == "finished"}
        for analysis in study.after:
            self.unanalysed += after.carry_out(analysis, done)

    def _search(self, search: Search, force: bool) -> None:
        """Carry out the trials of a search that are left, with any other process that does the same."""
        assert self.config is not None
        reason = self._unavailable(search.trial({}))
        if reason is None and find_spec("optuna") is None:
            reason = f"study={search.study.name} searches with Optuna; pip install 'caelab[search]'"
        if reason:
            self.runs.fail(Path(search.name), search.trial({}).at(search.tune.seed), reason)
            return
        from caelab.search import Trials

        budget = f"{search.tune.trials} trials of {search.tune.epochs} epochs"
        screen.say(f"study={search.study.name}: a search of {budget}")
        with Trials(search, Path(self.config.paths.output)) as trials:
            if force and trials.found()["history"]:
                screen.say(
                    f"  force=true keeps its trials; to search anew, remove {screen.shown(trials.folder)}"
                )
            try:
                while asked := trials.ask(self.runs.at_once):
                    for trial in asked:
                        screen.say(trials.starts(trial))
                    for number, answer in self.runs.answers([trial.job for trial in asked], told=False):
                        screen.say(trials.tell(asked[number], answer))
            except UserError as error:
                self.runs.fail(trials.folder, search.trial({}).at(search.tune.seed), str(error))
                return
            self.searched[search.name] = trials.close()
        screen.console.print(tables.trials(self.searched[search.name]))

    def _carry_out(self, runs: list[tuple[Variant, int]], force: bool, trial: bool = False) -> None:
        """Take the finished ones of a study's runs, or trials, as they are, and launch the others."""
        jobs: dict[str, Job] = {}
        for variant, seed in runs:
            identity = variant.identity(seed)
            found = self.runs.index.get(identity)
            if found and results.complete(*found, trial) and not force:
                self.runs.taken += found[0] not in self.runs.records
                self.runs.records[found[0]] = found[1]
            elif reason := self._unavailable(variant):
                self.runs.fail(Path(identity), variant.at(seed), reason)
            else:
                jobs[identity] = as_trial(variant.at(seed)) if trial else variant.at(seed)
        self.runs.total = len(self.runs.records) + len(jobs)
        if self.runs.taken:
            screen.say(f"{self.runs.taken} of {self.runs.total} runs finished before")
        self._launch(list(jobs.values()))

    def _launch(self, jobs: Sequence[Job]) -> None:
        at_once = self.max_batch_size or max(1, len(jobs))
        for first in range(0, len(jobs), at_once):
            self.runs.launch(jobs[first : first + at_once])


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


@contextmanager
def _group(name: str) -> Iterator[None]:
    """Name the sweep or study while it runs, so that loggers can group its runs."""
    os.environ["CAELAB_SWEEP"] = name
    try:
        yield
    finally:
        del os.environ["CAELAB_SWEEP"]


def _at_hand(study: Study) -> Study:
    """Leave out what should be asked for by name: a large download, a study apart; and say so."""
    there: list[str] = []
    if study.apart:
        screen.say(f"study={study.name} takes hours, or a GPU; it is carried out by its name only")
    for dataset in () if study.apart else study.datasets:
        if Variant("", dataset, (f"dataset={dataset}", *study.common)).data().at_hand():
            there.append(dataset)
        else:
            screen.say(f"study={study.name}: {dataset} is not at hand; study={study.name} fetches it")
    return replace(study, datasets=there)
