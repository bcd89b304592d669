"""What the published report claims, held against the runs.

A study's YAML lists its claims in one of three forms::

    {text: "improved beats base", better: [improved], than: [base]}
    {text: "Adam and Adamax beat the rest", better: [adam, adamax], than: others, metric: test/ssim}
    {text: "internal skips bring nothing", no_gain: others, over: [base], margin: 0.3, where: [cifar10]}
    {text: "skips bypass the latent", rows: [improved_skip], below: 0.5, metric: test/latent_reliance}

Rows are named by their labels; ``others`` is every trained row that is not on the other side. ``metric`` is
one of ``METRICS``, by default test/psnr; ``margin`` and ``below``, or ``above``, are in its unit. ``where``
names the datasets that the claim is about; without it, it is about all of the study's.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from caelab.errors import UserError
from caelab.mistakes import nearest
from caelab.report.rows import Row, Section
from caelab.report.statistics import MIN_SEEDS, Difference, against, holm, paired
from caelab.report.wording import gaps, grouped, listing, seeds, span, still_improving, unit

METRICS = [
    *(
        "test/psnr",
        "test/psnr_pooled",
        "test/ssim",
        "published/psnr",
        "published/ssim",
        "test/latent_reliance",
    ),
    *("probe/z/linear", "probe/z/knn", "probe/z/disentanglement", "probe/z/mig"),
    *(
        "segment/decoder/iou",
        "segment/reconstruction/foreground",
        "gradients/start_ratio",
        "gradients/end_ratio",
    ),
    *("anomaly/auroc_error", "rate/psnr_over_jpeg", "refine/psnr", "refine/gain", "rate/bits_per_number"),
]
"""What a claim can be about: figures of which more is better, but for the last, which is for bounds."""

Word = Literal["holds", "contradicted", "undecided", "not measured"]

_ALPHA = 0.05
_DISPLAY = {"mnist": "MNIST", "cifar10": "CIFAR-10", "cinic10": "CINIC-10"}


@dataclass(frozen=True)
class Comparison:
    """Two rows of a claim.

    Attributes:
        row: label of the row of which the claim speaks.
        other: label of the row that it is compared with, or the bound as text.
        difference: ``row - other`` over their seeds, in the metric's unit, with a 95 % interval.
        p: two-sided p value, Holm-adjusted over the claim's comparisons; None with fewer than 2 seeds.
    """

    row: str
    other: str
    difference: Difference
    p: float | None

    @property
    def label(self) -> str:
        """Such as ``improved against base``."""
        return f"{self.row} against {self.other}"

    @property
    def sign(self) -> int:
        """1 where ``row`` is significantly above ``other``, -1 where it is below, else 0."""
        if self.p is None or self.p >= _ALPHA:
            return 0
        return 1 if self.difference.mean > 0 else -1


@dataclass(frozen=True)
class Verdict:
    """What the runs say of a claim on one dataset.

    Attributes:
        claim: its text.
        dataset: option of the dataset group.
        word: the verdict.
        sentence: the verdict with its figures, in one sentence without a full stop.
        numbers: every comparison behind it that has been measured.
        caveats: what to bear in mind, each a sentence without a full stop.
    """

    claim: str
    dataset: str
    word: Word
    sentence: str
    numbers: list[Comparison]
    caveats: list[str]

    @property
    def words(self) -> str:
        """The sentence and its caveats, with their full stops."""
        return ". ".join([self.sentence, *self.caveats]) + "."


@dataclass(frozen=True)
class _Claim:
    """A claim as read: each row beats each of the others or, with a margin, gains no more than that.

    With a bound there are no others: each row lies on that side of it, ``above`` or ``below``.
    """

    text: str
    metric: str
    rows: list[Row]
    others: list[Row]
    margin: float | None = None
    bound: float | None = None
    side: Literal["above", "below"] = "above"


def verdicts(section: Section) -> list[Verdict]:
    """Judge the claims of a section that are about its dataset, in their order.

    ``better`` holds where each row is significantly above each other one, and is contradicted where one is
    significantly below. ``no_gain`` holds where every 95 % interval lies below the margin, and is
    contradicted where a gain is significant and larger than the margin. ``below`` and ``above`` hold where
    each row is significantly on that side of the bound, and are contradicted where one is on the other.
    Significant means a p below 0.05, Holm-adjusted over all pairs of the claim. With fewer than 3 seeds a
    claim is undecided.

    Raises:
        UserError: a claim in the study's YAML has wrong keys, or names a row or metric that there is not.
    """
    return [
        _verdict(_read(section, claim), section.dataset)
        for claim in section.claims
        if section.dataset in claim.get("where", [section.dataset])
    ]


def display(dataset: str) -> str:
    """Name of a dataset for readers, such as ``CIFAR-10``; the option itself where there is no other."""
    return _DISPLAY.get(dataset, dataset)


def _read(section: Section, claim: Mapping[str, Any]) -> _Claim:
    text = str(claim.get("text", "")).rstrip(".")
    here = f"study {section.study}, claim {text!r}"
    metric = str(claim.get("metric", METRICS[0]))
    if metric not in METRICS:
        raise UserError(f"{here}: metric is {metric!r}; it must be one of {', '.join(METRICS)}")
    match sorted(set(claim) - {"metric", "where"}):
        case ["better", "text", "than"]:
            return _Claim(text, metric, *_sides(section, [claim["better"], claim["than"]], here))
        case ["margin", "no_gain", "over", "text"]:
            sides = _sides(section, [claim["no_gain"], claim["over"]], here)
            return _Claim(text, metric, *sides, margin=_number(claim, "margin", here))
        case [("above" | "below") as side, "rows", "text"]:
            rows = _named(section, claim["rows"], here)
            return _Claim(text, metric, rows, [], bound=_number(claim, side, here), side=side)
        case keys:
            raise UserError(
                f"{here} has the keys {', '.join(keys)}; it must have text, better and than, or text, "
                "no_gain, over and margin, or text, rows and below or above; metric and where may be added"
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
    word, detail = _judge(claim, numbers)
    involved = [*claim.rows, *claim.others]
    sentence = f"{claim.text} on {display(dataset)}: {word}, {detail}"
    return Verdict(claim.text, dataset, word, sentence, numbers, still_improving(involved) + gaps(involved))


def _judge(claim: _Claim, numbers: Sequence[Comparison]) -> tuple[Word, str]:
    absent = _absent(claim, numbers)
    if absent:
        return "not measured", listing(absent)
    found, runs = span(numbers, claim.metric, claim.bound), seeds(numbers)
    if min(number.difference.n for number in numbers) < MIN_SEEDS:
        return "undecided", f"{found} ({runs}: no verdict)"
    if claim.bound is not None:
        return _bounded(numbers, f"{found}, {runs}", claim.side)
    if claim.margin is not None:
        return _no_gain(numbers, f"{found}, {runs}", claim.margin, unit(claim.metric))
    return _better(numbers, f"{found}, {runs}")


def _compare(claim: _Claim) -> list[Comparison]:
    """Every pair of the claim that shares a seed, or one of which is a floor; or each row and the bound."""
    pairs = [
        (a.label, b.label, _difference(a, b, claim.metric))
        for a, b in itertools.product(claim.rows, claim.others)
        if a.values(claim.metric) and b.values(claim.metric)
    ]
    if claim.bound is not None:
        found = [(row.label, list(row.values(claim.metric).values())) for row in claim.rows]
        pairs = [(label, f"{claim.bound:g}", against(values, claim.bound)) for label, values in found]
    pairs = [pair for pair in pairs if pair[-1].n]
    adjusted = holm([1.0 if difference.p is None else difference.p for _, _, difference in pairs])
    return [
        Comparison(a, b, difference, None if difference.p is None else p)
        for (a, b, difference), p in zip(pairs, adjusted, strict=True)
    ]


def _difference(a: Row, b: Row, metric: str) -> Difference:
    x, y = a.values(metric), b.values(metric)
    if b.floor and y:
        return against(list(x.values()), fmean(y.values()))
    if a.floor and x:
        return against([-value for value in y.values()], -fmean(x.values()))
    return paired(x, y)


def _better(numbers: Sequence[Comparison], found: str) -> tuple[Word, str]:
    below = [n for n in numbers if n.sign < 0]
    alike = [n for n in numbers if n.sign == 0]
    if below:
        return "contradicted", f"{found}: {grouped(below, 'is significantly below')}"
    if alike:
        return "undecided", f"{found}: {grouped(alike, 'cannot be told from')}"
    return "holds", found


def _bounded(numbers: Sequence[Comparison], found: str, side: str) -> tuple[Word, str]:
    towards = 1 if side == "above" else -1
    beyond = [n for n in numbers if n.sign == -towards]
    alike = [n for n in numbers if n.sign == 0]
    if beyond:
        other = "below" if side == "above" else "above"
        return "contradicted", f"{found}: {grouped(beyond, f'is significantly {other}')}"
    if alike:
        return "undecided", f"{found}: {grouped(alike, 'cannot be told from')}"
    return "holds", f"{found}, {side} {numbers[0].other}"


def _no_gain(numbers: Sequence[Comparison], found: str, margin: float, unit: str) -> tuple[Word, str]:
    above = [n for n in numbers if n.sign > 0 and n.difference.mean > margin]
    unsure = [n for n in numbers if n.difference.high is None or n.difference.high >= margin]
    below = [n for n in numbers if n.sign < 0]
    bound = f"{margin:g}{unit}"
    if above:
        return "contradicted", f"{found}: {grouped(above, 'is significantly above')}"
    if unsure:
        return "undecided", f"{found}: {grouped(unsure, f'may gain more than {bound} over')}"
    worse = f"; {grouped(below, 'is significantly below')}" if below else ""
    return "holds", f"no gain above {bound}: {found}{worse}"


def _absent(claim: _Claim, numbers: Sequence[Comparison]) -> list[str]:
    """What keeps pairs of the claim from being compared."""
    rows = [*claim.rows, *claim.others]
    empty = {row.label: "; ".join(dict.fromkeys(row.missing.values())) for row in rows if not row.runs}
    measured = {(number.row, number.other) for number in numbers}
    lines = [f"{label} has no finished run ({why or 'not started'})" for label, why in empty.items()]
    if len(lines) > 2:
        reasons = "; ".join(dict.fromkeys(why or "not started" for why in empty.values()))
        lines = [f"{len(lines)} of {len(rows)} rows have no finished run ({reasons})"]
    bare = [row.label for row in rows if row.runs and not row.values(claim.metric)]
    lines += [f"{label} has no {claim.metric}" for label in bare]
    return lines + [
        f"{a.label} and {b.label} share no seed"
        for a, b in itertools.product(claim.rows, claim.others)
        if a.runs and b.runs and not {a.label, b.label} & {*bare} and (a.label, b.label) not in measured
    ]
