"""How caelab sweeps: Hydra finds this sweeper by its place in ``hydra_plugins``."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn

from caelab import after, results, screen, studies, tables
from caelab.errors import UserError
from caelab.report.measure import index, score, section
from caelab.run_dir import Busy, held
from caelab.studies import Study, Variant

_AT_ONCE = 1.0  # seconds below which a job cannot have trained, so says nothing of how long one takes
_POLL = 1.0  # seconds between looks at a run that another process trains

Job = Sequence[str]


class CaelabSweeper(BasicSweeper):
    """Every combination of a sweep's values, or the runs of studies (``study=table2``).

    Runs that another process is training come last: that process's record is taken, or, if it dies, its run
    goes on. A failed run stops no other. At the end stands a table of all, and an exit status of 1 if one
    failed.
    """

    def sweep(self, arguments: list[str]) -> None:
        """Carry out a sweep.

        Raises:
            UserError: a study, budget or override that cannot be.
            SystemExit: status 1, if a run failed.
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
            raise SystemExit(1)  # any other exception would be swallowed by Hydra

    def _combinations(self, arguments: list[str]) -> None:
        assert self.config is not None
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        (jobs,) = self.split_arguments(parser.parse_overrides(arguments), None)
        self.validate_batch_is_legal(jobs)
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

            picture = compare_runs(done, Path(self.config.paths.output))
            screen.say(f"picture: {screen.shown(picture)}")

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
        assert self.launcher is not None
        if not jobs:
            return
        one_by_one = isinstance(self.launcher, BasicLauncher)
        batches = [[job] for job in jobs] if one_by_one else [jobs]
        busy: list[tuple[Job, Path]] = []
        names = _names(jobs)
        for number, batch in enumerate(batches):
            self._progress(names[number] if one_by_one else f"{len(jobs)} runs", len(jobs) - number)
            began = time.monotonic()
            returned = self.launcher.launch(batch, initial_job_idx=self.launched)
            self.launched += len(batch)
            for job, answer in zip(batch, returned, strict=True):
                assert answer.hydra_cfg is not None
                path = Path(answer.hydra_cfg.hydra.runtime.output_dir)
                if self._keep(path, answer):
                    busy.append((job, path))
            if one_by_one and (seconds := time.monotonic() - began) > _AT_ONCE:
                self.seconds.append(seconds)
        if busy:
            screen.say(f"waiting for {len(busy)} runs that another process is training")
            while all(held(path) for _, path in busy):
                time.sleep(_POLL)
            self._launch([job for job, _ in busy])

    def _keep(self, path: Path, answer: JobReturn) -> bool:
        """Keep what a job left; True where another process was training its run."""
        assert answer.hydra_cfg is not None
        assert answer.cfg is not None
        try:
            reason = answer.return_value
        except Exception as error:  # before caelab's own code, which catches its errors
            reason = screen.one_line(error)
        if isinstance(reason, Busy):
            return True
        left = None
        with suppress(UserError):  # a damaged record, which is then the reason
            left = results.read(path)
        record = None if isinstance(reason, str) else left
        if left is not None:
            self.index[left["fingerprint"]] = (path, left)
        if record is None:
            choices = dict(answer.hydra_cfg.hydra.runtime.choices)
            self._fail(path, answer.overrides or [], str(reason), choices=choices, seed=answer.cfg.seed)
        else:
            self.records[path] = record
        return False

    def _fail(self, path: Path, overrides: Job, reason: str, **more: Any) -> None:
        """Note a run that did not finish; it may have no record that could say so."""
        self.failed += 1
        self.records[path] = {"status": "failed", "error": reason, "overrides": list(overrides), **more}

    def _progress(self, name: str, left: int) -> None:
        """Say what starts, how far the sweep is, and how long it may take."""
        done = len(self.records) - self.failed
        line = f"[{done} done, {self.failed} failed, {left} to go"
        if self.seconds:
            line += f", {_duration(left * sum(self.seconds) / len(self.seconds))} left"
        screen.say(f"{line}] {name}")


def _names(jobs: Sequence[Job]) -> list[str]:
    """Name each job by the overrides that not all of them share."""
    shared = set.intersection(*(set(job) for job in jobs)) if len(jobs) > 1 else set()
    return [" ".join(override for override in job if override not in shared) for job in jobs]


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"about {minutes // 60} h {minutes % 60} min"
    return f"about {minutes} min" if minutes else f"about {seconds:.0f} s"


@contextmanager
def _group(name: str) -> Iterator[None]:
    """Name the sweep or study while it runs, so that loggers can group its runs."""
    os.environ["CAELAB_SWEEP"] = name
    try:
        yield
    finally:
        del os.environ["CAELAB_SWEEP"]
