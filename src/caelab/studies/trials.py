"""The trials of a search: Optuna says which point is next and which trial ends early, on validation.

Any number of processes with the same command share them. A trial belongs to the process that holds its lock,
so a process that dies leaves a trial that another takes up where its run stopped: none is lost, and none
counts twice. What a search found lies in ``search.json``, which a report reads without Optuna.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, Trial, TrialState

from caelab import compat, terminal
from caelab.config.grammar import written
from caelab.errors import UserError
from caelab.metrics.measures import score
from caelab.runs import results
from caelab.runs.columns import figure
from caelab.runs.outcome import Status
from caelab.runs.record import Complete, SearchRecord, TrialRecord, save_search
from caelab.studies.study import Search
from caelab.studies.variants import point_text
from caelab.sweeps.jobs import Answer
from caelab.training.pruning import STARTUP, open_search
from caelab.training.trial import as_trial

_SEED = 20231  # of the sampler, with the number of the trial on top
_IN_A_ROW = 5  # failed trials after which a search gives up; a failed one does not count, and is replaced
_POLL = 1.0  # seconds between looks at the trials of other processes
_STATES = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


@dataclass(frozen=True)
class Proposal:
    """A trial to be carried out.

    Attributes:
        number: of the trial in its search, from 0.
        point: key -> value.
        job: overrides of its run.
    """

    number: int
    point: Mapping[str, Any]
    job: Sequence[str]


class Trials:
    """The trials of a search on disk, of which this process carries out some; a context.

    Args:
        search: what is searched.
        output: folder of all runs.
    """

    def __init__(self, search: Search, output: Path) -> None:
        self.search = search
        self.folder = search.folder(output).absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.total = search.tune.trials or 0
        self.space = {key: _distribution(values) for key, values in search.entry.space.items()}
        self.select: str = search.trial({}).config["select"]
        self._lock = FileLock(self.folder / ".lock")
        self._mine: dict[int, tuple[Trial, FileLock]] = {}
        self._failed_in_a_row = 0
        with self._lock:
            self.study = open_search(self.folder, search.tune.pruner, self.select)

    def __enter__(self) -> "Trials":
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the trials that are not done to whoever comes next."""
        for _, lock in self._mine.values():
            lock.release()
        self._mine.clear()

    def ask(self, count: int = 1) -> list[Proposal]:
        """Take up to ``count`` trials: those that dead processes have left, then new ones.

        Waits while other processes carry out the last ones, since they may leave theirs.

        Returns:
            No trial once all of them are done.

        Raises:
            UserError: too many trials failed in a row.
        """
        if self._failed_in_a_row >= _IN_A_ROW:
            raise UserError(f"{self.search.name}: {_IN_A_ROW} trials in a row failed")
        while True:
            with self._lock:
                trials = [t for t in self.study.get_trials(deepcopy=False) if t.state != TrialState.FAIL]
                running = [t for t in trials if t.state == TrialState.RUNNING]
                if len(trials) - len(running) >= self.total:
                    return []
                left = [one for t in running if (one := self._take(t))][:count]
                # with others beside them, new ones would know less than those of an undisturbed search
                room = 0 if left else min(count, self.total - len(trials))
                proposals = [*left, *(self._new() for _ in range(room))]
            if proposals:
                return proposals
            time.sleep(_POLL)

    def _new(self) -> Proposal:
        # Of its own number, so that neither a kill nor a second process changes what is drawn.
        seed = _SEED + len(self.study.get_trials(deepcopy=False))
        self.study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)
        trial = self.study.ask()
        lock = self._lock_of(trial.number)
        lock.acquire()
        return self._proposal(trial, lock)

    def _take(self, left: FrozenTrial) -> Proposal | None:
        """Take a trial up whose process is dead; None where it lives."""
        lock = self._lock_of(left.number)
        try:
            lock.acquire()
        except Timeout:
            return None
        if self.study.get_trials(deepcopy=False)[left.number].state != TrialState.RUNNING:
            lock.release()  # it was told since, and its process lives
            return None
        self.study.sampler = optuna.samplers.TPESampler(seed=_SEED + left.number, n_startup_trials=STARTUP)
        if len(left.params) < len(self.space):
            for key in left.params:  # so that the others get the random numbers that they would have
                self.study.sampler.sample_independent(self.study, left, key, self.space[key])
        return self._proposal(compat.trial(self.study, left), lock)

    def _lock_of(self, number: int) -> FileLock:
        return FileLock(self.folder / f".{number}.lock", timeout=0)

    def _proposal(self, trial: Trial, lock: FileLock) -> Proposal:
        for key, distribution in self.space.items():
            compat.suggest(trial, key, distribution)  # what was drawn before a kill stays
        self._mine[trial.number] = (trial, lock)
        point = self._point(trial.params)
        reference = f"{trial.number}:{self.search.tune.pruner}:{self.folder}"
        job = self.search.trial(point).at(self.search.tune.seed)
        return Proposal(trial.number, point, as_trial(job, reference))

    def _point(self, params: Mapping[str, Any]) -> dict[str, Any]:
        point = {}
        for key, values in self.search.entry.space.items():
            if key in params:  # a process may have died before it had drawn all
                texts = {} if isinstance(values, Mapping) else {written(one): one for one in values}
                point[key] = texts.get(params[key], params[key])
        return point

    def tell(self, proposal: Proposal, answer: Answer) -> str:
        """Note what became of a trial.

        Args:
            proposal: as ``ask`` returned it.
            answer: of its job.

        Returns:
            A line that says so.
        """
        trial, lock = self._mine.pop(proposal.number)
        state, value, said = _outcome(answer, self.select)
        self._failed_in_a_row = self._failed_in_a_row + 1 if state == TrialState.FAIL else 0
        self.study.tell(trial, value, state)
        lock.release()
        save_search(self.folder, self.record())
        return f"  trial {proposal.number}: {said}"

    def close(self) -> SearchRecord:
        """Write and return what the search has found, also in other processes, with the importances."""
        done = [t for t in self.study.get_trials(deepcopy=False) if t.state == TrialState.COMPLETE]
        record = replace(self.record(), importance=self._importance(done))
        save_search(self.folder, record)
        return record

    def starts(self, proposal: Proposal) -> str:
        """Return a line that says what starts and how far the search is."""
        trials = self.study.get_trials(deepcopy=False)
        done = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        pruned = sum(t.state == TrialState.PRUNED for t in done)
        values = [t.value for t in done if t.state == TrialState.COMPLETE and t.value]
        best = max(values, key=lambda value: score(self.select, value), default=None)
        line = f"[{len(done)} of {self.total} trials done, {pruned} pruned"
        return (
            f"{line}{'' if best is None else f', best {figure(self.select, best)}'}] {_shown(proposal.point)}"
        )

    def record(self) -> SearchRecord:
        """Return what the search has found so far, and the best point once it is complete."""
        trials = [t for t in self.study.get_trials(deepcopy=False) if t.state in _STATES]
        done = [t for t in trials if t.state == TrialState.COMPLETE]
        complete = sum(t.state != TrialState.FAIL for t in trials) >= self.total
        best = max(done, key=lambda t: (score(self.select, t.value or 0.0), -t.number), default=None)
        best = best if complete else None
        return SearchRecord(
            name=self.search.name,
            study=self.search.study.name,
            label=self.search.label,
            dataset=self.search.dataset,
            space=dict(self.search.entry.space),
            pruner=self.search.tune.pruner,
            epochs=self.search.tune.epochs,
            trials=self.total,
            history=[
                TrialRecord(t.number, _STATES[t.state], self._point(t.params), _value(t), t.last_step or 0)
                for t in trials
            ],
            best=None
            if best is None
            else {"number": best.number, "point": self._point(best.params), "value": best.value},
            importance={},
            select=self.select,
        )

    def _importance(self, done: Sequence[FrozenTrial]) -> dict[str, float]:
        """Share of each key in the variance of the trials' values; empty where that is unknown."""
        if len(done) < 2 or len({t.value for t in done}) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=_SEED)
        return {
            key: float(share)
            for key, share in optuna.importance.get_param_importances(self.study, evaluator=evaluator).items()
        }


def _distribution(values: Any) -> BaseDistribution:
    if not isinstance(values, Mapping):
        return CategoricalDistribution([written(value) for value in values])
    low, high, log = values["low"], values["high"], values.get("log", False)
    whole = isinstance(low, int) and isinstance(high, int)
    return IntDistribution(low, high, log=log) if whole else FloatDistribution(low, high, log=log)


def _outcome(answer: Answer, select: str) -> tuple[TrialState, float | None, str]:
    """State, what was reached on validation, and how that is said."""
    status, reason = answer.outcome.status, answer.outcome.reason
    if status is Status.PRUNED:
        return TrialState.PRUNED, None, reason
    try:
        record = results.read(answer.run_dir) if status is Status.DONE else None
    except UserError as damage:
        return TrialState.FAIL, None, f"failed: {damage}"
    if not isinstance(record, Complete):
        return TrialState.FAIL, None, f"failed: {reason or 'it left no record'}"
    value = record.metrics[select]
    return TrialState.COMPLETE, value, f"{figure(select, value)}, {terminal.shown(Path(answer.run_dir))}"


def _value(trial: FrozenTrial) -> float | None:
    """What a trial reached on validation; in its last epoch, where it ended early."""
    last = trial.intermediate_values.get(trial.last_step or 0)
    return trial.value if trial.state == TrialState.COMPLETE else last


def _shown(point: Mapping[str, Any]) -> str:
    return point_text({key: f"{v:.4g}" if isinstance(v, float) else v for key, v in point.items()})
