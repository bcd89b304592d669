"""What the published report claims, held against the runs.

A study's YAML lists its claims in one of these forms::

    {text: "improved beats base", better: [improved], than: [base]}
    {text: "Adam and Adamax beat the rest", better: [adam, adamax], than: others, metric: test/ssim}
    {text: "spatial is 2 dB above PCA", better: [spatial], than: [PCA], margin: 2}
    {text: "internal skips bring nothing", no_gain: others, over: [base], margin: 0.3, where: [cifar10]}
    {text: "skips bypass the latent", rows: [improved_skip], below: 0.5, metric: test/latent_reliance}

Rows are named by their labels; ``others`` is every trained row that is not on the other side. ``metric`` is
the figure of a column of ``caelab runs``, by default test/psnr; ``margin`` and ``below``, or ``above``, are
in its unit. ``where`` names the datasets that the claim is about; without it, it is about all of the study's.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from caelab.errors import UserError
from caelab.metrics.statistics import ALPHA, MIN_SEEDS, holm
from caelab.report import compare
from caelab.report.compare import Comparison
from caelab.report.rows import Row, Section
from caelab.report.wording import gaps, grouped, listing, seeds, span, still_improving, unit, unlike
from caelab.runs.analyses import columns
from caelab.runs.labels import display, image_sets
from caelab.studies import Study
from caelab.terminal import nearest

Word = Literal["holds", "contradicted", "undecided", "not measured"]
Side = Literal["above", "below"]


@dataclass(frozen=True)
class Verdict:
    """What the runs say of a claim on one dataset.

    Attributes:
        claim: its text.
        dataset: option of the dataset group.
        word: the verdict.
        figures: the difference with its interval, or the smallest and the largest; empty if not measured.
        sentence: the verdict with its figures, in one sentence without a full stop.
        numbers: every comparison behind it that has been measured.
        caveats: what to bear in mind, each a sentence without a full stop.
    """

    claim: str
    dataset: str
    word: Word
    figures: str
    sentence: str
    numbers: list[Comparison]
    caveats: list[str]

    @property
    def title(self) -> str:
        """Such as ``improved beats base on CIFAR-10``."""
        return f"{self.claim} on {display(self.dataset)}"

    @property
    def p(self) -> float | None:
        """P value of the verdict: below 0.05 where it holds or is contradicted; None without one.

        The greatest of its comparisons' ``p``, as all must lie where it says, or the least of their
        ``against``, as one is enough.
        """
        if self.word == "not measured" or min(one.difference.n for one in self.numbers) < MIN_SEEDS:
            return None
        for_it = max(one.p for one in self.numbers if one.p is not None)
        return min(for_it, *(one.against for one in self.numbers if one.against is not None))

    @property
    def words(self) -> str:
        """The sentence and its caveats, with their full stops."""
        return ". ".join([self.sentence, *self.caveats]) + "."


@dataclass(frozen=True)
class _Claim:
    """A claim as read: each row lies on that side of each of the others, or of a bound in their place.

    With a margin it lies above the others by more than that, or, on the side below, by no more.
    """

    text: str
    metric: str
    rows: list[Row]
    others: list[Row]
    margin: float | None = None
    bound: float | None = None
    side: Side = "above"


def verdicts(section: Section) -> list[Verdict]:
    """Judge the claims of a section that are about its dataset, in their order.

    Each comparison of a claim has a limit: the margin of ``no_gain`` and of ``better``, where 0 is meant
    without one, and the bound of ``below`` and ``above``. A claim holds where every 95 % interval lies on
    its side of the limit: an intersection of tests at 0.05, which needs no adjustment (R. L. Berger,
    Multiparameter hypothesis testing and acceptance sampling, Technometrics 24 (1982)). It is
    contradicted where one lies on the other side, with a p below 0.05 that is Holm-adjusted over the
    claim's comparisons, since any of them is enough. With fewer than 3 seeds in a row it is undecided.

    Raises:
        UserError: a claim in the study's YAML has wrong keys, or names a row or metric that there is not.
    """
    return [
        _verdict(_read(section, claim), section.dataset)
        for claim in section.claims
        if section.dataset in claim.get("where", [section.dataset])
    ]


def require(study: Study) -> None:
    """Make sure that a study's claims can be judged, before its runs take hours.

    Raises:
        UserError: as of ``verdicts``.
    """
    for dataset in study.datasets:
        rows = [Row(label, dataset) for label in study.labels(dataset)]
        verdicts(Section(study.name, study.title, study.text, dataset, rows, claims=study.claims))


def _read(section: Section, claim: Mapping[str, Any]) -> _Claim:
    text = str(claim.get("text", "")).rstrip(".")
    here = f"study {section.study}, claim {text!r}"
    metric = str(claim.get("metric", "test/psnr"))
    known = [one.path for one in columns().values() if one.claims and "/" in one.path]
    if metric not in known:
        raise UserError(f"{here}: metric is {metric!r}; it must be one of {', '.join(known)}")
    match sorted(set(claim) - {"metric", "where"}):
        case ["better", "text", "than"]:
            return _Claim(text, metric, *_sides(section, [claim["better"], claim["than"]], here))
        case ["better", "margin", "text", "than"]:
            sides = _sides(section, [claim["better"], claim["than"]], here)
            return _Claim(text, metric, *sides, margin=_number(claim, "margin", here))
        case ["margin", "no_gain", "over", "text"]:
            sides = _sides(section, [claim["no_gain"], claim["over"]], here)
            return _Claim(text, metric, *sides, margin=_number(claim, "margin", here), side="below")
        case [("above" | "below") as side, "rows", "text"]:
            rows = _named(section, claim["rows"], here)
            return _Claim(text, metric, rows, [], bound=_number(claim, side, here), side=side)
        case keys:
            raise UserError(
                f"{here} has the keys {', '.join(keys)}; it must have text, better and than, or text, "
                "no_gain, over and margin, or text, rows and below or above; metric and where may be added, "
                "and margin to better"
            )


def _number(claim: Mapping[str, Any], key: str, here: str) -> float:
    value = claim[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise UserError(f"{here}: {key} is {value!r}; it must be a number, 0 or more, in the metric's unit")
    return float(value)


def _sides(section: Section, sides: Sequence[Any], here: str) -> tuple[list[Row], list[Row]]:
    """The rows of which a claim speaks and those that they are compared with."""
    named = [[] if side == "others" else _named(section, side, here) for side in sides]
    taken = [row.label for row in itertools.chain(*named)]
    rest = [row for row in section.rows if not row.floor and row.label not in taken]
    rows, others = (found if side != "others" else rest for side, found in zip(sides, named, strict=True))
    if not rows or not others or len(taken) > len(set(taken)) or sides[0] == sides[1]:
        raise UserError(f"{here} compares {sides[0]} with {sides[1]}; each side needs rows, and no row twice")
    return rows, others


def _named(section: Section, labels: Any, here: str) -> list[Row]:
    if isinstance(labels, str) or not isinstance(labels, Sequence):
        raise UserError(f"{here}: {labels!r} must be a list of labels, such as [{labels}], or others")
    rows = {row.label: row for row in section.rows}
    for label in map(str, labels):
        if label not in rows:
            hint = nearest(label, list(rows))
            raise UserError(f"{here}: no row is called {label!r} on {section.dataset}{hint}")
    return [rows[str(label)] for label in labels]


def _verdict(claim: _Claim, dataset: str) -> Verdict:
    numbers = _compare(claim)
    absent = _absent(claim)
    figures = "" if absent else span(numbers, claim.metric, claim.bound)
    word, detail = _judge(claim, numbers, figures) if figures else ("not measured", listing(absent))
    involved = [*claim.rows, *claim.others]
    sentence = f"{claim.text} on {display(dataset)}: {word}, {detail}"
    unequal = [f"{row.label} was {what}" for row in involved for what in unlike(row)]
    caveats = still_improving(involved) + unequal + gaps(involved)
    return Verdict(claim.text, dataset, word, figures, sentence, numbers, caveats)


def _compare(claim: _Claim) -> list[Comparison]:
    """Every pair of the claim, or each row and the bound, where both have the figure."""
    limit = claim.margin or 0.0
    pairs = [
        (a.label, b.label, compare.difference(a, b, claim.metric))
        for a, b in itertools.product(claim.rows, claim.others)
        if a.values(claim.metric) and b.values(claim.metric)
    ]
    if claim.bound is not None:
        rows = [row for row in claim.rows if row.values(claim.metric)]
        name = f"{claim.bound:g}"
        pairs = [(row.label, name, compare.against(row, claim.bound, claim.metric)) for row in rows]
    sides = [(one.above(limit), one.below(limit)) for _, _, one in pairs]
    towards, away = zip(*sides, strict=True) if sides else ((), ())
    if claim.side == "below":
        towards, away = away, towards
    return [Comparison(*pair, *p) for pair, *p in zip(pairs, towards, holm(away), strict=True)]


def _judge(claim: _Claim, numbers: Sequence[Comparison], figures: str) -> tuple[Word, str]:
    """The word, and what stands behind it in the sentence."""
    runs = seeds(numbers)
    if min(number.difference.n for number in numbers) < MIN_SEEDS:
        return "undecided", f"{figures} ({runs}: no verdict)"
    refuting = [number for number in numbers if number.refutes]
    unsure = [number for number in numbers if not number.supports]
    beyond, perhaps = _phrases(claim)
    if refuting:
        return "contradicted", f"{figures}, {runs}: {grouped(refuting, beyond)}"
    if unsure:
        return "undecided", f"{figures}, {runs}: {grouped(unsure, perhaps)}"
    return "holds", _held(claim, numbers, f"{figures}, {runs}")


def _phrases(claim: _Claim) -> tuple[str, str]:
    """What is said of a comparison that refutes the claim, and of one that does not support it."""
    if claim.margin is None:
        other = "below" if claim.side == "above" else "above"
        return f"is significantly {other}", "does not differ significantly from"
    margin = f"{claim.margin:g}{unit(claim.metric)}"
    other = "less" if claim.side == "above" else "more"
    return f"gains significantly {other} than {margin} over", f"may gain {other} than {margin} over"


def _held(claim: _Claim, numbers: Sequence[Comparison], figures: str) -> str:
    """What is said of a claim that holds."""
    if claim.bound is not None:
        return f"{figures}, {claim.side} {claim.bound:g}"
    if claim.margin is None:
        return figures
    if claim.side == "above":
        return f"{figures}, more than {claim.margin:g}{unit(claim.metric)}"
    p = holm([number.difference.below() for number in numbers])
    below = [number for number, one in zip(numbers, p, strict=True) if one is not None and one < ALPHA]
    worse = f"; {grouped(below, 'is significantly below')}" if below else ""
    return f"no gain above {claim.margin:g}{unit(claim.metric)}: {figures}{worse}"


def _absent(claim: _Claim) -> list[str]:
    """What keeps pairs of the claim from being compared."""
    rows = [*claim.rows, *claim.others]
    empty = {row.label: "; ".join(dict.fromkeys(row.missing.values())) for row in rows if not row.runs}
    lines = [f"{label} has no finished run ({why or 'not started'})" for label, why in empty.items()]
    if len(lines) > 2:
        reasons = "; ".join(dict.fromkeys(why or "not started" for why in empty.values()))
        lines = [f"{len(lines)} of {len(rows)} rows have no finished run ({reasons})"]
    bare = [row.label for row in rows if row.runs and not row.values(claim.metric)]
    lines += [f"{label} has no {claim.metric}" for label in bare]
    sets = dict.fromkeys(image_sets([run.record for row in rows for run in row.runs.values()]))
    if claim.others and len(sets) > 1:
        lines.append(f"its rows have different test images: {listing(sets)}")
    return lines
