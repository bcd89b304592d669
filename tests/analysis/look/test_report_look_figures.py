"""What stands in the pictures of a look."""

import matplotlib.colors
import numpy as np
import pytest

from caelab.analysis.look import figures


def shown(axes):
    return np.asarray(axes.images[0].get_array())


def texts(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 13, 17)])
def test_reconstructions_show_originals_results_and_errors(shape):
    rng = np.random.default_rng(0)
    x, x_hat = rng.random((2, 2, *shape))
    x_hat[1] = x[1]
    figure = figures.reconstructions("title", {"best": (x, x_hat, np.array([12.34, 100]))})
    above, middle, below = figure.axes
    height, width = shape[1:]
    assert [axes.get_ylabel() for axes in figure.axes][:2] == ["best", "reconstruction"]
    assert texts(middle) == ["12.3 dB", "100.0 dB"]
    first = shown(above)[:, :width].reshape(height, width, -1)
    np.testing.assert_allclose(first, 255 * x[0].transpose(1, 2, 0), atol=0.5)
    error = np.abs(x_hat - x).mean(1)
    assert below.get_ylabel() == f"error\nblack: {255 * error.max():.0f} of 255"
    strip = shown(below).reshape(height, -1)
    np.testing.assert_allclose(strip[:, :width], 255 * (1 - error[0] / error.max()), atol=0.5)
    assert strip[:, :width].min() == 0
    assert (strip[:, -width:] == 255).all()


def test_perfect_reconstructions_have_white_errors():
    x = np.full((1, 1, 4, 4), 0.5)
    figure = figures.reconstructions("title", {"best": (x, x, np.array([100.0]))})
    assert (shown(figure.axes[2]) == 255).all()


def test_walks_have_their_steps_below_the_last_row():
    images = np.linspace(0, 1, 6).reshape(2, 3, 1, 1, 1) * np.ones((1, 1, 1, 5, 5))
    figure = figures.walks("title", ["one", "two\nlines"], images, ["-1", "0", "+1"])
    assert [axes.get_ylabel() for axes in figure.axes] == ["one", "two\nlines"]
    assert texts(figure.axes[0]) == ["", "", ""]
    assert texts(figure.axes[1]) == ["-1", "0", "+1"]
    values = [shown(axes)[0, place] for axes in figure.axes for place in (0, 7, 14)]
    assert values == [0, 51, 102, 153, 204, 255]


def test_tiles_fill_rows_and_leave_the_rest_white():
    figure = figures.tiles("title", np.zeros((figures.COLUMNS + 1, 3, 4, 4)), [str(k) for k in range(9)])
    first, second = figure.axes
    assert texts(first) == ["0", "1", "2", "3", "4", "5", "6", "7"]
    assert texts(second) == ["8", *[""] * 7]
    assert (shown(second)[:, :4] == 0).all()
    assert (shown(second)[:, 4:] == 255).all()


def test_sixty_four_classes_look_different():
    styles = [tuple(figures.class_style(label).values()) for label in range(64)]
    assert len(set(styles)) == 64
    assert len({marker for _, marker in styles[:8]}) == 8
    assert len({colour for colour, _ in styles[:8]}) == 8


def test_the_map_has_each_class_where_it_is():
    points = np.arange(12.0).reshape(6, 2)
    labels = np.array([2, 9, 2, 9, 9, 2])
    figure = figures.scatter("title", points, labels, {2: "cat", 9: "dog"})
    found = {one.get_label(): one for one in figure.axes[0].collections}
    assert found["cat"].get_offsets().tolist() == points[[0, 2, 5]].tolist()
    assert found["dog"].get_offsets().tolist() == points[[1, 3, 4]].tolist()
    colours = [matplotlib.colors.to_hex(found[name].get_facecolor()[0]).upper() for name in ("cat", "dog")]
    assert colours == [figures.class_style(label)["color"] for label in (2, 9)]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["cat", "dog"]


def test_a_map_of_many_classes_names_the_first_ones():
    points, labels = np.arange(200.0).reshape(100, 2), np.arange(100)
    figure = figures.scatter("title", points, labels, {label: f"class {label}" for label in labels.tolist()})
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["76 more classes", *(f"class {label}" for label in range(24))]
    grey, *_ = figure.axes[0].collections
    assert grey.get_offsets().tolist() == points[24:].tolist()
    assert len(figure.axes[0].collections) == 25


def test_usage_shows_deviations_variance_and_effects():
    figure = figures.usage(
        "title",
        deviations=np.array([1.0, 4.0, 0.0]),
        effects=np.array([3.0, 0.0, 2.0]),
        axes=np.array([6.0, 3.0, 1.0]),
        dimension=2.2,
        limits=(0.04, 0.5),
    )
    left, middle, right = figure.axes
    assert left.lines[0].get_ydata().tolist() == [4, 1, 0.04 / 5]
    assert left.lines[1].get_ydata()[0] == 0.04
    np.testing.assert_allclose(middle.lines[0].get_ydata(), [0, 60, 90, 100])
    assert middle.lines[1].get_xdata()[0] == 2.2
    np.testing.assert_allclose(right.collections[0].get_offsets(), [[1, 3], [4, 0.01], [0.008, 2]])
    assert right.get_ylabel() == "effect (grey levels of 255)"
