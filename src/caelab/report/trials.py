"""The figure of a search: what each trial reached, and which keys mattered."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from caelab.metrics.measures import score
from caelab.plotting.style import COLOURS, legend, sheet, styled
from caelab.report.rows import Section, titled
from caelab.runs.columns import column
from caelab.runs.record import SearchRecord


def caption(found: SearchRecord) -> str:
    """Say what a search was given and what it spent."""
    states = [trial.state for trial in found.history]
    spent = sum(trial.epochs for trial in found.history)
    done = len(states) - states.count("failed")
    pruned = f", {states.count('pruned')} of them pruned" if "pruned" in states else ""
    budget = f"{done} of {found.trials} trials of {found.epochs} epochs{pruned}, {spent} epochs in all"
    return (
        f"the search for {found.label}: {budget}, on validation with a seed of their own; importance is a "
        f"key's share of the variance of {_name(found)} over the finished trials (fANOVA)"
    )


def _name(found: SearchRecord) -> str:
    return column(found.select).title.removesuffix(" (dB)")


@styled
def search(section: Section, label: str) -> Figure:
    """Draw what each trial reached on validation with the best so far, and the importance of each key.

    Dot: a finished trial. Cross: one that ended early, at its last epoch. Line: best finished so far.
    A search that is not complete has no importances yet.

    Args:
        section: with the search.
        label: of the row that was searched for.
    """
    found = section.searches[label]
    shares = dict(sorted(found.importance.items(), key=lambda pair: pair[1]))
    figure = sheet(titled(f"Search for {label}", section), max(2.6, 0.8 + 0.3 * len(shares)))
    panels = figure.subplots(1, 2, width_ratios=[3, 2]) if shares else [figure.subplots()]
    _history(panels[0], found)
    if shares:
        panels[1].barh(list(shares), list(shares.values()), color=COLOURS[0], height=0.6)
        panels[1].set_xlim(0, 1)
        panels[1].set_xlabel("importance (share of variance)")
        panels[1].grid(visible=False, axis="y")
    legend(figure, panels[0])
    return figure


def _history(axes: Axes, found: SearchRecord) -> None:
    known = [trial for trial in found.history if trial.value is not None]
    finished = [(t.number, t.value) for t in known if t.state == "finished"]
    pruned = [(t.number, t.value) for t in known if t.state == "pruned"]
    if finished:
        numbers, values = zip(*finished, strict=True)
        best = [
            max(values[: position + 1], key=lambda value: score(found.select, value))
            for position in range(len(values))
        ]
        axes.plot(numbers, values, "o", ms=4.5, color=COLOURS[0], label="finished trial")
        axes.step(numbers, best, where="post", color=COLOURS[1], lw=1.4, label="best so far")
    if pruned:
        axes.plot(*zip(*pruned, strict=True), "x", ms=5, color="#777777", label="pruned, at its last epoch")
    axes.set_xlabel("trial")
    axes.set_ylabel(column(found.select).title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
