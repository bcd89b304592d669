"""How caelab sweeps: Hydra finds this sweeper by its place in ``hydra_plugins``."""

import itertools
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from caelab import after, launching, results, screen, studies, tables
from caelab.errors import RunsFailed, UserError
from caelab.jobs import AT_ONCE, Answer, answer
from caelab.report.measure import index, score, section
from caelab.run_dir import held
from caelab.studies import Study, Variant

_PICTURED = 40  # runs in one picture, at most: it is loaded and drawn run by run, and 364 are no PNG any more
_POLL = 1.0  # seconds between looks at a run that another process trains

Job = Sequence[str]


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
        self.records: dict[Path, results.Record] = {}
        self.index: dict[str, tuple[Path, results.Record]] = {}
        self.reasons: dict[str, str | None] = {}
        self.launched = self.taken = self.failed = self.total = self.unanalysed = 0
        self.seconds: list[float] = []
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
        if self.failed:
            screen.error(f"{self.failed} of {self.total} runs failed")
        if self.unanalysed:
            word = "analysis" if self.unanalysed == 1 else "analyses"
            screen.error(f"{self.unanalysed} {word} of finished runs failed")
        if self.failed or self.unanalysed:
            raise RunsFailed(self.records)
        return self.records

    def _combinations(self, arguments: list[str]) -> None:
        assert self.config is not None
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        (jobs,) = self.split_arguments(parser.parse_overrides(arguments), None)
        self.validate_batch_is_legal(_kinds(jobs))
        self.total = len(jobs)
        with _group(f"sweep-{datetime.now():%Y-%m-%d_%H-%M-%S}"):
            self._launch(jobs)
        self._compare()

    def _compare(self) -> None:
        """Print the table of all runs, and draw their reconstructions where they share their data."""
        assert self.config is not None
        title = f"{len(self.records)} runs, test split"
        screen.console.print(tables.comparison(list(self.records.values()), title))
        done = {path: record for path, record in self.records.items() if record["status"] == "finished"}
        if len(done) > 1 and len({record["data"]["sha256"] for record in done.values()}) == 1:
            from caelab.figures import compare_runs

            best = sorted(done, key=lambda path: -float(done[path]["metrics"]["test/psnr"]))[:_PICTURED]
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
            plans = [self._at_hand(study) for study in plans]
        self.index = index(self.config.paths.output)
        for study in plans:
            with _group(f"{study.name}-{budget}"):
                self._study(study, force="force=true" in rest)
        self._summarise(plans)
        for record in self.records.values():
            if record["status"] != "finished":
                screen.error(f"{' '.join(record['overrides'])}: {record['error']}")

    def _summarise(self, plans: list[Study]) -> None:
        from caelab.report import summary  # pandas and scipy, which the runs need not wait for
        from caelab.report.claims import verdicts

        sections = [section(study, dataset, self.index) for study in plans for dataset in study.datasets]
        summary.show(sections, [verdict for one in sections for verdict in verdicts(one)])

    def _at_hand(self, study: Study) -> Study:
        """Leave out the datasets that would first need a large download, and say so."""
        there = []
        for dataset in study.datasets:
            if Variant("", dataset, (f"dataset={dataset}", *study.common)).data().at_hand():
                there.append(dataset)
            else:
                screen.say(f"study={study.name}: {dataset} is not at hand; study={study.name} fetches it")
        return replace(study, datasets=there)

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
            self._runs(trials, force)
        rows = [v for dataset in study.datasets for v in study.variants(dataset, score(study, self.index))]
        runs = [(v, seed) for seed in range(study.seeds) for v in rows if seed == 0 or not v.floor]
        screen.say(f"study={study.name}: {len(rows)} rows, {len(runs)} runs")
        self._runs(runs, force)
        found = [one for v, seed in runs if (one := self.index.get(v.identity(seed)))]
        done = {path: record for path, record in found if record["status"] == "finished"}
        for analysis in study.after:
            self.unanalysed += after.carry_out(analysis, done)

    def _runs(self, runs: list[tuple[Variant, int]], force: bool) -> None:
        """Take the finished ones of a study's runs as they are, and launch the others."""
        jobs: dict[str, Job] = {}
        for variant, seed in runs:
            identity = variant.identity(seed)
            found = self.index.get(identity)
            if found and found[1]["status"] == "finished" and not force:
                self.taken += found[0] not in self.records
                self.records[found[0]] = found[1]
            elif reason := self._unavailable(variant):
                self._fail(Path(identity), variant.at(seed), reason)
            else:
                jobs[identity] = variant.at(seed)
        self.total = len(self.records) + len(jobs)
        if self.taken:
            screen.say(f"{self.taken} of {self.total} runs finished before")
        self._launch(list(jobs.values()))

    def _launch(self, jobs: Sequence[Job]) -> None:
        """Carry out jobs, those that another process is training last."""
        if not jobs:
            return
        _refuse_several_devices(jobs)
        carry_out = self._one_by_one if isinstance(self.launcher, BasicLauncher) else self._side_by_side
        busy: list[tuple[Job, Path]] = []
        for job, left in zip(jobs, carry_out(jobs), strict=True):
            path = Path(left.run_dir)
            if left.busy:
                busy.append((job, path))
            else:
                self._keep(path, left)
        if busy:
            screen.say(f"waiting for {len(busy)} runs that another process is training")
            while all(held(path) for _, path in busy):
                time.sleep(_POLL)
            self._launch([job for job, _ in busy])

    def _one_by_one(self, jobs: Sequence[Job]) -> Iterator[Answer]:
        assert self.launcher is not None
        for number, (job, name) in enumerate(zip(jobs, _names(jobs), strict=True)):
            self._progress(name, len(jobs) - number)
            began = time.monotonic()
            (returned,) = self.launcher.launch([job], initial_job_idx=self.launched)
            seconds = time.monotonic() - began
            self.launched += 1
            if seconds > AT_ONCE:
                self.seconds.append(seconds)
            try:
                value = returned.return_value
            except Exception as error:  # before caelab's own code, which catches its errors
                value = screen.one_line(error)
            assert returned.cfg is not None
            assert returned.hydra_cfg is not None
            yield answer(value, returned.cfg, returned.hydra_cfg.hydra, seconds)

    def _side_by_side(self, jobs: Sequence[Job]) -> list[Answer]:
        assert self.launcher is not None
        done = len(self.records) - self.failed
        answers = launching.launch(self.launcher, jobs, self.launched, (done, self.failed))
        self.launched += len(jobs)
        return answers

    def _keep(self, path: Path, answer: Answer) -> None:
        """Keep what a job left."""
        left = None
        reason = answer.reason
        try:
            left = results.read(path)
        except UserError as damage:
            reason = reason or str(damage)
        if left is not None:
            self.index[left["fingerprint"]] = (path, left)
        if left is None or reason:
            self._fail(path, answer.overrides, str(reason), choices=answer.choices, seed=answer.seed)
        else:
            self.records[path] = left

    def _fail(self, path: Path, overrides: Job, reason: str, **more: Any) -> None:
        """Note a run that did not finish; it may have no record that could say so."""
        self.failed += 1
        self.records[path] = {"status": "failed", "error": reason, "overrides": list(overrides), **more}

    def _progress(self, name: str, left: int) -> None:
        """Say what starts, how far the sweep is, and how long it may take."""
        done = len(self.records) - self.failed
        line = f"[{done} done, {self.failed} failed, {left} to go"
        if self.seconds:
            line += f", {screen.duration(left * sum(self.seconds) / len(self.seconds))} left"
        screen.say(f"{line}] {name}")


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


def _refuse_several_devices(jobs: Sequence[Job]) -> None:
    """Refuse a run on several devices: each further process would start the whole sweep again."""
    for override in itertools.chain(*jobs):
        key, _, value = override.lstrip("+").partition("=")
        if key == "trainer.devices" and not re.fullmatch(r"1|\[\d+\]", value):
            raise UserError(
                f"{override}: a sweep trains each run on one device, since the process of a second one would "
                "start the whole sweep again; use trainer.devices=1, or leave out -m"
            )


def _names(jobs: Sequence[Job]) -> list[str]:
    """Name each job by the overrides that not all of them share."""
    shared = set.intersection(*(set(job) for job in jobs)) if len(jobs) > 1 else set()
    return [" ".join(override for override in job if override not in shared) for job in jobs]


@contextmanager
def _group(name: str) -> Iterator[None]:
    """Name the sweep or study while it runs, so that loggers can group its runs."""
    os.environ["CAELAB_SWEEP"] = name
    try:
        yield
    finally:
        del os.environ["CAELAB_SWEEP"]
