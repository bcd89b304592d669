"""A section's table: figures recomputed with scipy and by hand, and their form on paper, page and screen."""

import csv
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import toys
from scipy import stats

from caelab.report import tables
from caelab.report.caption import caption
from caelab.report.rows import Row, Run, Section
from caelab.report.screen import Shown
from caelab.report.summary import show_sweep
from caelab.runs import results
from caelab.runs.record import BYPASSING
from caelab.terminal import Plain

BASE = np.array([20.0, 20.5, 21.0])
ABOVE = np.array([1.9, 2.0, 1.8])  # of improved over base, seed by seed
NEAR = np.array([0.1, -0.1, 0.06])
DATA = {"name": "cifar10", "train": 40, "val": 10, "test": 50, "sha256": "d66d"}
SIZE = {"parameters": 376515, "latent": 256, "effective_code": 1280, "flops_per_image": 3_457_024}


@pytest.fixture
def row(tmp_path):
    def make(label, psnr=(), gain=0.0, model="one", validation=0.0, **changes):
        runs = {}
        for seed, value in enumerate(map(float, psnr)):
            metrics = {"test/psnr": value, "test/psnr_pooled": value - 0.5, "test/ssim": value / 50}
            metrics |= {"val/psnr": value + validation}
            metrics |= {"test/loss": 10 ** (-value / 10), "published/psnr": value - 1, "published/ssim": 0.6}
            time = {"fit_seconds": 1000.0 + 10 * seed, "epochs": 10}
            path = tmp_path / label.replace("/", "") / str(seed)
            path.mkdir(parents=True)
            curve = [19.0, 19.0, 19.0, 20.0, 20.0 + gain]
            lines = [f"{epoch},{value}\n" for epoch, value in enumerate(curve)]
            (path / "metrics.csv").write_text("epoch,val/psnr\n" + "".join(lines))
            config = {"model": {"_target_": model}}
            record = toys.exact(metrics=metrics, size=SIZE, time=time, artifacts={}, config=config, data=DATA)
            runs[seed] = Run(path, record)
        return Row(label, "cifar10", **{"runs": runs, **changes})

    return make


@pytest.fixture
def table2(row):
    """Three trained rows over three seeds, one that was not run, and a floor."""
    published = {"psnr": 20.75, "ssim": 0.64, "loss": 0.008}
    return section(
        row("base", BASE, published=published),
        row("improved", BASE + ABOVE),
        row("near", BASE + NEAR),
        row("later", missing=dict.fromkeys(range(3), "not run"), published={"psnr": 30.41}),
        row("PCA 256", [26.8], floor=True),
        reference="base",
    )


def section(*rows, **changes):
    return Section("table2", "Table II", "What it asks.", "cifar10", rows, **changes)


def lines(section):
    return {line["variant"]: line for line in tables.numbers(section).to_dict("records")}


def test_rows_say_what_chose_their_checkpoints_where_they_differ(row):
    base, other = row("base", BASE), row("other", NEAR + BASE)
    assert lines(section(base, other))["other"]["note"] == ""
    for run in other.runs.values():
        run.record.config["select"] = "val/ssim"
        run.record.metrics["val/ssim"] = 0.5
    both = section(base, other, row("PCA 256", [26.8], floor=True))
    assert {label: line["note"] for label, line in lines(both).items()} == {
        "base": "chosen by val/psnr",
        "other": "chosen by val/ssim",
        "PCA 256": "",
    }
    text = "\n".join(printed(both)[0])
    assert "checkpoints of base were chosen by val/psnr" in text
    assert "validation PSNR (dB)" in text
    alone = "\n".join(printed(section(other))[0])
    assert "chosen by" not in alone
    assert "validation SSIM" in alone


def test_the_best_row_is_named_where_three_seeds_tell(row):
    base, floor = row("base", BASE), row("PCA 256", [26.8], floor=True)
    clear = section(base, row("improved", BASE + ABOVE), floor)
    above = "significantly above every other trained row (p < 0.05"
    assert tables.best(clear) == f"improved has the best PSNR, 22.40 dB, {above})."
    near = row("near", BASE + NEAR)
    alike = "near has the highest PSNR, 20.52 dB, with no significant difference from"
    assert tables.best(section(base, near)) == f"{alike} base."
    assert (
        tables.best(section(*clear.rows, near))
        == f"improved has the best PSNR, 22.40 dB, {above} in each of 2 comparisons)."
    )
    many = (row(f"as {name}", BASE) for name in "abcd")
    assert tables.best(section(near, *many)) == f"{alike} 4 other rows."
    few = section(base, row("twice", (BASE + ABOVE)[:2], gain=0.31))
    assert tables.best(few) == (
        "twice has the highest PSNR, 22.20 dB; it takes 3 seeds to call a row better. "
        "Rows that were still improving may change places."
    )
    assert tables.best(section(base, floor)) == ""


def test_rows_of_the_same_runs_are_compared_once(row):
    base, above = row("base", BASE), row("improved", BASE + ABOVE)
    twins = section(base, above, replace(above, label="improved, tuned"))
    assert [line["group"] for line in lines(twins).values()] == ["b", "a", "a"]
    assert tables.best(twins).startswith(
        "improved = improved, tuned has the best PSNR, 22.40 dB, significantly above every other trained row"
    )


def ends(values):
    """95 % t interval of the mean, by scipy."""
    return stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))


def test_means_and_intervals_over_seeds(table2):
    base = lines(table2)["base"]
    assert base["psnr"] == pytest.approx(20.5)
    assert (base["psnr_low"], base["psnr_high"]) == pytest.approx(ends(BASE))
    assert (base["ssim_low"], base["ssim_high"]) == pytest.approx(ends(BASE / 50))
    assert (base["published_psnr"], base["psnr_pooled"], base["published_ssim"]) == pytest.approx(
        (19.5, 20.0, 0.6)
    )
    assert base["loss"] == pytest.approx(np.mean(10 ** (-BASE / 10)))
    assert base["seeds"] == 3


def test_the_difference_is_ten_images_minus_the_report(table2):
    found = lines(table2)
    assert found["base"]["difference"] == pytest.approx(20.5 - 1 - 20.75)
    assert (found["base"]["report_ssim"], found["base"]["report_loss"]) == (0.64, 0.008)
    assert math.isnan(found["improved"]["difference"])
    assert found["later"]["report_psnr"] == 30.41
    assert math.isnan(found["later"]["difference"])


def test_the_comparison_with_the_reference_is_paired_and_adjusted(table2):
    found = lines(table2)
    p = [stats.ttest_rel(BASE + more, BASE).pvalue for more in (ABOVE, NEAR)]
    assert p[0] < p[1]
    improved, near = found["improved"], found["near"]
    assert improved["against"] == pytest.approx(1.9)
    assert (improved["against_low"], improved["against_high"]) == pytest.approx(ends(ABOVE))
    assert improved["against_p"] == pytest.approx(2 * p[0])  # Holm: the smaller of two counts twice
    assert near["against_p"] == pytest.approx(p[1])
    assert near["against"] == pytest.approx(0.02)
    for label in ("base", "later", "PCA 256"):
        assert math.isnan(found[label]["against"])


def test_another_network_is_compared_with_the_reference_by_welch_and_a_floor_is_a_constant(row):
    improved = row("improved", BASE + ABOVE, model="another")
    expected = stats.ttest_ind(BASE + ABOVE, BASE, equal_var=False)
    found = lines(section(row("base", BASE), improved, reference="base"))["improved"]
    assert found["against_p"] == pytest.approx(expected.pvalue)
    found = lines(section(improved, row("PCA", [26.8], floor=True), reference="PCA"))["improved"]
    assert found["against"] == pytest.approx(22.4 - 26.8)
    assert found["against_p"] == pytest.approx(stats.ttest_1samp(BASE + ABOVE, 26.8).pvalue)


def test_letters_part_what_differs(table2):
    pairs = [(ABOVE, 0 * BASE), (ABOVE, NEAR), (NEAR, 0 * BASE)]
    p = [stats.ttest_rel(a, b).pvalue for a, b in pairs]
    assert sorted(p) == [p[0], p[1], p[2]]
    assert 2 * p[1] < 0.05 < p[2]  # Holm over three pairs parts improved from both others, which stay alike
    letters = {label: line["group"] for label, line in lines(table2).items()}
    assert letters == {"improved": "a", "base": "b", "near": "b", "later": "", "PCA 256": ""}


def test_costs_are_means_and_a_floor_has_no_interval(table2):
    found = lines(table2)
    base = found["base"]
    assert (base["parameters"], base["latent"], base["code"]) == (376515, 256, 1280)
    assert (base["flops"], base["seconds"], base["epochs"]) == (3457024, 1010, 10)
    assert (found["PCA 256"]["psnr"], found["PCA 256"]["floor"]) == (26.8, True)
    assert math.isnan(found["PCA 256"]["psnr_low"])
    assert math.isnan(found["later"]["psnr"])
    assert math.isnan(found["later"]["parameters"])


def test_notes_name_what_is_missing_and_what_still_improves(row):
    found = lines(
        section(
            row("partly", [20.0], missing={1: "failed: loss is not finite", 2: "not run"}),
            row("none", missing=dict.fromkeys(range(3), "not run")),
            row("rising", [20.0], gain=0.31, missing={1: "not run"}),
            row("settled", [20.0], gain=0.05),
        )
    )
    assert found["partly"]["note"] == "seed 1: failed: loss is not finite; seed 2: not run"
    assert found["none"]["note"] == "3 seeds: not run"
    assert found["rising"]["note"] == "still improving (+0.31 dB in the last fifth); seed 1: not run"
    assert found["settled"]["note"] == ""
    assert found["rising"]["gain"] == pytest.approx(0.31)


def test_notes_name_seeds_that_were_trained_unlike_the_others(row):
    exact, fast = (
        {"speed": "32-true", "code": "ab", "caelab": "0.14.0"},
        {"speed": "bf16-mixed", "code": "ab"},
    )
    older, newer = {"code": "cd"}, {"code": "ef", "caelab": "0.15.0"}  # of one code each
    parts = {
        "alike": [[exact], [exact | newer], [older, exact | {"code": "cd"}]],
        "mixed": [[exact], [fast], [fast]],
        "resumed": [[fast], [fast | older, fast], [fast]],
        "both": [[exact], [fast | older, exact]],
    }

    def trained(label, each):
        one = row(label, BASE[: len(each)])
        runs = {
            seed: Run(run.path, replace(run.record, earlier_environments=earlier, environment=last))
            for (seed, run), (*earlier, last) in zip(one.runs.items(), each, strict=True)
        }
        return replace(one, runs=runs)

    found = lines(section(*(trained(label, each) for label, each in parts.items())))
    assert {label: line["note"] for label, line in found.items()} == {
        "alike": "",
        "mixed": "trained with 32-true (seed 0) and bf16-mixed (seeds 1 and 2)",
        "resumed": "resumed under other code (seed 1)",
        "both": "trained with 32-true (seed 0) and bf16-mixed then 32-true (seed 1); "
        "resumed under other code (seed 1)",
    }


def test_settings_are_those_that_the_name_does_not_say(row):
    found = lines(
        section(
            row("adam", [20.0], settings={"optimizer.lr": 0.003}),
            row("base, model.latent=64", [20.0], settings={"model.latent": 64}),
        )
    )
    assert [line["settings"] for line in found.values()] == ["optimizer.lr=0.003", ""]


def test_text_of_a_table(row, table2):
    step = 0.14 * math.sqrt(3) / stats.t.ppf(0.975, 2)  # of three values whose interval is +- 0.14
    frame = tables.table(section(row("three", [23.64, 23.64 - step, 23.64 + step]), row("one", [26.0])))
    assert list(frame["full PSNR (dB)"]) == ["23.64 [23.50, 23.78]", "26.00"]
    assert list(frame["parameters"]) == ["376,515", "376,515"]
    assert list(frame["MFLOPs"]) == ["3.46", "3.46"]
    assert "full loss" not in frame.columns  # there is no loss of the report's to compare it with
    frame = tables.table(table2).set_index("variant")
    assert frame.loc["base", "difference (dB)"] == "-1.25"
    low, high = ends(ABOVE)
    p = 2 * stats.ttest_1samp(ABOVE, 0).pvalue
    assert frame.loc["improved", "minus base (dB)"] == f"+1.90 [{low:+.2f}, {high:+.2f}], p = {p:.3f}"
    assert frame.loc["later", "full PSNR (dB)"] == ""


def test_tiny_p_values_are_bounded_and_one_seed_has_none(row):
    rows = [row("base", BASE), row("far", BASE + 9 + ABOVE / 100), row("once", [22.0])]
    frame = tables.table(section(*rows, reference="base")).set_index("variant")
    assert frame.loc["far", "minus base (dB)"] == "+9.02 [+9.02, +9.02], p < 0.001"
    assert frame.loc["once", "minus base (dB)"] == "+1.50"
    assert frame.loc["base", "minus base (dB)"] == ""


def test_empty_columns_are_dropped(row, table2):
    dropped = {"report PSNR (dB)", "report SSIM", "report loss", "difference (dB)", "note", "settings"}
    bare = tables.table(section(row("one", [20.0]), row("other", [21.0])))
    assert dropped.isdisjoint(bare.columns)
    assert "minus None (dB)" not in bare.columns
    assert dropped - set(tables.table(table2).columns) == {"settings"}


def test_how_well_anomalies_were_found_has_columns(row):
    found = row("found", BASE)
    for run, auroc in zip(found.runs.values(), (0.6, 0.62, 0.7), strict=True):
        run.record.metrics.update({"anomaly/auroc_error": auroc, "anomaly/auroc_neighbours": auroc + 0.1})
    shown = section(found, row("bare", BASE))
    frame = tables.table(shown).set_index("variant")
    low, high = ends([0.6, 0.62, 0.7])
    assert frame.loc["found", "AUROC of errors"] == f"0.640 [{low:.3f}, {high:.3f}]"
    assert frame.loc["found", "AUROC of codes"] == f"0.740 [{low + 0.1:.3f}, {high + 0.1:.3f}]"
    assert any(tables.short(frame.loc["found", "AUROC of codes"]) in cells for cells in printed(shown)[1])


def test_what_probes_found_has_columns_where_there_is_any(row, table2):
    found, bare = row("found", BASE), row("bare", BASE)
    for run, accuracy in zip(found.runs.values(), (0.4, 0.41, 0.45), strict=True):
        run.record.metrics.update({"probe/z/linear": accuracy, "probe/z/mig": accuracy / 2})
    low, high = ends([0.4, 0.41, 0.45])
    both = section(found, bare)
    frame = tables.table(both).set_index("variant")
    assert frame.loc["found", "linear probe of z"] == f"0.420 [{low:.3f}, {high:.3f}]"
    assert frame.loc["bare", "linear probe of z"] == ""
    assert frame.loc["found", "MIG"].startswith("0.210 [")
    assert any(tables.short(frame.loc["found", "linear probe of z"]) in cells for cells in printed(both)[1])
    assert "10-NN probe of z" not in frame
    assert not [name for name in tables.numbers(table2) if "probe" in name]


def test_files_hold_the_numbers_and_the_text(tmp_path, table2):
    paths = tables.write(table2, tmp_path / "new" / "tables", tables.numbers(table2))
    assert [path.name for path in paths] == [f"table2-cifar10.{kind}" for kind in ("csv", "md", "tex")]
    with paths[0].open(newline="") as file:
        written = list(csv.DictReader(file))
    expected = tables.numbers(table2).to_dict("records")
    assert [line["variant"] for line in written] == ["base", "improved", "near", "later", "PCA 256"]
    for line, raw in zip(written, expected, strict=True):
        assert list(line) == list(raw)
        for key, value in raw.items():
            if isinstance(value, float) and not isinstance(value, bool):
                assert line[key] == "" if math.isnan(value) else float(line[key]) == value
            else:
                assert line[key] == ("" if value is None else str(value))
    text = paths[1].read_text().splitlines()
    assert len(text) == 2 + 5
    assert text[2].startswith("| base | 3 |  | 20.75 | 19.50 [")
    caption = "Table II, CIFAR-10: test split, means over seeds ± 95 % t intervals."
    narrow = tables.narrow(table2, tables.table(table2)).map(tables.short)
    assert paths[2].read_text() == tables.latex(narrow, caption)


def test_markdown_escapes_pipes_and_keeps_a_row_on_its_line():
    frame = pd.DataFrame({"variant": ["a|b", "c"], "seeds": ["3", "1"], "note": ["", "one\ntwo"]})
    assert tables.markdown(frame) == (
        "| variant | seeds | note |\n| --- | ---: | --- |\n| a\\|b | 3 |  |\n| c | 1 | one two |\n"
    )


def test_latex_escapes_what_it_would_read_as_commands():
    frame = pd.DataFrame({"variant": [r"a_b & 50% #1 {x} ~^\$"], "one a class (dB)": ["p < 0.1 | > 1"]})
    assert tables.latex(frame, "50 %") == (
        "\\begin{table}\n\\centering\\small\n\\caption{50 \\%}\n"
        "\\resizebox{\\ifdim\\width>\\textwidth\\textwidth\\else\\width\\fi}{!}{%\n"
        "\\begin{tabular}{lr}\n\\toprule\nvariant & \\shortstack[r]{one a\\\\class (dB)} \\\\\n\\midrule\n"
        r"a\_b \& 50\% \#1 \{x\} \textasciitilde{}\textasciicircum{}\textbackslash{}\$"
        r" & p \textless{} 0.1 \textbar{} \textgreater{} 1 \\"
        "\n\\bottomrule\n\\end{tabular}}\n\\end{table}\n"
    )


def printed(section, width=300):
    """The lines of the table on the screen, and the cells of its rows."""
    console = Plain(width=width)
    with console.capture() as capture:
        console.print(Shown(section))
    text = capture.get().splitlines()
    return text, [[cell.strip() for cell in line.split("│")[1:-1]] for line in text if line.startswith("│")]


def test_the_table_of_a_sweep_of_one_run_says_what_is_next(tmp_path, capsys):
    show_sweep({tmp_path / "of May": toys.exact(artifacts={})})
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.strip() == "1 run, test split, best on validation first, shapes"
    assert last == f"next: caelab report '{tmp_path / 'of May'}'"


def test_the_screen_shows_the_best_first_and_counts_what_was_not_run(row, table2):
    text, rows = printed(table2)
    assert [cells[0] for cells in rows] == ["PCA 256", "improved", "near", "base"]
    assert text[0].strip() == "Table II, CIFAR-10"
    assert text[-3:] == [
        "means over 3 seeds, ± to the end of the 95 % t interval",
        "1 row not run",
        tables.best(table2),
    ]
    assert not any("not run" in line for line in printed(section(row("only", [20.0])))[0])


def test_the_screen_puts_rows_in_the_order_of_validation_and_shows_it(row):
    text, rows = printed(section(row("a", [22.0], validation=-3.0), row("b", [21.0], validation=-1.0)))
    head = next(line for line in text if "variant" in line).split("┃")[1:-1]
    column = [name.strip() for name in head].index("validation PSNR (dB)")
    assert [(cells[0], cells[column]) for cells in rows] == [("b", "20.00"), ("a", "19.00")]


def test_a_narrow_screen_breaks_the_names_of_rows_and_cuts_none(row):
    names = ["skip, model.skip_levels=[1,2,3,4]", "skip, model.skip_levels=[1,2]"]
    _, shown = printed(section(*(row(name, [20.0]) for name in names)), width=80)
    assert "".join(cells[0] for cells in shown).replace(" ", "") == "".join(names).replace(" ", "")


def test_the_screen_shows_failures_last_and_brackets_as_they_are(row):
    failed = {0: "failed: [enforce fail at alloc.cpp:9] no memory [/tmp]"}
    rows = [row("lost", missing=failed), row("base, model.join=[add]", [20.0]), row("best", [21.0])]
    text, shown = printed(section(*rows))
    assert [cells[0] for cells in shown] == ["best", "base, model.join=[add]", "lost"]
    assert f"lost: seed 0: {failed[0]}" in text


def test_rows_that_bypass_their_latent_are_marked_in_every_table(row):
    rows = [row("around", BASE), row("through", BASE), row("partly", BASE), row("unknown", BASE)]
    for run, value in zip(rows[0].runs.values(), (0.02, 0.03, 0.07), strict=True):
        run.record.metrics["test/latent_reliance"] = value
    for run in rows[1].runs.values():
        run.record.metrics["test/latent_reliance"] = 1.0
    rows[2].runs[1].record.metrics["test/latent_reliance"] = 0.5
    found = lines(section(*rows))
    assert found["around"]["latent_reliance"] == pytest.approx(0.04)
    assert found["around"]["latent_reliance_high"] == pytest.approx(ends([0.02, 0.03, 0.07])[1])
    assert math.isnan(found["unknown"]["latent_reliance"])
    assert [line["bypassing"] for line in found.values()] == [True, False, False, False]
    expected = ["0.04 bypassing", "1.00", "0.50", ""]
    assert list(tables.table(section(*rows))["latent reliance"]) == expected
    _, shown = printed(section(*rows))
    assert sorted(cell for cells in shown for cell in cells if cell in expected[:3]) == sorted(expected[:3])
    assert f"{BYPASSING} is marked as bypassing" in caption(["latent reliance"], False, False, False)


def test_an_analysis_of_a_run_stands_in_its_row(row):
    one = row("around", [20.0])
    record = one.runs[0].record
    results.write_analysis(one.runs[0].path, "audit", record, {"figures": {"audit/latent_reliance": 0.2}})
    assert one.values("audit/latent_reliance") == one.values("test/latent_reliance") == {0: 0.2}
    assert one.values("audit/psnr_pca") == {}
    assert lines(section(one))["around"]["latent_reliance"] == 0.2


def test_how_to_read_speaks_of_what_stands_in_the_tables_and_of_nothing_else(row):
    frame = tables.table(section(row("one", BASE), row("other", BASE)))
    said = caption(list(frame), intervals=False, compared=False, floors=False)
    assert said.startswith(
        "Full: all test images; PSNR and SSIM are means over seeds. One a class: of the first test image of "
        "each class, by the report's protocol. Rows that share a letter do not differ significantly "
    )
    assert said.endswith(" Code: numbers that reach the decoder, with those of the skips.")
    assert not [word for word in ("interval", "Floors", "ten images", "AUROC", "Probes") if word in said]
    assert caption([], intervals=True, compared=True, floors=True) == (
        "Minus a row: the difference in full PSNR (t tests, paired by seed where rows start from the same "
        "weights, Welch's elsewhere), with p Holm-adjusted over the table. In brackets: the 95 % t interval "
        "over seeds, cut off where the figure cannot lie. Floors are fitted without training."
    )


def test_a_table_fits_its_screen_and_has_eight_columns_at_most(row):
    rows = [row(f"a variant with a name as long as number {n}", BASE + n) for n in range(3)]
    one = section(*rows, reference=rows[0].label)
    for width in (40, 60, 80, 120):
        text, shown = printed(one, width)
        assert max(map(len, text)) <= width
        cells = [cell for cells in shown for cell in cells]
        assert [f"{20.5 + n:.2f} ± {ends(BASE)[1] - 20.5:.2f}" in cells for n in range(3)] == [True] * 3
    _, shown = printed(one, 400)
    assert {len(cells) for cells in shown} == {8}
    assert len(tables.table(one).columns) > 8
    frame = tables.narrow(one, tables.table(one))
    assert list(frame) == [name for name in tables.table(one) if name in tables.main(one, tables.table(one))]
    assert len(frame.columns) == 8


def test_what_claims_are_about_comes_first_among_analyses(row):
    figures = ["probe/z/linear", "probe/z/knn", "probe/z/mig", "anomaly/auroc_error", "rate/bits_per_number"]
    one = row("found", BASE)
    for run in one.runs.values():
        run.record.metrics.update(dict.fromkeys(figures, 0.5))
    claims = [{"metric": "rate/bits_per_number"}]
    names = tables.main(section(one, claims=claims), tables.table(section(one)))
    assert names[:3] == ["variant", "full PSNR (dB)", "bits per number"]


def test_an_interval_is_short_where_room_is(row):
    assert tables.short("20.50 [20.10, 20.90], p = 0.030") == "20.50 ± 0.40, p = 0.030"
    assert tables.short("0.990 [0.900, 1.000]") == "0.990 ± 0.090"  # cut off at 1
    assert tables.short("-1.25 [-1.50, -1.00]") == "-1.25 ± 0.25"
    assert tables.short("skip [1, 2]") == "skip [1, 2]"


@pytest.mark.parametrize("label", ["ok 3 [16, 32]", "v 1.2.3 [1.2, 3.4]"])
def test_a_label_is_no_interval(row, tmp_path, label):
    one = section(row(label, BASE))
    tables.write(one, tmp_path, tables.numbers(one))
    text = (tmp_path / f"{one.name}.tex").read_text()
    assert label.replace("[", "{[}") in text
    assert f"{BASE.mean():.2f} ± " in text
    assert any(label in line for line in printed(one)[0])


def test_the_published_protocol_is_of_the_reports_datasets_only(row):
    own = replace(section(row("base", BASE)), dataset="shapes")
    assert not [name for name in tables.table(own) if "one a class" in name]
    assert not [name for name in tables.numbers(own) if "published" in name]
    assert "one a class PSNR (dB)" in tables.table(section(row("as before", BASE)))


def test_of_very_many_rows_the_best_are_shown_and_none_are_paired(row, monkeypatch):
    monkeypatch.setattr(tables, "groups", None)  # which goes through all pairs
    many = section(*(row(f"row {n}", [float(n)]) for n in range(60)), row("PCA", [5.0], floor=True))
    shown = many.shown()
    assert [one.label for one in shown.rows] == [*(f"row {n}" for n in range(59, 19, -1)), "PCA"]
    assert shown.title == "Table II, best 41 of 61 rows"
    assert shown.text.endswith("All 61 rows stand in tables/table2-cifar10.csv.")
    assert len(tables.numbers(many)) == 61
    text, rows = printed(many)
    assert [cells[0] for cells in rows] == [f"row {n}" for n in range(59, 19, -1)]
    assert "21 more in the CSV of a report" in text
    few = section(*many.rows[:40])
    assert few.shown() is few


def test_the_name_of_a_dataset_is_no_path(row, tmp_path):
    one = replace(section(row("base", BASE)), dataset="../../my/photos")
    folder = tmp_path / "tables"
    assert sorted(tables.write(one, folder, tables.numbers(one))) == sorted(folder.iterdir())


def test_bits_and_codebook_usage_stand_where_a_row_has_them(row):
    plain, discrete = row("plain", BASE), row("discrete", BASE)
    assert "bits" not in tables.numbers(section(plain))
    runs = {}
    for seed, run in discrete.runs.items():
        size, metrics = replace(run.record.size, bits=252.0), run.record.metrics | {"test/usage": 0.25}
        runs[seed] = Run(run.path, replace(run.record, size=size, metrics=metrics))
    both = section(plain, replace(discrete, runs=runs))
    frame = tables.table(both)
    assert list(frame["bits"]) == ["", "252"]
    assert list(frame["codebook usage"]) == ["", "0.250 [0.250, 0.250]"]
    assert {"bits", "codebook usage"} <= {*tables.main(both, frame)}
