"""The picture of what each path alone reconstructs: which rows it has, and which pictures in which place."""

import numpy as np
import pytest
import toys
from skimage.metrics import peak_signal_noise_ratio

from caelab.plotting.strips import Strip, strips
from caelab.report import figures
from caelab.report.pictures import below_the_given
from caelab.report.rows import Row, Run, Section
from caelab.report.sprites import sprites
from caelab.runs import results

FIGURES = {"audit/latent_reliance": 0.1, "audit/psnr_mean_skips": 12.0}


@pytest.fixture
def row(tmp_path):
    """A row whose first seed was audited, with pictures of so many classes."""

    def make(label, count=7, originals=0, keys=FIGURES, kept=True):
        path = tmp_path / label
        path.mkdir()
        record = toys.exact(metrics={"test/psnr": 20.0}, artifacts={})
        results.write_analysis(path, "audit", record, {"figures": keys})
        dice = np.random.default_rng(originals)
        x = dice.integers(0, 256, (count, 3, 6, 6), dtype=np.uint8)
        parts = {name: np.roll(x, shift, axis=2) for name, shift in (("latent", 1), ("skips", 2))}
        if kept:
            np.savez(path / "audit.npz", originals=x, everything=x, **parts)
        return Row(label, "cifar10", runs={3: Run(path, record), 5: Run(tmp_path / "none", record)}), x, parts

    return make


def section(*rows):
    return Section("s", "A title", "", "cifar10", rows)


def shown(axes, column):
    return np.array(axes.images[0].get_array())[:, 8 * column : 8 * column + 6].transpose(2, 0, 1)


def test_latent_alone_stands_left_and_skips_alone_right(row):
    (one, x, parts), (other, _, _) = row("one"), row("other")
    figure = figures.paths(section(one, other))
    assert [axes.get_ylabel() for axes in figure.axes] == ["original", "", "one", "", "other", ""]
    assert [axes.get_title() for axes in figure.axes[:2]] == ["latent alone", "skips alone"]
    for axes, part in zip(figure.axes[2:4], ("latent", "skips"), strict=True):
        assert axes.images[0].get_array().shape[1] == 5 * 6 + 4 * 2  # five of seven classes
        for column in range(5):
            assert np.array_equal(shown(axes, column), parts[part][column])
        texts = [text.get_text() for text in axes.get_xticklabels()]
        expected = [peak_signal_noise_ratio(a, b) for a, b in zip(x[:5], parts[part][:5], strict=True)]
        assert texts == [f"{value:.1f} dB" for value in expected]
    assert all(np.array_equal(shown(axes, 4), x[4]) for axes in figure.axes[:2])


def test_rows_without_skips_or_audit_or_with_other_originals_are_left_out(row):
    honest = row("honest", keys={"audit/latent_reliance": 1.0})[0]
    rows = [honest, row("one")[0], row("other", originals=1)[0], row("lost", kept=False)[0]]
    figure = figures.paths(section(*rows, Row("not run", "cifar10")))
    assert [axes.get_ylabel() for axes in figure.axes] == ["original", "", "one", ""]
    assert figures.paths(section(honest, Row("not run", "cifar10"))) is None


def test_a_damaged_file_is_named_and_left_out(row, capsys):
    broken = row("one")[0]
    path = broken.runs[3].path / "audit.npz"
    path.write_bytes(path.read_bytes()[:100])
    figure = figures.paths(section(broken, row("other")[0]))
    assert [axes.get_ylabel() for axes in figure.axes] == ["original", "", "other", ""]
    (line,) = capsys.readouterr().err.splitlines()
    assert "audit.npz is damaged" in line
    assert line.endswith("and left out; audit the run again")


@pytest.mark.parametrize(
    "images", [np.zeros((2, 3, 4), np.uint8), np.zeros((2, 3, 4, 4)), np.zeros((2, 5, 4, 4), np.uint8)]
)
def test_what_is_no_row_of_pictures_is_named(row, images, capsys):
    odd = row("one")[0]
    np.savez(odd.runs[3].path / "audit.npz", originals=images, latent=images, skips=images)
    assert figures.paths(section(odd)) is None
    assert "audit.npz is damaged (originals is an array " in capsys.readouterr().err


def test_pictures_of_another_number_are_left_out(row, capsys):
    odd = row("one")[0]
    one, three = (np.zeros((count, 3, 6, 6), np.uint8) for count in (1, 3))
    np.savez(odd.runs[3].path / "audit.npz", originals=one, latent=three, skips=one)
    assert figures.paths(section(odd)) is None
    assert "audit.npz is damaged (latent is an array " in capsys.readouterr().err


def test_strips_of_many_pictures_show_the_first_ones_and_say_so():
    images, texts = np.zeros((30, 1, 6, 6), np.uint8), [f"{n} dB" for n in range(30)]
    figure = strips("", [Strip("original", images, [""] * 30), Strip("base", images, texts)])
    assert [axes.get_ylabel() for axes in figure.axes] == ["original\n(first 12 of 30)", "base"]
    assert [text.get_text() for text in figure.axes[1].get_xticklabels()] == texts[:12]


@pytest.mark.parametrize("count", [1, 3, 10])
def test_no_name_at_the_left_is_cut(count):
    images = np.zeros((count, 1, 6, 6), np.uint8)
    figure = strips("", [Strip("base, model.latent=16, x", images, [""] * count)])
    figure.draw_without_rendering()
    assert figure.axes[0].yaxis.label.get_window_extent().x0 >= 0


def test_rows_stand_below_what_they_were_given():
    x, noisy, dark = (np.full((1, 1, 2, 2), value) for value in (3, 2, 1))
    made = {
        name: np.full((1, 1, 2, 2), value) for name, value in (("a", 10), ("b", 11), ("c", 12), ("d", 13))
    }
    given = {"a": noisy, "b": x, "c": noisy, "d": dark}
    rows = below_the_given(x, {name: (given[name], made[name]) for name in made})
    names = ["given to\na", "a", "c", "b", "given to\nd", "d"]
    assert list(rows) == names
    assert [int(images.max()) for images in rows.values()] == [2, 10, 12, 11, 1, 13]
    assert list(below_the_given(x, {"a": (noisy, made["a"])})) == ["corrupted", "a"]


@pytest.mark.parametrize("label", ["original", "corrupted"])
def test_a_row_takes_no_place_of_a_given_picture(label):
    x, noisy, made = (np.full((1, 1, 2, 2), value) for value in (3, 2, 1))
    rows = {"original": x, **below_the_given(x, {label: (noisy, made)})}
    found = {name: int(images.max()) for name, images in rows.items()}
    assert found == {"original": 3, "corrupted": 2, f"{label} (2)": 1}


def test_pictures_that_are_too_wide_for_webp_side_by_side_are_fewer():
    images = np.zeros((10, 3, 4, 1_700), np.uint8)
    shown = sprites({"original": images, "base": images})
    assert (shown["count"], shown["width"], shown["height"]) == (5, 1_700, 4)
    wide = sprites({"original": np.zeros((2, 1, 8, 20_000), np.uint8)})
    assert (wide["count"], wide["width"], wide["height"]) == (1, 10_000, 4)
