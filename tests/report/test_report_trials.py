"""The figure of a search: its points, its best so far, and its importances."""

from dataclasses import replace

import pytest
from matplotlib.lines import Line2D

from caelab.report import trials
from caelab.report.rows import Section
from caelab.runs.record import SearchRecord, TrialRecord

HISTORY = [
    TrialRecord(0, "finished", {}, 20.0, 3),
    TrialRecord(1, "failed", {}, None, 0),
    TrialRecord(2, "pruned", {}, 15.0, 1),
    TrialRecord(3, "finished", {}, 19.0, 3),
    TrialRecord(4, "finished", {}, 22.0, 3),
]
FOUND = SearchRecord(
    name="toy",
    study="toy",
    label="found",
    dataset="shapes",
    space={},
    trials=4,
    epochs=3,
    history=HISTORY,
    best=None,
    importance={"optimizer.lr": 0.9, "model.blocks": 0.1},
)


def drawn(found):
    section = Section("toy", "A toy", "", "shapes", [], searches={"found": found})
    return trials.search(section, "found")


def lines(axes):
    """Label -> points of each line."""
    of = [line for line in axes.get_lines() if isinstance(line, Line2D)]
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in of}


def test_trials_and_importances_are_drawn():
    history, shares = drawn(FOUND).axes
    assert lines(history) == {
        "finished trial": ([0, 3, 4], [20.0, 19.0, 22.0]),
        "best so far": ([0, 3, 4], [20.0, 20.0, 22.0]),
        "pruned, at its last epoch": ([2], [15.0]),
    }
    assert [bar.get_width() for bar in shares.patches] == [0.1, 0.9]  # the largest on top
    assert [tick.get_text() for tick in shares.get_yticklabels()] == ["model.blocks", "optimizer.lr"]


@pytest.mark.parametrize("history", [HISTORY[:1], HISTORY[2:3], []])
def test_a_search_that_has_begun_has_no_importances(history):
    (axes,) = drawn(replace(FOUND, history=history, importance={})).axes
    assert sum(len(x) for label, (x, _) in lines(axes).items() if label != "best so far") == len(history)


def test_the_caption_says_what_was_spent():
    text = trials.caption(FOUND)
    assert text.startswith(
        "the search for found: 4 of 4 trials of 3 epochs, 1 of them pruned, 10 epochs in all"
    )
