"""Verdicts on claims: the word, the sentence with its figures, and what a mistake in a claim says."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import toys
from scipy import stats

from caelab import studies
from caelab.errors import UserError
from caelab.report import claims
from caelab.report.claims import verdicts
from caelab.report.rows import Row, Run, Section
from caelab.runs.labels import display

BEATS = {"text": "improved beats base", "better": ["improved"], "than": ["base"]}
NO_GAIN = {"text": "improved brings nothing", "no_gain": ["improved"], "over": ["base"], "margin": 0.3}
NOISE = (0.0, 0.1, -0.1)
HALF = stats.t.ppf(0.975, 2) * 0.1 / math.sqrt(3)  # of the interval of three values with this noise: 0.25 dB


def row(
    label,
    *psnr,
    path=Path("none"),
    metric="test/psnr",
    dataset="cifar10",
    model="one",
    bottleneck="none",
    train=40,
    sources=(),
    **changes,
):
    """A row; those of the same model and bottleneck start from the same weights."""
    config = {"model": {"_target_": model}, "bottleneck": {"_target_": bottleneck}}
    data = {"name": dataset, "train": train, "val": 10, "sha256": "d66d"}
    own = {"artifacts": {}, "config": config, "data": data, "sources": dict(sources)}
    records = [toys.exact(metrics={metric: value}, **own) for value in psnr]
    runs = {seed: Run(path, record) for seed, record in enumerate(records)}
    return Row(label, dataset, runs=runs, **changes)


def around(label, mean, noise=NOISE, **changes):
    return row(label, *(mean + step for step in noise), **changes)


BASE = row("base", 20.0, 20.5, 21.0)
TIED = [20.0, 20.5, 21.0]


def above(label, gain, **changes):
    """A row that is above BASE by ``gain`` +- 0.1 dB at each seed."""
    return row(label, *(base + gain + step for base, step in zip(TIED, NOISE, strict=True)), **changes)


def section(rows, *claims, dataset="cifar10"):
    return Section("table2", "Table 2", "", dataset, rows, claims=claims)


def other(label, mean, noise=NOISE, **changes):
    """A row of a model of its own."""
    return around(label, mean, noise, model=label, **changes)


def verdict(rows, claim, dataset="cifar10"):
    (found,) = verdicts(section(rows, claim, dataset=dataset))
    return found


def test_a_claim_that_holds():
    found = verdict([BASE, above("improved", 1.9)], BEATS)
    assert found.word == "holds"
    assert found.sentence == "improved beats base on CIFAR-10: holds, +1.90 dB [1.65, 2.15], 3 seeds"
    assert (found.claim, found.dataset, found.caveats) == ("improved beats base", "cifar10", [])
    (number,) = found.numbers
    assert (number.row, number.other, number.label) == ("improved", "base", "improved against base")
    assert number.difference.mean == pytest.approx(1.9)
    assert number.difference.high == pytest.approx(1.9 + HALF)
    assert number.p == found.p == pytest.approx(stats.ttest_1samp([1.9, 2.0, 1.8], 0).pvalue)
    assert number.against == 1.0


def test_rows_of_the_same_model_are_paired_and_others_are_not():
    shifted = [value + 0.1 * step for value, step in zip(TIED, (1, 2, 3), strict=True)]
    apart = "Welch", stats.ttest_ind(shifted, TIED, equal_var=False)
    for one, (test, expected) in (
        (row("improved", *shifted), ("paired", stats.ttest_rel(shifted, TIED))),
        (
            row("improved", *shifted, sources={"loss": "no code of the network"}),
            ("paired", stats.ttest_rel(shifted, TIED)),
        ),
        (row("improved", *shifted, model="another"), apart),
        (row("improved", *shifted, bottleneck="wider"), apart),
        (row("improved", *shifted, sources={"one": "its code has changed"}), apart),
    ):
        (number,) = verdict([BASE, one], BEATS).numbers
        ends = expected.confidence_interval(0.95)
        assert number.difference.test == test
        assert (number.difference.low, number.difference.high) == pytest.approx((ends.low, ends.high))
        assert number.p == pytest.approx(expected.pvalue)
    # on other images even the same network may start from other weights, as residual does, from their PCA
    (number,) = verdict([BASE, row("improved", *shifted, train=39)], BEATS).numbers
    assert number.difference.test == "Welch"


def test_a_claim_that_is_contradicted():
    found = verdict([BASE, above("improved", -0.5)], BEATS)
    assert found.word == "contradicted"
    assert found.sentence == (
        "improved beats base on CIFAR-10: contradicted, -0.50 dB [-0.75, -0.25], 3 seeds: "
        "improved is significantly below base"
    )


def test_a_claim_that_the_seeds_do_not_settle():
    found = verdict([BASE, above("improved", 0.2)], BEATS)
    assert found.word == "undecided"
    assert found.sentence == (
        "improved beats base on CIFAR-10: undecided, +0.20 dB [-0.05, 0.45], 3 seeds: "
        "improved does not differ significantly from base"
    )


def test_claim_over_all_the_others():
    rows = [BASE, above("adam", 9.0), above("adamax", 7.0), above("sgd", 1.0), row("pca", 40.0, floor=True)]
    found = verdict(rows, {"text": "Adam and Adamax win.", "better": ["adam", "adamax"], "than": "others"})
    assert found.word == "holds"
    pairs = [("adam", "base"), ("adam", "sgd"), ("adamax", "base"), ("adamax", "sgd")]
    assert [(number.row, number.other) for number in found.numbers] == pairs
    assert found.sentence == (
        "Adam and Adamax win on CIFAR-10: holds, +6.00 dB [6.00, 6.00] (adamax against sgd) to "
        "+9.00 dB [8.75, 9.25] (adam against base), 3 seeds"
    )


def test_a_claim_that_needs_all_of_its_comparisons_needs_no_adjustment():
    rows = [BASE, above("first", 0.32), above("second", 0.31)]
    alone = [stats.ttest_1samp([gain, gain + 0.1, gain - 0.1], 0).pvalue for gain in (0.32, 0.31)]
    assert 0.025 < min(alone) < max(alone) < 0.05
    found = verdict(rows, {"text": "t", "better": ["first", "second"], "than": ["base"]})
    assert found.word == "holds"
    assert [number.p for number in found.numbers] == pytest.approx(alone)
    assert found.p == pytest.approx(max(alone))


def test_a_claim_that_one_comparison_contradicts_is_adjusted_for_them():
    # p of each loss is 0.03 alone; doubled, it no longer counts
    rows = [BASE, above("first", -0.32), above("second", -0.31)]
    alone = [stats.ttest_1samp([gain, gain + 0.1, gain - 0.1], 0).pvalue for gain in (0.32, 0.31)]
    assert verdict(rows, {"text": "t", "better": ["first"], "than": ["base"]}).word == "contradicted"
    found = verdict(rows, {"text": "t", "better": ["first", "second"], "than": ["base"]})
    assert found.word == "undecided"
    assert [number.against for number in found.numbers] == pytest.approx([2 * alone[0]] * 2)
    assert found.p == pytest.approx(2 * alone[0])
    assert found.sentence.endswith(
        ": first does not differ significantly from base; second does not differ significantly from base"
    )


def test_a_gap_of_fourteen_standard_deviations_decides_over_three_seeds():
    """One row 14 standard deviations below the others contradicts that it beats them; so it is with 15."""
    rows = [other(str(number), 20.0 + 1.4 * number) for number in range(15)]
    found = verdict(rows, {"text": "t", "better": ["0"], "than": "others"})
    assert found.word == "contradicted"
    p = stats.ttest_ind(*([20 + gap + step for step in NOISE] for gap in (0, 1.4)), equal_var=False).pvalue
    assert max(number.against for number in found.numbers) == pytest.approx(p)
    assert verdict(rows, {"text": "t", "better": ["14"], "than": "others"}).p == pytest.approx(p)


def test_one_significant_loss_contradicts_and_is_named():
    rows = [BASE, above("adam", 5.0), row("sgd", 30.0, 30.5, 31.2), row("rmsprop", 35.0, 35.6, 36.0)]
    found = verdict(rows, {"text": "Adam wins", "better": ["adam"], "than": "others"})
    assert found.word == "contradicted"
    assert found.sentence.endswith(": adam is significantly below sgd and rmsprop")


def test_no_gain_holds_below_the_margin():
    found = verdict([BASE, above("improved", 0.02)], NO_GAIN)
    assert found.word == "holds"
    assert found.sentence == (
        "improved brings nothing on CIFAR-10: holds, no gain above 0.3 dB: +0.02 dB [-0.23, 0.27], 3 seeds"
    )
    worse = verdict([BASE, above("improved", -1.0)], NO_GAIN)
    assert worse.word == "holds"
    assert worse.sentence.endswith("[-1.25, -0.75], 3 seeds; improved is significantly below base")


def test_no_gain_is_undecided_where_the_interval_reaches_the_margin():
    found = verdict([BASE, above("improved", 0.06)], NO_GAIN)
    assert found.word == "undecided"
    assert found.sentence.endswith(
        "+0.06 dB [-0.19, 0.31], 3 seeds: improved may gain more than 0.3 dB over base"
    )
    # significant, but not larger than the margin
    assert verdict([BASE, above("improved", 0.28)], NO_GAIN).word == "undecided"


def test_no_gain_is_contradicted_by_an_interval_above_the_margin():
    found = verdict([BASE, above("improved", 0.6)], NO_GAIN)
    assert found.word == "contradicted"
    assert found.sentence.endswith(
        "+0.60 dB [0.35, 0.85], 3 seeds: improved gains significantly more than 0.3 dB over base"
    )
    assert found.p == pytest.approx(stats.ttest_1samp([0.6, 0.7, 0.5], 0.3).pvalue)
    # two such gains are looked at, so that one of them needs a p half as large
    twice = verdict([BASE, above("a", 0.6), above("b", 0.1)], NO_GAIN | {"no_gain": ["a", "b"]})
    assert twice.numbers[0].against == pytest.approx(2 * found.p)
    assert (twice.word, twice.sentence.count("may gain more")) == ("undecided", 2)


def test_better_may_ask_for_more_than_a_margin():
    claim = {"text": "improved gains half a dB", "better": ["improved"], "than": ["base"], "margin": 0.5}
    held, unsure, refuted = (verdict([BASE, above("improved", gain)], claim) for gain in (0.8, 0.6, 0.2))
    assert held.sentence == (
        "improved gains half a dB on CIFAR-10: holds, +0.80 dB [0.55, 1.05], 3 seeds, more than 0.5 dB"
    )
    assert (unsure.word, refuted.word) == ("undecided", "contradicted")
    assert unsure.sentence.endswith("3 seeds: improved may gain less than 0.5 dB over base")
    assert refuted.sentence.endswith("3 seeds: improved gains significantly less than 0.5 dB over base")


def test_no_gain_is_undecided_where_a_significant_gain_may_be_within_the_margin():
    """0.31 dB [0.20, 0.42], with a margin of 0.3 dB."""
    steps = [step * 0.11 / HALF for step in NOISE]
    gain = row("improved", *(base + 0.31 + step for base, step in zip(TIED, steps, strict=True)))
    found = verdict([BASE, gain], NO_GAIN)
    assert found.figures == "+0.31 dB [0.20, 0.42]"
    assert found.numbers[0].difference.p < 0.05
    assert found.word == "undecided"
    assert found.sentence.endswith(": improved may gain more than 0.3 dB over base")
    assert found.p == pytest.approx(stats.ttest_1samp([0.01 + step for step in steps], 0).pvalue)


def test_no_gain_of_all_the_others():
    claim = {"text": "no skip gains", "no_gain": "others", "over": ["base"], "margin": 0.3}
    rows = [BASE, above("a", 0.01), above("b", -3.0), row("mean", 5.0, floor=True)]
    found = verdict(rows, claim)
    assert [number.label for number in found.numbers] == ["a against base", "b against base"]
    assert found.word == "holds"


LOW = {
    "text": "skips bypass the latent",
    "rows": ["improved"],
    "below": 0.5,
    "metric": "test/latent_reliance",
}


HIGH = {key: value for key, value in LOW.items() if key != "below"} | {"above": 0.5}


def reliant(label, mean, noise=NOISE):
    return around(label, mean, noise, metric="test/latent_reliance")


@pytest.mark.parametrize(
    ("mean", "word", "end"),
    [
        (0.1, "holds", "3 seeds, below 0.5"),
        (0.9, "contradicted", "3 seeds: improved is significantly above 0.5"),
        (0.45, "undecided", "3 seeds: improved does not differ significantly from 0.5"),
    ],
)
def test_a_figure_against_a_bound(mean, word, end):
    found = verdict([reliant("improved", mean)], LOW)
    figures = f"{mean:.3f} [{max(0, mean - HALF):.3f}, {min(1, mean + HALF):.3f}]"
    assert found.sentence == f"skips bypass the latent on CIFAR-10: {word}, {figures}, {end}"
    (number,) = found.numbers
    assert (number.label, number.difference.mean) == ("improved against 0.5", pytest.approx(mean - 0.5))
    p = stats.ttest_1samp([mean, mean + 0.1, mean - 0.1], 0.5).pvalue
    assert (number.p, number.against) == pytest.approx((p, 1) if mean < 0.5 else (1, p))
    turned = {"holds": "contradicted", "contradicted": "holds", "undecided": "undecided"}
    assert verdict([reliant("improved", mean)], HIGH).word == turned[word]


def test_several_rows_against_a_bound_are_named_and_adjusted():
    rows = [reliant("improved", 0.1), reliant("other", 0.2)]
    found = verdict(rows, LOW | {"rows": ["improved", "other"]})
    assert "holds, 0.100 [" in found.sentence
    assert "(improved) to 0.200 [" in found.sentence
    p = [stats.ttest_1samp([mean, mean + 0.1, mean - 0.1], 0.5).pvalue for mean in (0.1, 0.2)]
    assert [number.p for number in found.numbers] == pytest.approx(p)
    turned = verdict(rows, HIGH | {"rows": ["improved", "other"]})
    assert turned.word == "contradicted"
    assert [number.against for number in turned.numbers] == pytest.approx([2 * p[0], max(2 * p[0], p[1])])


def test_an_interval_of_a_bounded_figure_lies_within_its_bounds():
    assert verdict([reliant("improved", 0.1)], LOW).figures == f"0.100 [0.000, {0.1 + HALF:.3f}]"
    high = reliant("improved", 0.95, [step / 2 for step in NOISE])
    assert verdict([high], LOW).figures == f"0.950 [{0.95 - HALF / 2:.3f}, 1.000]"
    assert verdict([BASE, above("improved", -20.4)], BEATS).figures.startswith("-20.40 dB [-20.65, ")


def test_a_bound_needs_the_figure_and_the_seeds():
    assert verdict([BASE, above("improved", 1.0)], LOW).sentence.endswith(
        "not measured, improved has no test/latent_reliance"
    )
    few = verdict([reliant("improved", 0.1, (0.0,))], LOW)
    assert few.sentence.endswith("undecided, 0.100 (1 seed: no verdict)")


@pytest.mark.parametrize("claim", [BEATS, NO_GAIN])
def test_one_or_two_seeds_settle_nothing(claim):
    one = verdict([row("base", 20.0), row("improved", 29.0)], claim)
    assert one.word == "undecided"
    assert one.sentence.endswith(" on CIFAR-10: undecided, +9.00 dB (1 seed: no verdict)")
    assert one.numbers[0].p is None
    # 1.00 and 1.02: the standard error is 0.01, and t(0.975, 1) = 12.706
    two = verdict([row("base", 20.0, 20.0), row("improved", 21.0, 21.02)], claim)
    assert two.word == "undecided"
    assert two.sentence.endswith("undecided, +1.01 dB [0.88, 1.14] (2 seeds: no verdict)")
    mixed = verdict([BASE, above("other", 5.0), row("improved", 29.0, 29.0)], {**BEATS, "than": "others"})
    assert mixed.sentence.endswith("(2 seeds: no verdict)")
    assert (one.p, two.p, mixed.p) == (None, None, None)


def test_the_number_of_seeds_may_differ():
    rows = [around("improved", 30.0, (0, 0.1, -0.1, 0)), BASE, around("other", 20.0, (0, 0.1, -0.1, 0))]
    found = verdict(rows, {**BEATS, "than": "others"})
    assert found.word == "holds"
    assert found.sentence.endswith(", 3 to 4 seeds")


def test_missing_rows_are_named_with_their_reason():
    missing = {0: "loss is not finite", 1: "loss is not finite", 2: "stopped"}
    rows = [BASE, row("improved", missing=missing), above("other", 1.0)]
    found = verdict(rows, BEATS)
    assert found.word == "not measured"
    assert found.sentence == (
        "improved beats base on CIFAR-10: not measured, improved has no finished run "
        "(loss is not finite; stopped)"
    )
    assert (found.numbers, found.caveats, found.p, found.figures) == ([], [], None, "")
    partly = verdict(rows, {"text": "t", "better": ["other"], "than": "others"})
    assert partly.word == "not measured"
    assert [number.label for number in partly.numbers] == ["other against base"]


def test_many_missing_rows_are_counted():
    rows = [BASE, *(Row(name, "cifar10", missing={0: "not run"}) for name in "bcd")]
    found = verdict(rows, {"text": "base wins", "better": ["base"], "than": "others"})
    assert found.word == "not measured"
    assert "3 of 4 rows have no finished run (not run)" in found.sentence


def test_rows_that_share_no_seed_are_independent():
    lone = around("improved", 29.0)
    lone = replace(lone, runs={seed + 7: run for seed, run in lone.runs.items()})
    found = verdict([BASE, lone], BEATS)
    assert (found.word, found.numbers[0].difference.test) == ("holds", "Welch")


def test_a_claim_about_what_probes_found():
    claim = BEATS | {"metric": "probe/z/linear"}
    rows = [row("base", 0.40, 0.41, 0.42, metric="probe/z/linear")]
    rows += [row("improved", 0.44, 0.46, 0.46, metric="probe/z/linear")]
    half = stats.t.ppf(0.975, 2) * math.sqrt(1 / 3) / 100 / math.sqrt(3)  # of 0.04, 0.05, 0.04
    shown = f"+0.043 [{0.13 / 3 - half:.3f}, {0.13 / 3 + half:.3f}]"
    assert verdict(rows, claim).sentence == f"improved beats base on CIFAR-10: holds, {shown}, 3 seeds"


@pytest.mark.parametrize("floor", [True, False])
def test_rows_without_the_figure_are_named(floor):
    claim = BEATS | {"metric": "probe/z/linear"}
    rows = [above("base", 0.0, floor=floor), row("improved", 0.4, 0.5, 0.6, metric="probe/z/linear")]
    found = verdict(rows, claim)
    assert found.sentence == "improved beats base on CIFAR-10: not measured, base has no probe/z/linear"


def test_missing_seeds_are_a_caveat():
    found = verdict([BASE, above("improved", 1.9, missing={3: "out of memory"})], BEATS)
    assert found.word == "holds"
    assert found.caveats == ["improved has no finished run with seed 3 (out of memory)"]


def test_seeds_of_other_arithmetic_and_of_changed_code_are_a_caveat():
    mixed = above("improved", 1.9)
    first = mixed.runs[0]
    fast = replace(
        first.record,
        environment=first.record.environment | {"speed": "bf16-mixed", "code": "new"},
        earlier_environments=[{"speed": "bf16-mixed", "code": "old"}],
    )
    rows = [BASE, replace(mixed, runs={**mixed.runs, 0: replace(first, record=fast)})]
    assert verdict(rows, BEATS).caveats == [
        "improved was trained with bf16-mixed (seed 0) and 32-true (seeds 1 and 2)",
        "improved was resumed under other code (seed 0)",
    ]


def test_a_floor_is_a_constant():
    # the floor's one run has seed 0; the trained row is compared with it at each of its seeds
    rows = [around("base", 22.0), row("pca", 21.0, floor=True)]
    found = verdict(rows, {"text": "base beats PCA", "better": ["base"], "than": ["pca"]})
    assert found.sentence == "base beats PCA on CIFAR-10: holds, +1.00 dB [0.75, 1.25], 3 seeds"
    mirrored = verdict(rows, {"text": "PCA beats base", "better": ["pca"], "than": ["base"]})
    assert mirrored.word == "contradicted"
    assert mirrored.numbers[0].difference.mean == pytest.approx(-1.0)
    assert mirrored.numbers[0].difference.low == pytest.approx(-1 - HALF)


def test_rows_still_improving_are_a_caveat(tmp_path):
    paths = []
    # ten epochs: the best of the first eight is 20 dB, the best of the last two is 20 dB and the gain
    for gain in (0.31, 0.2, 0.05):
        paths.append(tmp_path / str(gain))
        paths[-1].mkdir()
        psnr = [19.0] * 7 + [20.0, 19.9, 20.0 + gain]
        lines = ["epoch,val/psnr", *(f"{epoch},{value}" for epoch, value in enumerate(psnr))]
        (paths[-1] / "metrics.csv").write_text("\n".join(lines) + "\n")
    rows = [above("base", 0.0, path=paths[0]), above("improved", 1.0, path=paths[2])]
    assert verdict(rows, BEATS).caveats == [
        "base was still improving when it ended (+0.31 dB in the last fifth of its epochs)"
    ]
    rows[1] = above("improved", 1.0, path=paths[1])
    assert verdict(rows, BEATS).caveats == [
        "improved (+0.20 dB) and base (+0.31 dB) were still improving when they ended "
        "(gain in the last fifth of their epochs)"
    ]


def test_ssim_has_no_unit_and_three_digits():
    rows = [
        row("base", 0.8, 0.7, 0.75, metric="test/ssim"),
        row("improved", 0.85, 0.752, 0.798, metric="test/ssim"),
    ]
    low, high = stats.t.interval(0.95, 2, loc=0.05, scale=0.002 / math.sqrt(3))
    found = verdict(rows, {**BEATS, "metric": "test/ssim"})
    assert (f"{low:.3f}", f"{high:.3f}") == ("0.045", "0.055")
    assert found.sentence.endswith("holds, +0.050 [0.045, 0.055], 3 seeds")


def test_a_difference_of_nothing_has_no_minus():
    assert "undecided, +0.00 dB [" in verdict([BASE, above("improved", -0.001)], BEATS).sentence


def test_claims_apply_where_they_say():
    claims = [{**BEATS, "where": ["cifar10"]}, NO_GAIN]
    rows = [BASE, above("improved", 1.0)]
    assert [v.claim for v in verdicts(section(rows, *claims))] == [
        "improved beats base",
        "improved brings nothing",
    ]
    assert [v.claim for v in verdicts(section(rows, *claims, dataset="mnist"))] == ["improved brings nothing"]
    # a row that only another dataset has is no mistake there
    elsewhere = {**BEATS, "better": ["deep"], "where": ["cifar10"]}
    assert verdicts(section(rows, elsewhere, dataset="mnist")) == []


def test_rows_on_other_test_images_are_not_compared():
    found = verdict([BASE, above("improved", 1.9, dataset="mnist")], BEATS)
    assert found.word == "not measured"
    assert found.sentence.endswith(
        "not measured, its rows have different test images: 50 of mnist and 50 of cifar10"
    )


def test_rows_on_other_test_images_may_each_be_held_against_a_bound():
    rows = [BASE, above("improved", 1.9, dataset="mnist")]
    claim = {"text": "all is above 1 dB", "rows": ["base", "improved"], "above": 1}
    assert verdict(rows, claim).word == "holds"


def test_datasets_have_names():
    names = [display(name) for name in ("mnist", "cifar10", "cinic10", "shapes")]
    assert names == ["MNIST", "CIFAR-10", "CINIC-10", "shapes"]


def test_labels_may_be_numbers_in_yaml():
    rows = [row("32", *TIED), above("64", 3.0)]
    assert verdict(rows, {"text": "t", "better": [64], "than": [32]}).word == "holds"


@pytest.mark.parametrize(
    ("claim", "parts"),
    [
        ({**BEATS, "better": ["improvde"]}, ["'improvde'", "cifar10", "did you mean 'improved'?"]),
        ({**BEATS, "than": ["nothing like it"]}, ["known: base, improved"]),
        ({**BEATS, "metric": "test/mse"}, ["'test/mse'", "test/psnr, test/psnr_pooled, test/ssim"]),
        ({**BEATS, "beter": 1}, ["beter", "must have text, better and than"]),
        ({"text": "improved beats base", "better": ["improved"]}, ["keys better, text"]),
        ({**BEATS, "margin": "0.3"}, ["margin is '0.3'", "number"]),
        ({**BEATS, "below": 0.3}, ["keys below, better, text, than"]),
        ({**BEATS, "better": "improved"}, ["'improved' must be a list", "[improved]"]),
        ({**BEATS, "better": None}, ["None must be a list"]),
        ({**BEATS, "better": []}, ["compares [] with ['base']"]),
        ({**BEATS, "better": ["base"]}, ["compares ['base'] with ['base']", "no row twice"]),
        ({**BEATS, "better": "others", "than": "others"}, ["compares others with others"]),
        ({**BEATS, "better": ["improved", "base"], "than": "others"}, ["each side needs rows"]),
        ({**NO_GAIN, "margin": "0.3"}, ["margin is '0.3'", "number"]),
        ({**NO_GAIN, "margin": -1}, ["margin is -1"]),
        ({**NO_GAIN, "margin": True}, ["margin is True"]),
        ({**LOW, "below": "half"}, ["below is 'half'", "number"]),
        ({**LOW, "rows": ["improvde"]}, ["did you mean 'improved'?"]),
        ({**LOW, "above": 0.1}, ["keys above, below, rows, text", "rows and below or above"]),
    ],
)
def test_mistakes_in_a_claim(claim, parts):
    with pytest.raises(UserError) as caught:
        verdicts(section([BASE, above("improved", 1.0)], claim))
    message = str(caught.value)
    assert message.startswith(f"study table2, claim '{claim['text']}'")
    assert "\n" not in message
    assert [part for part in parts if part not in message] == []


def test_a_claim_without_text():
    with pytest.raises(
        UserError, match="study table2, claim '' has the keys better, than; it must have text"
    ):
        verdicts(section([BASE], {"better": ["base"], "than": "others"}))


@pytest.mark.parametrize("name", studies.names())
def test_the_claims_of_every_study_can_be_judged(name):
    study = studies.load(name)
    claims.require(study)
    judged = [{*study.datasets} & {*claim.get("where", study.datasets)} for claim in study.claims]
    assert all(judged), judged


def test_a_claim_that_cannot_be_judged_is_refused_before_anything_is_trained(tmp_path, monkeypatch, lab):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "conf" / "study"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(
        "title: Mine\ntext: Mine.\ndatasets: [shapes]\nepochs: 1\nbatch_size: 32\nruns: {a: [model=base]}\n"
        "claims: [{text: so, or so, better: [a], than: [a]}]\n"
    )
    status, out, err = lab("study", "mine")
    assert status == 1
    assert "study mine, claim 'so' has the keys better, or so, text, than" in err
    assert not (tmp_path / "multirun").exists()
