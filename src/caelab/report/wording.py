"""How a verdict is worded: figures with their intervals, and rows in a sentence."""

import itertools
from collections.abc import Iterable, Sequence

from caelab.metrics.statistics import Difference
from caelab.report.compare import Comparison
from caelab.report.rows import Row


def still_improving(rows: Sequence[Row]) -> list[str]:
    """Say which rows had not converged, in at most one sentence."""
    gains = {row.label: f"{row.gain:+.2f} dB" for row in rows if row.improving}
    if len(gains) > 1:
        named = listing(f"{label} ({gain})" for label, gain in gains.items())
        return [f"{named} were still improving when they ended (gain in the last fifth of their epochs)"]
    return [
        f"{label} was still improving when it ended ({gain} in the last fifth of its epochs)"
        for label, gain in gains.items()
    ]


def gaps(rows: Sequence[Row]) -> list[str]:
    """Name the seeds that rows with other finished runs lack: what failed might have scored differently."""
    found = [(row.label, seed, reason) for row in rows if row.runs for seed, reason in row.missing.items()]
    return [f"{label} has no finished run with seed {seed} ({reason})" for label, seed, reason in found]


def unlike(row: Row) -> list[str]:
    """Say in what the training of a row's runs differed beyond their seeds: arithmetic, or code on the way.

    Each is the end of a sentence, such as ``resumed under other code (seed 1)``.
    """
    speeds: dict[str, list[int]] = {}
    for seed, run in sorted(row.runs.items()):
        speeds.setdefault(" then ".join(run.record.through("speed")), []).append(seed)
    resumed = [seed for seed, run in sorted(row.runs.items()) if len(run.record.through("code")) > 1]
    trained = listing(f"{speed} ({_named(some)})" for speed, some in speeds.items()) if speeds else ""
    differ = len(speeds) > 1 or " then " in trained
    return [
        *([f"trained with {trained}"] if differ else []),
        *([f"resumed under other code ({_named(resumed)})"] if resumed else []),
    ]


def _named(some: Sequence[int]) -> str:
    return f"{'seed' if len(some) == 1 else 'seeds'} {listing(map(str, some))}"


def span(numbers: Sequence[Comparison], metric: str, bound: float | None = None) -> str:
    """Show the only difference, or the smallest and the largest; with a bound the figures themselves."""
    figures = [
        (number.difference, number.label, "+")
        if bound is None
        else (number.difference.plus(bound), number.row, "")
        for number in numbers
    ]
    ordered = sorted(figures, key=lambda figure: figure[0].mean)
    if len(ordered) == 1:
        return _shown(ordered[0][0], metric, ordered[0][2])
    return " to ".join(
        f"{_shown(end, metric, sign)} ({name})" for end, name, sign in (ordered[0], ordered[-1])
    )


def _shown(difference: Difference, metric: str, sign: str) -> str:
    digits = 2 if unit(metric) else 3
    mean = f"{difference.mean:{sign}z.{digits}f}{unit(metric)}"
    if difference.low is None or difference.high is None:
        return mean
    return f"{mean} [{difference.low:z.{digits}f}, {difference.high:z.{digits}f}]"


def chance(p: float | None) -> str:
    """Show a p value; empty where there is none."""
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def unit(metric: str) -> str:
    """Return the unit of a metric as it follows a number."""
    return " dB" if "psnr" in metric else ""


def seeds(numbers: Sequence[Comparison]) -> str:
    """Say over how many seeds."""
    least, most = min(n.difference.n for n in numbers), max(n.difference.n for n in numbers)
    return (f"{least} to {most}" if least < most else str(most)) + (" seed" if most == 1 else " seeds")


def grouped(numbers: Sequence[Comparison], verb: str) -> str:
    """Such as ``adam is below sgd and rmsprop; adamax is below sgd``."""
    return "; ".join(
        f"{row} {verb} {listing(number.other for number in group)}"
        for row, group in itertools.groupby(numbers, key=lambda number: number.row)
    )


def listing(words: Iterable[str]) -> str:
    """Such as ``a, b and c``."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
