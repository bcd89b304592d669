"""The picture of a probe: dots where the accuracies are, and the share of each true class in the matrix."""

import numpy as np
import pytest

from caelab.analysis.probe.picture import draw


def score(accuracy):
    return {"accuracy": accuracy, "low": accuracy - 0.02, "high": accuracy + 0.03}


@pytest.fixture
def analysis():
    scores = {"linear": score(0.5), "knn": score(0.4), "linear_10pct": score(0.3), "knn_10pct": score(0.2)}
    other = {name: score(one["accuracy"] + 0.1) for name, one in scores.items() if "pct" not in name}
    confusion = [[30, 10, 0], [5, 5, 10], [0, 0, 0]]
    return {
        "features": {
            "z": {"numbers": 8, "scores": scores, "confusion": confusion},
            "pixels": {"numbers": 3072, "scores": other, "confusion": confusion},
        },
        "classes": ["cat", "dog", "never seen"],
        "chance": 0.25,
    }


def drawn(axes):
    """Name in the legend -> (x, y) of its dots and their lower and upper ends."""
    found = {}
    for container, name in zip(*axes.get_legend_handles_labels(), strict=True):
        dots, _, (bars,) = container.lines
        ends = np.array([segment[:, 0] for segment in bars.get_segments()])
        found[name] = (dots.get_xdata(), dots.get_ydata(), ends)
    return found


def test_dots_are_the_accuracies_and_reach_to_their_intervals(analysis):
    left, _ = draw(analysis, "a run").axes
    found = drawn(left)
    assert set(found) == {
        *("linear", "linear, 10 % of the labels"),
        *("10 nearest neighbours", "10 nearest neighbours, 10 % of the labels"),
    }
    x, y, ends = found["10 nearest neighbours"]
    assert x == pytest.approx([40, 50])
    assert [round(place) for place in y] == [0, 1]
    assert ends == pytest.approx(np.array([[38, 43], [48, 53]]))
    assert found["linear, 10 % of the labels"][0] == pytest.approx([30])
    assert left.get_xlabel().endswith("commonest class: 25.0")
    assert [label.get_text() for label in left.get_yticklabels()] == ["z (8)", "pixels (3,072)"]


def test_cells_are_shares_of_the_true_class(analysis):
    _, right = draw(analysis, "a run").axes
    texts = {text.get_position(): text.get_text() for text in right.texts}
    assert texts == dict(
        zip(np.ndindex(3, 3), ["75", "25", "0", "25", "25", "0", "0", "50", "0"], strict=True)
    )
    assert [label.get_text() for label in right.get_yticklabels()] == analysis["classes"]


def test_many_classes_have_no_figures_in_their_cells(analysis):
    analysis["classes"] = [f"class {label}" for label in range(20)]
    analysis["features"]["z"]["confusion"] = np.eye(20, dtype=int).tolist()
    _, right = draw(analysis, "a run").axes
    assert len(right.texts) == 0
    assert right.images[0].get_array().sum() == 2000
