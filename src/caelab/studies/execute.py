"""How a study is carried out: its tuning first, then each row over the seeds, then the analyses."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from caelab import terminal
from caelab.analysis import after
from caelab.composition import words
from caelab.config import folders
from caelab.errors import RunsFailed, UserError
from caelab.runs import records, results, tables
from caelab.runs.record import is_finished
from caelab.studies import files
from caelab.studies.index import index, score
from caelab.studies.study import Search, Study
from caelab.studies.variants import Variant
from caelab.sweeps.session import launcher
from caelab.sweeps.sweeping import Job, Sweep, group
from caelab.training.attempt import attempt
from caelab.training.trial import as_trial


def carry_out(
    names: Sequence[str],
    budget: str,
    seeds: int | str | None,
    overrides: Sequence[str],
    require: Callable[[Study], None],
) -> "Execution":
    """Carry out one study after the other; what is finished is taken as it is.

    Args:
        names: of studies; ``["all"]`` stands for every one whose data are at hand.
        budget: ``full`` or ``quick``.
        seeds: runs of each row, in place of each study's own.
        overrides: of every run, as typed, and of the sweep, such as ``hydra/launcher=joblib``.
        require: refuses a study before anything of any of them is trained.

    Raises:
        UserError: an unknown study, budget or option, or an override of what a study varies.
    """
    if not names:
        raise UserError(f"name a study: all, {', '.join(files.names())}")
    with launcher(words.read(overrides), attempt) as (hydra, config):
        folders.announce()
        runs, own = Sweep(hydra), list(config.hydra.overrides.task)
        everything = list(names) == [files.ALL]
        chosen = [
            files.load(name, budget, seeds, own)
            for name in (files.names() if everything else dict.fromkeys(names))
        ]
        if everything:
            chosen = [_at_hand(study) for study in chosen]
        for study in chosen:
            require(study)
        execution = Execution(chosen, runs, Path(config.paths.output), force=bool(config.force))
        for study in chosen:
            with group(f"{study.name}-{budget}"):
                execution.carry_out(study)
    return execution


class Execution:
    """Studies under way, and what has become of them.

    Args:
        studies: that are carried out.
        runs: the sweep that their runs are part of.
        output: folder of all runs.
        force: whether what is finished is run again.

    Attributes:
        searches: name of a search -> what it found.
        failed_analyses: of finished runs.
    """

    def __init__(self, studies: Sequence[Study], runs: Sweep, output: Path, force: bool) -> None:
        self.studies, self.runs, self.output, self.force = studies, runs, output, force
        self.runs.index = index(output)
        self.searches = records.searches(output)
        self.failed_analyses = 0
        self._reasons: dict[str, str | None] = {}

    def carry_out(self, study: Study) -> None:
        """Carry out one of the studies: tuning, rows, analyses."""
        trials = [
            (trial, study.tune.seed)
            for dataset in study.datasets
            for one in study.trials(dataset).values()
            for trial in one
            if study.tune
        ]
        if trials:
            terminal.say(f"study={study.name}: {len(trials)} trials, tuned on validation")
            self._launch(trials, trial=True)
        for dataset in study.datasets:
            for search in study.searches(dataset):
                self._search(search)
        scores = score(study, self.runs.index)
        rows = [v for dataset in study.datasets for v in study.variants(dataset, scores, self.searches)]
        runs = [(v, seed) for seed in range(study.seeds) for v in rows if seed == 0 or not v.floor]
        terminal.say(f"study={study.name}: {len(rows)} rows, {len(runs)} runs")
        self._launch(runs)
        done = [run for v, seed in runs if (run := self.runs.index.get(v.identity(seed)))]
        finished = {path: record for path, record in done if is_finished(record)}
        for analysis in study.after:
            self.failed_analyses += after.carry_out(analysis, finished)

    def end(self) -> None:
        """Say what failed.

        Raises:
            RunsFailed: a run or an analysis did.
        """
        for record in self.runs.records.values():
            if record.status == "failed":
                terminal.error(f"{' '.join(record.overrides)}: {record.error}")
        if self.failed_analyses:
            word = "analysis" if self.failed_analyses == 1 else "analyses"
            terminal.error(f"{self.failed_analyses} {word} of finished runs failed")
        self.runs.end()
        if self.failed_analyses:
            raise RunsFailed(self.runs.records)

    def _unavailable(self, variant: Variant) -> str | None:
        """Why the data of a variant cannot be had; each dataset is tried once."""
        if variant.dataset not in self._reasons:
            try:
                variant.data().prepare_data()
                self._reasons[variant.dataset] = None
            except UserError as error:
                self._reasons[variant.dataset] = str(error)
        return self._reasons[variant.dataset]

    def _search(self, search: Search) -> None:
        """Carry out the trials of a search that are left, with any other process that does the same."""
        reason = self._unavailable(search.trial({}))
        if reason is None and find_spec("optuna") is None:
            reason = f"study={search.study.name} searches with Optuna; pip install 'caelab[search]'"
        if reason:
            self.runs.fail(Path(search.name), search.trial({}).at(search.tune.seed), reason)
            return
        from caelab.studies.trials import Trials  # Optuna, which no other study needs

        budget = f"{search.tune.trials} trials of {search.tune.epochs} epochs"
        terminal.say(f"study={search.study.name}: a search of {budget}")
        with Trials(search, self.output) as trials:
            if self.force and trials.record().history:
                terminal.say(
                    f"  force=true keeps its trials; to start over, remove {terminal.shown(trials.folder)}"
                )
            try:
                while proposals := trials.ask(self.runs.at_once):
                    for proposal in proposals:
                        terminal.say(trials.starts(proposal))
                    for number, answer in self.runs.answers([one.job for one in proposals], quiet=True):
                        terminal.say(trials.tell(proposals[number], answer))
            except UserError as error:
                self.runs.fail(trials.folder, search.trial({}).at(search.tune.seed), str(error))
                return
            self.searches[search.name] = trials.close()
        terminal.console.print(tables.trials(self.searches[search.name]))

    def _launch(self, runs: Sequence[tuple[Variant, int]], trial: bool = False) -> None:
        """Take the finished ones of a study's runs, or trials, as they are, and launch the others."""
        jobs: dict[str, Job] = {}
        for variant, seed in runs:
            identity = variant.identity(seed)
            run = self.runs.index.get(identity)
            if run and results.complete(*run, trial) and not self.force:
                self.runs.earlier += run[0] not in self.runs.records
                self.runs.records[run[0]] = run[1]
            elif reason := self._unavailable(variant):
                self.runs.fail(Path(identity), variant.at(seed), reason)
            else:
                jobs[identity] = as_trial(variant.at(seed)) if trial else variant.at(seed)
        self.runs.total = len(self.runs.records) + len(jobs)
        if self.runs.earlier:
            terminal.say(f"{self.runs.earlier} of {self.runs.total} runs finished before")
        self.runs.launch(list(jobs.values()))


def _at_hand(study: Study) -> Study:
    """Leave out what should be asked for by name: a large download, a study apart; and say so."""
    there: list[str] = []
    if study.apart:
        terminal.say(f"study={study.name} takes hours, or a GPU; it runs only when called by its name")
    for dataset in () if study.apart else study.datasets:
        if Variant("", dataset, (f"dataset={dataset}", *study.common)).data().at_hand():
            there.append(dataset)
        else:
            terminal.say(f"study={study.name}: {dataset} is not here yet; study={study.name} fetches it")
    return replace(study, datasets=there)
