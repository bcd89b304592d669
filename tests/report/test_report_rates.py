"""Rates in the report: which points are drawn, averaged by hand, and what is best at equal bytes."""

import numpy as np
import pytest
import toys

from caelab.analysis.rate.picture import TRANSFORM, draw, line
from caelab.report import tables
from caelab.report.rates import rates, winners
from caelab.report.rows import Row, Run, Section
from caelab.runs import results

BESIDE = {
    "images": {"train": 100, "test": 100},
    "image": [3, 32, 32],
    "codecs": {"JPEG": [{"quality": 5, "file": 600.0, "payload": 50.0, "psnr": 22.0}]},
    "lossless": {"WebP": {"file": 130.0, "payload": 100.0}, "PNG": {"file": 170.0, "payload": 110.0}},
    "transform": [
        {"step": 1.0, "rate": 0.0, "psnr": 12.0},
        {"step": 0.5, "rate": 160.0, "psnr": 20.0},
        {"step": 0.25, "rate": 640.0, "psnr": 30.0},
    ],
}


def found(shift=0.0, bits=(2, 4), enough=True):
    points = [{"bits": b, "rate": 100.0 * b + shift, "psnr": 20.0 + b + shift} for b in bits]
    end = {"rate": 300.0 + shift, "psnr": 23.0 + shift}
    return {"points": points, "enough": end if enough else None, **BESIDE}


def test_a_line_is_the_mean_over_seeds_at_the_quantisers_that_all_have():
    one = line([found(), found(1.0, bits=(2, 3, 4))])
    assert one.points == [(200.5, 22.5), (400.5, 24.5)]
    assert one.enough == (300.5, 23.5)
    assert line([found(), found(enough=False)]).enough is None


def test_models_floors_and_codecs_are_drawn_over_bits():
    lines = {"net": line([found()]), "PCA": line([found(10.0)], floor=True)}
    (axes,) = draw("A title", lines, BESIDE, {"a paper": [(100, 20), (300, 25)]}).axes
    drawn = {one.get_label(): np.array(one.get_xydata()).tolist() for one in axes.lines}
    assert drawn["net"] == [[200, 22], [400, 24]]
    assert drawn["floor: PCA"] == [[210, 32], [410, 34]]
    assert drawn["JPEG"] == [[400, 22]]
    assert drawn["published: a paper"] == [[100, 20], [300, 25]]
    assert drawn[f"floor: {TRANSFORM}"] == [[160, 20], [640, 30]]
    assert drawn["WebP without loss"] == [[800, 0], [800, 1]]  # from the bottom of the axes to the top
    rings = [one.get_xydata().tolist() for one in axes.lines if one.get_label().startswith("_")]
    assert rings == [[[300, 23]], [[310, 33]]]
    assert (axes.get_xscale(), axes.get_xlabel()) == ("log", "bits per image")


def test_a_code_without_bits_is_left_out_of_a_logarithmic_axis():
    constant = found()
    for point in constant["points"]:
        point["rate"] = 0.0
    (axes,) = draw("A title", {"net": line([constant | {"enough": None}])}, BESIDE, {}).axes
    assert [one.get_label() for one in axes.lines] == [f"floor: {TRANSFORM}", "JPEG", "WebP without loss"]


@pytest.fixture
def row(tmp_path):
    def make(label, *shifts, floor=False, latent=8, price=None, place="/data", sha256="other", **changes):
        runs = {}
        for seed, shift in enumerate(shifts):
            path = tmp_path / label / str(seed)
            path.mkdir(parents=True)
            config = {
                "model": {"_target_": label.split()[0], "latent": latent},
                "bottleneck": {"price": price},
                "dataset": {"_target_": "caelab.data.folder.Folder", "path": place},
            }
            record = toys.exact(
                fingerprint=f"{label}{seed}", metrics={}, config=config, seed=seed, data={"sha256": sha256}
            )
            if shift is not None:
                one = found(shift) | changes
                results.write_analysis(path, "rate", record, {"figures": {}, **one})
            runs[seed] = Run(path, record)
        return Row(label, "cifar10", floor, runs=runs)

    return make


def test_rows_that_were_measured_are_drawn(row):
    section = Section("s", "A title", "", "cifar10", [row("a", 0.0, 2.0, None), row("b", None), row("c")])
    figure = rates(section)
    assert figure.get_suptitle() == "Test PSNR against bits per image, CIFAR-10"
    drawn = {one.get_label(): one.get_xydata().tolist() for one in figure.axes[0].lines}
    assert drawn["a"] == [[201, 23], [401, 25]]
    assert not {"b", "c"} & drawn.keys()
    assert rates(Section("s", "A title", "", "cifar10", [row("d", None)])) is None


def test_sizes_of_one_model_are_one_line_their_envelope(row):
    # of 200 bits at 22 and 400 at 24 dB, and of 205 at 27 and 405 at 29; of the floor the same and 3 dB less
    rows = [row("net 8", 0.0), row("net 16", 5.0, latent=16)]
    floors = [row("PCA 8", -3.0, floor=True), row("PCA 16", 2.0, floor=True, latent=16)]
    (axes,) = rates(Section("s", "A title", "", "cifar10", rows + floors)).axes
    drawn = {one.get_label(): one.get_xydata().tolist() for one in axes.lines}
    assert drawn["net, best of 2 sizes"] == [[200, 22], [205, 27], [405, 29]]
    assert drawn["floor: PCA, best of 2 sizes"] == [[197, 19], [202, 24], [402, 26]]
    assert not {"net 8", "net 16"} & drawn.keys()


def test_sizes_on_the_same_images_are_one_line_wherever_these_lie(row):
    rows = [row("net 8", 0.0), row("net 16", 5.0, latent=16, place="/scratch/job1")]
    (axes,) = rates(Section("s", "A title", "", "folder", rows)).axes
    assert axes.lines[0].get_label() == "net, best of 2 sizes"
    other = row("net 32", 5.0, latent=32, sha256="beef")
    (axes,) = rates(Section("s", "A title", "", "folder", [rows[0], other])).axes
    assert {"net 8", "net 32"} < {line.get_label() for line in axes.lines}


def test_prices_of_one_model_are_one_line(row):
    rows = [row("net, price 0.1", 0.0, price=0.1), row("net, price 0.01", 5.0, price=0.01, latent=16)]
    (axes,) = rates(Section("s", "A title", "", "cifar10", [*rows, row("plain", 1.0)])).axes
    drawn = {one.get_label(): one.get_xydata().tolist() for one in axes.lines}
    assert drawn["net, best of 2 prices"] == [[200, 22], [205, 27], [405, 29]]
    assert drawn["plain"] == [[201, 23], [401, 25]]


def test_the_best_is_read_off_the_line_over_prices_and_names_each_size(row):
    points = {
        "net, price 0.1": [{"bits": 0, "rate": 200.0, "psnr": 22.0}],
        "net, price 0.01": [{"bits": 0, "rate": 800.0, "psnr": 30.0}],
    }
    priced = [row(name, 0.0, price=float(name.split()[-1]), points=one) for name, one in points.items()]
    lines = {one["bytes"]: one for one in winners(Section("s", "", "", "cifar10", priced)).to_dict("records")}
    assert lines[50]["network"] == "net, best of 2 prices"
    assert lines[50]["network_psnr"] == pytest.approx(26)  # 400 bits: half the way over the logarithm
    sized = [row("other 8", 0.0), row("other 16", 1.0, latent=16)]
    found = winners(Section("s", "", "", "cifar10", sized))
    assert list(found["network"][:2]) == ["other 8", "other 16"]  # of 200 bits, and of 201


def test_the_best_at_equal_bytes_is_named_on_each_side(row):
    section = Section(
        "s", "A title", "", "cifar10", [row("a", 0.0), row("b", 1.0), row("PCA", 0.0, floor=True)]
    )
    lines = {line["bytes"]: line for line in winners(section).to_dict("records")}
    assert list(lines) == [25, 50, 100, 171, 250, 400, 800, 1600, 3200]  # at 10 there is no network
    one = lines[50]  # 400 bits, where b has 201 at 23 and 401 at 25 dB
    assert one["network"] == "b"
    assert one["network_psnr"] == pytest.approx(23 + 2 * np.log(400 / 201) / np.log(401 / 201))
    assert one["floor"] == TRANSFORM
    assert one["floor_psnr"] == pytest.approx(20 + 10 * np.log(400 / 160) / np.log(4))
    assert (one["codec"], one["codec_psnr"], one["best"]) == ("JPEG", 22, "floor")
    assert (lines[25]["floor"], lines[25]["floor_psnr"], lines[25]["codec"]) == ("PCA", 22, "")
    assert (lines[100]["codec"], lines[100]["codec_psnr"]) == ("WebP without loss", 100)
    text = tables.rates(winners(section)).set_index("bytes")
    assert list(text.columns) == ["network", "floor", "codec", "best"]
    assert text.loc["1,600", "network"] == "25.00 b"
    assert text.loc["25", "codec"] == ""


def test_what_others_have_published_stands_beside_the_same_test_images(row):
    whole = {"images": {"train": 40_000, "test": 10_000}}
    section = Section("s", "A title", "", "cifar10", [row("a", 0.0, **whole)])
    (axes,) = rates(section).axes
    drawn = {one.get_label(): one.get_xydata().tolist() for one in axes.lines}
    assert drawn["published: COIN++"][0] == [1024 * 0.5485, 24.22]
    lines = {line["bytes"]: line for line in winners(section).to_dict("records")}
    assert lines[250]["published"] == "Cheng et al. 2020"
    between = np.log(2000 / 1024 / 1.7316) / np.log(2.2575 / 1.7316)
    assert lines[250]["published_psnr"] == pytest.approx(34.862 + between * (37.587 - 34.862))
    shown = tables.rates(winners(section)).columns
    assert list(shown) == ["bytes", "network", "floor", "codec", "published", "best"]
    for other in (
        Section("s", "A title", "", "mnist", section.rows),
        Section("s", "", "", "cifar10", [row("b", 0.0)]),
    ):
        assert not [one for one in rates(other).axes[0].lines if one.get_label().startswith("published")]


def test_what_was_measured_before_there_were_as_many_floors_is_drawn_too(row):
    old = row("a", 0.0, transform=[])
    section = Section("s", "A title", "", "cifar10", [old])
    assert winners(section)["floor"].tolist() == [""] * 9
    assert winners(Section("s", "A title", "", "cifar10", [row("b", None)])) is None
