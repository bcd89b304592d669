"""What a report or a dashboard is asked for: studies, folders with runs, and words that trained them."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from caelab import studies
from caelab.errors import UserError
from caelab.runs.locate import ROOT
from caelab.studies import Study
from caelab.studies.index import Index
from caelab.terminal import NEAR, nearest

GIVE = "; give folders with runs, such as multirun"
"""What to do where there is no folder."""


@dataclass(frozen=True)
class Asked:
    """What is asked for.

    Attributes:
        roots: folders with runs.
        names: studies; none are those of which there are runs.
        overrides: KEY=VALUE that held for every run.
        budget: of the studies; None is ``full`` of those that are named, and else each that has runs.
        seeds: runs a row; None is each study's own number.
    """

    roots: Sequence[Path]
    names: Sequence[str]
    overrides: Sequence[str]
    budget: str | None = None
    seeds: str | None = None

    @property
    def options(self) -> dict[str, str]:
        """Those of ``budget`` and ``seeds`` that are set."""
        given = {"budget": self.budget, "seeds": self.seeds}
        return {key: value for key, value in given.items() if value is not None}

    def command(self, name: str, more: Sequence[str] = ()) -> str:
        """Return the command of that name which asks for this."""
        roots = [] if [*self.roots] == [Path(ROOT)] else map(str, self.roots)
        options = [text for key, value in self.options.items() for text in (f"--{key}", value)]
        return shlex.join(["caelab", name, *roots, *self.names, *options, *self.overrides, *more])

    def plans(self, runs: Index) -> list[tuple[str, Study]]:
        """Read the studies, each with what it is called here: its file's name, and a budget if not ``full``.

        Raises:
            UserError: a budget, number of seeds or override that cannot be, or one without a study.
        """
        chosen = [(name, self.budget or "full") for name in self.names] or self._trained(runs)
        if self.overrides and not chosen:
            raise UserError(
                f"{self.overrides[0]}: KEY=VALUE chooses runs of studies only; for other runs, give folders"
            )
        return [
            (
                name if self.names or budget == "full" else f"{name}-{budget}",
                studies.load(name, budget, self.seeds, self.overrides),
            )
            for name, budget in chosen
        ]

    def _trained(self, runs: Index) -> list[tuple[str, str]]:
        """Name and budget of each study of whose sweeps there are runs."""
        sweeps = {record.sweep for _, record in runs.values()}
        budgets = studies.BUDGETS if self.budget is None else (self.budget,)
        return [(name, of) for name in studies.names() for of in budgets if f"{name}-{of}" in sweeps]


def asked(words: Sequence[str], budget: str | None = None, seeds: str | None = None) -> Asked:
    """Read the words of a command line.

    Args:
        words: names of studies, or ``all``; folders with runs, of which none is ``multirun``; and KEY=VALUE.
        budget: of the studies.
        seeds: runs a row.

    Raises:
        UserError: a word that is none of these. That there is no ``multirun`` is nothing to say yet.
    """
    known = [*studies.names(), studies.ALL]
    overrides = [word for word in words if "=" in word and not Path(word).is_dir()]
    for word in overrides:
        key, _, value = word.partition("=")
        if key == "study":
            raise UserError(f"{word}: give the name of a study alone, as in {value.replace(',', ' ')}")
        if key in studies.OPTIONS:
            raise UserError(f"{word}: an option; write --{key} {value}")
    names = [word for word in words if word in known]
    roots = [word for word in words if word not in (*names, *overrides)]
    for root in roots:
        if not Path(root).is_dir():
            near = nearest(root, known) if get_close_matches(root, known, 1, NEAR) else ""
            raise UserError(f"{root}: there is no such folder or study{near or GIVE}")
    chosen = studies.names() if studies.ALL in names else list(dict.fromkeys(names))
    return Asked([Path(root) for root in roots or [ROOT]], chosen, overrides, budget, seeds)
