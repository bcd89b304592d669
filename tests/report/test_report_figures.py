"""Figures of the report: what was drawn where, computed by hand; equal files for equal records."""

import csv
import itertools
import math

import matplotlib.image
import numpy as np
import pytest
import toys
from matplotlib.colors import to_hex
from matplotlib.text import Text
from scipy import stats
from skimage.metrics import peak_signal_noise_ratio

from caelab.analysis.rate.published import numbers
from caelab.plotting import style
from caelab.report import figures, plots
from caelab.report.pictures import collected
from caelab.report.rows import Row, Run, Section, heading

FRONT = "honest frontier: none is cheaper and better"
PSNR = {"base": [20.0, 21.0, 22.5], "improved": [23.0, 23.5]}


def run(path, psnr=20.0, ssim=0.5, code=8, seconds=3.0, curves=None, images=None, reliance=1.0, bits=None):
    path.mkdir(parents=True, exist_ok=True)
    artifacts = {"curves": "metrics.csv"}
    if curves:
        with (path / "metrics.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["epoch", *curves])
            table.writerows(
                [epoch, *values] for epoch, values in enumerate(zip(*curves.values(), strict=True))
            )
    if images:
        artifacts["images"] = "reconstructions.npz"
        np.savez(path / "reconstructions.npz", originals=images[0], reconstructions=images[1])
    metrics = {"test/psnr": psnr, "test/ssim": ssim}
    metrics |= {} if reliance is None else {"test/latent_reliance": reliance}
    metrics |= {} if bits is None else {"test/bits": bits}
    size, time = {"effective_code": code, "input_numbers": 100}, {"fit_seconds": seconds}
    return Run(path, toys.exact(metrics=metrics, size=size, time=time, artifacts=artifacts))


@pytest.fixture
def row(tmp_path):
    def make(label, *psnr, floor=False, settings=(), published=(), **given):
        runs = {seed: run(tmp_path / label / str(seed), value, **given) for seed, value in enumerate(psnr)}
        return Row(label, "cifar10", floor, dict(settings), runs, {}, dict(published))

    return make


def drawn_grid(one):
    return figures.grid(heading(one), collected(one))


def section(*rows, **given):
    return Section("s", "A title", "", "cifar10", rows, **given)


def lines(axes):
    """Label -> the points of each line or interval that has one."""
    found = {one.get_label(): one.lines[0] for one in axes.containers}
    found |= {one.get_label(): one for one in axes.lines if not one.get_label().startswith("_")}
    return {label: np.array(one.get_xydata(), dtype=float) for label, one in found.items()}


def entries(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def half_width(values):
    n = len(values)
    return stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n)


def test_bars_put_means_seeds_floors_and_published_figures_where_they_belong(row):
    rows = [row(label, *psnr) for label, psnr in PSNR.items()]
    rows += [row("other", 19.0, published={"psnr": 18.5}), row("PCA", 26.0, floor=True, ssim=0.75)]
    figure = figures.bars(section(*rows))
    left, right = figure.axes
    drawn = lines(left)
    mean, seeds, report = "mean over seeds, 95 % t interval", "one seed", "report (ten images)"
    assert drawn[mean] == pytest.approx(np.array([[63.5 / 3, 0], [23.25, 1], [19, 2]]))
    assert drawn[seeds][:, 0].tolist() == [*PSNR["base"], *PSNR["improved"], 19]
    assert drawn[seeds][:, 1].tolist() == [0.25, 0.25, 0.25, 1.25, 1.25, 2.25]
    assert drawn[report].tolist() == [[18.5, 2]]
    assert drawn["floor: PCA"][:, 0].tolist() == [26, 26]
    assert lines(right)["floor: PCA"][:, 0].tolist() == [0.75, 0.75]
    assert lines(right)[mean][:, 0].tolist() == [0.5, 0.5, 0.5]
    assert report not in lines(right)
    assert [text.get_text() for text in left.get_yticklabels()] == ["base", "improved", "other"]
    assert left.get_ylim() == (2.5, -0.5)
    assert (left.get_xlabel(), right.get_xlabel()) == ("test PSNR (dB)", "test SSIM")
    assert sorted(entries(figure)) == sorted([mean, seeds, report, "floor: PCA"])
    assert figure.get_suptitle() == "Test PSNR and SSIM, CIFAR-10"


def test_a_long_word_is_broken_into_lines(row):
    label = "x" * 60
    figure = figures.bars(section(row(label, 20.0)))
    (name,) = figure.axes[0].get_yticklabels()
    assert name.get_text() == "\n".join(("x" * 28, "x" * 28, "xxxx"))


def test_a_dozen_floors_look_different():
    looks = {(style.floor_style(i)["color"], str(style.floor_style(i)["linestyle"])) for i in range(12)}
    assert len(looks) == 12


def test_intervals_are_those_of_student_and_none_for_one_seed(row):
    rows = [row(label, *psnr) for label, psnr in PSNR.items()] + [row("other", 19.0)]
    (bars,) = figures.bars(section(*rows)).axes[0].containers[0].lines[2]
    *known, unknown = bars.get_segments()
    for ends, psnr in zip(known, PSNR.values(), strict=True):
        assert ends[:, 0] == pytest.approx(
            [np.mean(psnr) - half_width(psnr), np.mean(psnr) + half_width(psnr)]
        )
    assert unknown.size == 0


def test_a_row_without_runs_keeps_its_place(row):
    left, _ = figures.bars(section(row("a", published={"psnr": 18.0}), row("b", 20.0))).axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["a (no runs)", "b"]
    assert lines(left)["one seed"].tolist() == [[20, 1]]
    assert lines(left)["report (ten images)"].tolist() == [[18, 0]]


def test_twenty_rows_with_long_names_stay_apart_and_inside(row):
    figure = figures.bars(
        section(*(row(f"variant {i} of a model, model.skip_levels=[1,2,3,4]", 20.0) for i in range(20)))
    )
    figure.draw_without_rendering()
    labels = figure.axes[0].get_yticklabels()
    assert [text.get_text().split("\n")[-1] for text in labels] == ["model.skip_levels=[1,2,3,4]"] * 20
    boxes = [text.get_window_extent() for text in labels]
    assert all(below.y1 < above.y0 for above, below in itertools.pairwise(boxes))
    assert min(box.x0 for box in boxes) >= 0


def sized(row, label, values, **given):
    return [
        row(f"{label}, model.latent={x}", *psnr, settings={"model.latent": x}, **given)
        for x, psnr in values.items()
    ]


def test_a_line_for_each_series_over_the_axis(row):
    base = sized(row, "base", {64: [20.0, 22.0], 16: [15.0, 17.0]})
    pca = sized(row, "PCA", {16: [14.0], 32: [16.0]}, floor=True)
    level = row("mean image", 12.0, floor=True)
    unfinished = sized(row, "base", {256: []})
    (axes,) = figures.line(section(*base, *unfinished, *pca, level, axis="model.latent")).axes
    drawn = lines(axes)
    assert drawn["base"].tolist() == [[16, 16], [64, 21]]
    assert drawn["floor: PCA"].tolist() == [[16, 14], [32, 16]]
    assert drawn["floor: mean image"][:, 1].tolist() == [12, 12]
    (bars,) = axes.containers[0].lines[2]
    low, high = bars.get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((16 - half_width([15, 17]), 16 + half_width([15, 17])))
    dashes = {line.get_label(): line.get_linestyle() for line in axes.lines if "floor" in line.get_label()}
    assert set(dashes.values()) == {"--"}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("latent (numbers per image)", "test PSNR (dB)")
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["16", "32", "64"]


def test_an_axis_that_does_not_double_is_linear(row):
    (axes,) = figures.line(section(*sized(row, "base", {10: [20.0], 30: [21.0]}), axis="model.latent")).axes
    assert axes.get_xscale() == "linear"


def curve(*psnr):
    return {"train/loss": [10 ** (-value / 10) for value in psnr], "val/psnr": list(psnr)}


def test_curves_show_mean_and_range_as_far_as_all_seeds_go(tmp_path, row):
    seeds = {0: (10.0, 20.0, 21.0), 1: (14.0, 21.0)}
    runs = {seed: run(tmp_path / str(seed), curves=curve(*psnr)) for seed, psnr in seeds.items()}
    trained = Row("base", "cifar10", runs=runs)
    floor = row("PCA", 26.0, floor=True, curves=curve(25.0))
    figure = figures.curves(section(trained, row("without", 20.0), floor))
    loss, psnr = figure.axes
    assert lines(psnr) == {"base": pytest.approx(np.array([[1, 12], [2, 20.5]]))}
    assert lines(loss)["base"][:, 1] == pytest.approx([(0.1 + 10**-1.4) / 2, (0.01 + 10**-2.1) / 2])
    (band,) = psnr.collections
    assert {tuple(point) for point in band.get_paths()[0].vertices} == {(1, 10), (1, 14), (2, 20), (2, 21)}
    labels = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes]
    assert labels == [("epoch", "training loss"), ("epoch", "validation PSNR (dB)")]
    assert entries(figure) == ["base"]


def test_values_stand_at_their_own_epochs(row):
    blank = [""] * 5
    two = row("two", 20.0, curves={"val/psnr": [*blank, 20.0, *blank, 26.0], "train/loss": [0.5] * 12})
    figure = figures.curves(section(two))
    assert lines(figure.axes[1])["two"].tolist() == [[6, 20], [12, 26]]
    assert len(lines(figure.axes[0])["two"]) == 12
    drawn = plots.plain(section(two), section(two), {})["rows"][0]["curves"]
    assert drawn["val/psnr"] == [[6, 12], [20, 26]]
    assert two.gain == pytest.approx(2.0)  # the last 2 of 6 epochs in which it rose by 6 dB
    once = row("once", 20.0, curves={"val/psnr": [*blank, 20.0], "train/loss": [0.5] * 6})
    assert once.gain == 0.0


def test_a_single_epoch_has_a_whole_number_below_it(row):
    figure = figures.curves(section(*(row(f"row {i}", 20.0, curves=curve(20.0 + i)) for i in range(9))))
    for axes in figure.axes:
        assert [x for x in axes.get_xticks() if axes.get_xlim()[0] <= x <= axes.get_xlim()[1]] == [1]
    assert figure.axes[1].lines[8].get_marker() == "."  # without one a line of one point shows nothing


def test_eight_curves_differ_and_the_rest_is_grey(row):
    rows = [row(f"row {i}", 20.0, curves=curve(10.0 + i, 15.0 + i)) for i in range(11)]
    figure = figures.curves(section(*rows))
    told, grey = figure.axes[1].lines[:8], figure.axes[1].lines[8:]
    for look in ("color", "marker"):
        assert len({matplotlib.artist.getp(line, look) for line in told}) == 8
    assert {to_hex(line.get_color()) for line in grey} == {"#bbbbbb"}
    assert [line.get_ydata()[-1] for line in grey] == [23, 24, 25]
    assert entries(figure) == [*(f"row {i}" for i in range(8)), "3 more"]


def costly(row):
    return [
        row("small", 20.0, 22.0, code=10, seconds=5.0),
        row("poor", 19.0, code=20, seconds=50.0),
        row("rich", 30.0, code=400, seconds=80.0),
        row("mean image", 12.0, floor=True, code=0, seconds=0.5),
        row("PCA", 25.0, floor=True, code=10, seconds=1.0),
        row("not run"),
    ]


def test_pareto_puts_quality_over_cost(row):
    code, time = figures.pareto(costly(row), "Costs").axes
    assert lines(code)["trained"].tolist() == [[10, 21], [20, 19], [400, 30]]
    assert lines(code)["floor"].tolist() == [[10, 25]]
    assert lines(time)["trained"].tolist() == [[5, 21], [50, 19], [80, 30]]
    assert lines(time)["floor"].tolist() == [[0.5, 12], [1, 25]]
    assert lines(code)[FRONT].tolist() == [[10, 25], [400, 30]]
    assert lines(time)[FRONT].tolist() == [[0.5, 12], [1, 25], [80, 30]]
    assert code.get_xlabel() == "effective code (numbers per image)"
    assert (time.get_xlabel(), time.get_xscale()) == ("training time (s)", "log")
    (shade,) = code.patches
    assert shade.get_x() == 100
    assert shade.get_x() + shade.get_width() == code.get_xlim()[1]
    assert shade.get_label() == "code larger than the image (100 numbers)"


def test_pareto_draws_what_others_published_in_the_range_of_the_rows(row):
    others = {"a paper": [(5, 20.5), (20, 23.0), (90, 27.0), (5_000, 60.0)]}
    code, time = figures.pareto(costly(row), "Costs", others).axes
    assert lines(code)["published: a paper"].tolist()[-2:] == [[20, 23], [90, 27]]
    assert "published: a paper" not in lines(time)
    assert dict(numbers("cifar10", 10_000)["COIN++"])[256] == 27.838
    assert numbers("cifar10", 500) == numbers("mnist", 10_000) == {}


def test_pareto_marks_what_goes_around_its_latent_and_leaves_it_out_of_the_frontier(row):
    around = [row("around", 28.0, code=15, seconds=2.0, reliance=0.4), row("unknown", 29.0, reliance=None)]
    assert [one.honest for one in around] == [False, False]
    code, time = figures.pareto([*costly(row), *around], "Costs").axes
    for axes in (code, time):
        drawn = lines(axes)
        assert (
            drawn["trained, around its latent or unknown"][:, 1].tolist() == [29, 28]
            if axes is code
            else [28, 29]
        )
        assert {28, 29}.isdisjoint(drawn[FRONT][:, 1])
        (hollow,) = (one for one in axes.lines if one.get_label().startswith("trained, around"))
        assert hollow.get_markerfacecolor() == "none"
    assert lines(code)[FRONT].tolist() == [[10, 25], [400, 30]]


def test_pareto_draws_what_was_trained_for_its_bits_by_its_time_alone(row):
    rows = [*costly(row), row("priced", 26.0, code=40, bits=12.0, seconds=60.0)]
    code, time = figures.pareto(rows, "Costs").axes
    assert lines(code)["trained"].tolist() == [[10, 21], [20, 19], [400, 30]]
    assert lines(time)["trained"].tolist() == [[5, 21], [50, 19], [60, 26], [80, 30]]
    one = section(rows[0], rows[-1])
    assert [drawn["code"] for drawn in plots.plain(one, one, {})["rows"]] == [10, None]


def test_pareto_names_points_without_overlaps(row):
    few = figures.pareto(costly(row), "Costs")
    names = ["PCA", "mean image", "poor", "rich", "small"]
    assert sorted(text.get_text() for text in few.axes[1].texts) == names
    long = "model.skip_levels=[1,2,3,4]"
    crowd = [row(f"{i} {long}", 20.0 + i**2 / 40, code=10, seconds=5.0 + 0.01 * i) for i in range(25)]
    many = figures.pareto(crowd, "Crowd").axes
    assert all(text.get_text().endswith(f"\n{long}") for axes in many for text in axes.texts)
    for axes in (*few.axes, *many):
        axes.figure.draw_without_rendering()
        boxes = [Text.get_window_extent(text) for text in axes.texts]
        assert len(boxes) > 2
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
        drawn = [points for label, points in lines(axes).items() if label in ("trained", "floor")]
        points = axes.transData.transform(np.vstack(drawn))
        assert not any(box.contains(*point) for box in boxes for point in points)


def pictures(n=3, channels=3, noise=4, seed=0):
    random = np.random.default_rng(seed)
    originals = random.integers(50, 200, (n, channels, 8, 6), dtype=np.uint8)
    return originals, originals + random.integers(0, noise, originals.shape, dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_grid_shows_originals_over_reconstructions_with_their_psnr(row, channels):
    x, x_hat = pictures(channels=channels)
    rows = [row("base", 20.0, images=(x, x_hat)), row("same", 20.0, images=(x, x)), row("without", 20.0)]
    figure = drawn_grid(section(*rows))
    assert [axes.get_ylabel() for axes in figure.axes] == ["original", "base", "same"]
    for axes, images in zip(figure.axes, (x, x_hat, x), strict=True):
        strip = np.array(axes.images[0].get_array()).reshape(8, -1, channels)
        assert strip.shape[1] == 3 * 6 + 2 * 2
        for column, image in enumerate(images):
            assert np.array_equal(strip[:, 8 * column : 8 * column + 6], image.transpose(1, 2, 0))
        assert (strip[:, 6:8] == 255).all()
    texts = [text.get_text() for text in figure.axes[1].get_xticklabels()]
    assert texts == [f"{peak_signal_noise_ratio(a, b):.1f} dB" for a, b in zip(x, x_hat, strict=True)]
    assert figure.axes[1].get_xticks().tolist() == [2.5, 10.5, 18.5]
    assert [text.get_text() for text in figure.axes[2].get_xticklabels()] == ["∞ dB"] * 3


def test_grid_takes_the_lowest_seed_and_the_originals_of_the_first_row(tmp_path, row):
    first, second = pictures(seed=0), pictures(seed=1)
    runs = {4: run(tmp_path / "4", images=second), 3: run(tmp_path / "3", images=first)}
    figure = drawn_grid(section(Row("base", "cifar10", runs=runs), row("elsewhere", 20.0, images=second)))
    assert [axes.get_ylabel() for axes in figure.axes] == ["original", "base"]
    assert np.array_equal(figure.axes[0].images[0].get_array()[:, :6], first[0][0].transpose(1, 2, 0))


def test_grid_shows_what_a_corrupted_run_was_given(row):
    x, x_hat = pictures()
    one, older = (row(name, 20.0, images=(x, x_hat)) for name in ("noise", "older"))
    for corrupted in (one, older):
        corrupted.runs[0].record.config["corruption"] = {"_target_": "caelab.corruptions.Blur"}
    path = one.runs[0].path / "reconstructions.npz"
    np.savez(path, originals=x, reconstructions=x_hat, corrupted=x // 2)
    figure = drawn_grid(section(one, older))
    names = ["original", "given to\nnoise", "noise", "older\n(given corrupted\nimages)"]
    assert [axes.get_ylabel() for axes in figure.axes] == names
    assert np.array_equal(figure.axes[1].images[0].get_array()[:, :6], (x // 2)[0].transpose(1, 2, 0))


def test_grid_is_none_without_pictures_and_names_a_damaged_file(row, capsys):
    assert drawn_grid(section(row("base", 20.0), row("not run"))) is None
    broken = row("base", 20.0, images=pictures())
    path = broken.runs[0].path / "reconstructions.npz"
    path.write_bytes(path.read_bytes()[:100])
    assert drawn_grid(section(broken)) is None
    (line,) = capsys.readouterr().err.splitlines()
    assert "reconstructions.npz is damaged" in line
    assert "force=true" in line
    path.unlink()
    assert drawn_grid(section(broken)) is None


def test_curves_without_epochs_are_left_out(row):
    whole, odd = row("whole", 20.0, curves=curve(10.0, 20.0)), row("odd", 20.0, curves=curve(10.0, 20.0))
    path = odd.runs[0].path / "metrics.csv"
    path.write_text(path.read_text().replace("epoch", "step"))
    assert list(lines(figures.curves(section(whole, odd)).axes[1])) == ["whole"]


def test_no_runs_is_said_in_each_panel(row):
    empty = section(row("not run"), axis="model.latent")
    drawn = [figures.line(empty), figures.curves(empty), figures.pareto(empty.rows, "x"), figures.bars(empty)]
    for figure in drawn:
        said = [artist.txt.get_text() for axes in figure.axes for artist in axes.artists]
        assert said == ["no runs"] * len(figure.axes)


def test_files_are_valid_and_equal_for_equal_records(tmp_path, row):
    rows = [row("$base_$", 20.0, 21.0, curves=curve(10.0, 20.0), images=pictures()), *costly(row)]
    draw = {"bars": figures.bars, "curves": figures.curves, "grid": drawn_grid}
    draw |= {"line": figures.line, "pareto": lambda shown: figures.pareto(shown.rows, "Costs")}
    for name, function in draw.items():
        figure = function(section(*rows))
        paths = figures.save(figure, tmp_path / "new" / "folder", name)
        assert [path.name for path in paths] == [f"{name}.png", f"{name}.pdf"]
        contents = [path.read_bytes() for path in paths]
        for same in (figure, function(section(*rows))):
            assert [path.read_bytes() for path in figures.save(same, tmp_path, name)] == contents
        height, width, _ = matplotlib.image.imread(paths[0]).shape
        assert [width, height] == pytest.approx(150 * figure.get_size_inches(), abs=1)
        assert contents[1].startswith(b"%PDF-")
        assert b"/FontFile2" in contents[1]  # whole letters: text stays text
        assert "$base_$" in [text.get_text() for text in figure.findobj(Text)]
