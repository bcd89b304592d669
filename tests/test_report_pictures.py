"""The picture of what each path alone reconstructs: which rows it has, and which pictures in which place."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from caelab import results
from caelab.errors import UserError
from caelab.report import figures
from caelab.report.rows import Row, Run, Section

FIGURES = {"audit/latent_reliance": 0.1, "audit/psnr_mean_skips": 12.0}


@pytest.fixture
def row(tmp_path):
    """A row whose first seed was audited, with pictures of so many classes."""

    def make(label, count=7, originals=0, keys=FIGURES, kept=True):
        path = tmp_path / label
        path.mkdir()
        record = {"fingerprint": "f", "finished": "now", "metrics": {"test/psnr": 20.0}, "artifacts": {}}
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


def test_a_damaged_file_is_named(row):
    broken = row("one")[0]
    path = broken.runs[3].path / "audit.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"audit\.npz is damaged .*audit the run again"):
        figures.paths(section(broken))


@pytest.mark.parametrize(
    "images", [np.zeros((2, 3, 4), np.uint8), np.zeros((2, 3, 4, 4)), np.zeros((2, 5, 4, 4), np.uint8)]
)
def test_what_is_no_row_of_pictures_is_named(row, images):
    odd = row("one")[0]
    np.savez(odd.runs[3].path / "audit.npz", originals=images, latent=images, skips=images)
    with pytest.raises(UserError, match=r"audit\.npz is damaged \(originals is an array "):
        figures.paths(section(odd))
