"""The page: complete, safe, and readable without any other file."""

import base64
import html
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import toys
from scipy import stats
from test_texts import NASTY, tokens

from caelab.metrics.statistics import Difference
from caelab.plotting.embed import Picture, plotly
from caelab.report import page, plots, tables
from caelab.report.claims import Verdict, verdicts
from caelab.report.compare import Comparison
from caelab.report.page import Chapter, Page
from caelab.report.rows import Row, Run, Section

HOSTILE = "<script>alert(1)</script>"
PIXELS = b"\x89PNG\r\n\x1a\n" + bytes(range(256))  # any bytes: they are embedded, not decoded
ABSENT = [
    "Table III, MNIST: caelab study table3",
    "Table I, CINIC-10: caelab study table1; it fetches 687 MB",
]
VOID = {"meta", "img", "input"}


class Reader(HTMLParser):
    """Collects elements with their attributes, texts, and elements that are left open."""

    def __init__(self):
        super().__init__()
        self.elements, self.texts, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def having(self, attribute):
        return [attrs[attribute] for _, attrs in self.elements if attribute in attrs]


def row(label, *psnr, **changes):
    runs = {}
    for seed, value in enumerate(psnr):
        metrics = dict.fromkeys(("test/psnr", "test/psnr_pooled", "published/psnr"), value)
        metrics |= dict.fromkeys(("test/ssim", "published/ssim", "test/loss"), 0.5)
        size = {"parameters": 7, "latent": 8, "effective_code": 9, "flops_per_image": 10, "input_numbers": 12}
        time = {"fit_seconds": 3.0, "epochs": 2}
        data = {"name": "cifar10", "train": 40, "val": 10, "test": 5, "sha256": "d66d"}
        config = {"model": {"_target_": "one"}}
        choices = {"model": label, "loss": "mse", "optimizer": "adam", "dataset": "cifar10"}
        made = {"metrics": metrics, "size": size, "time": time, "config": config, "choices": choices}
        record = toys.exact(**made, artifacts={}, data=data)
        runs[seed] = Run(Path("none"), record)
    return Row(label, "cifar10", runs=runs, **changes)


def section(*rows, **changes):
    return Section("table2", "Table II & more", "Its <em>question</em>.", "cifar10", rows, **changes)


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "figures" / "table2-cifar10-psnr.png"
    path.parent.mkdir()
    path.write_bytes(PIXELS)
    return Picture(f"PSNR of {HOSTILE}", path, "rate")  # a kind that the page does not draw itself


CLAIMS = (
    {"text": "improved's skips beat base", "better": ["improved"], "than": ["base"]},
    {"text": "base beats improved", "better": ["base"], "than": ["improved"]},
    {"text": "near beats base", "better": ["near"], "than": ["base"]},
    {"text": "late beats base", "better": ["late"], "than": ["base"]},
)
ROWS = (
    row("base", 20.0, 20.5, 21.0),
    row("improved", 22.0, 22.4, 23.1),
    row("near", 20.1, 20.4, 21.1),
    row("late", missing={0: "not run"}),
    row(HOSTILE, 19.0),
)


def chapter(one, *pictures, drawn=None):
    return Chapter(
        one, one, tables.table(one), tables.best(one), pictures, plots.plain(one, one, drawn or {})
    )


@pytest.fixture
def written(tmp_path, picture):
    """The page of one study with every verdict, as its two texts."""

    def write(**changes):
        one = section(*ROWS, claims=CLAIMS)
        made = {
            "command": f"caelab report runs '{HOSTILE}'",
            "made": "1 May 2026",
            "environments": ["3 runs: cpu, 2 threads, torch 2.11"],
            "chapters": [chapter(one, picture, replace(picture, kind="psnr"))],
            "absent": ABSENT,
            "verdicts": verdicts(one),
        }
        paths = page.write(Page(**{**made, **changes}), tmp_path)
        assert [path.name for path in paths] == ["index.html", "index.md"]
        return [path.read_text(encoding="utf-8") for path in paths]

    return write


def parsed(text):
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def test_nothing_outside_the_file_is_referred_to(written):
    text, _ = written()
    assert text.count(plotly()) == 1  # whose own links lead to its makers, from buttons that are not shown
    text = text.replace(plotly(), "")
    reader = parsed(text)
    references = reader.having("src") + reader.having("href")
    assert len(references) == 4  # three links of the contents and a picture
    assert [one for one in references if not one.startswith(("#", "data:"))] == []
    assert re.search(r"@import|url\((?!\$\{rows\[0\]\.uri\})|https?://", text) is None
    assert {"link", "iframe", "object"}.isdisjoint(tag for tag, _ in reader.elements)


def test_links_of_the_contents_lead_to_headings(written):
    reader = parsed(written()[0])
    assert reader.having("href") == ["#verdicts", "#table2-cifar10", "#reading"]
    ids = ["all-table2-cifar10", "data", "filter", "reading", "table2-cifar10", "verdicts"]
    assert sorted(reader.having("id")) == ids


def test_pictures_are_embedded_whole(written):
    (source,) = parsed(written()[0]).having("src")
    head, _, body = source.partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(body) == PIXELS


def test_hostile_text_stays_text(written):
    text, _ = written(environments=[HOSTILE], absent=[HOSTILE])
    reader = parsed(text)
    assert text.count("<script") == [tag for tag, _ in reader.elements].count("script") == 3  # our own
    # command, environment, absent study, row, and caption; the picture's alternative text is an attribute
    assert sum(one.count(HOSTILE) for one in reader.texts) == 5
    assert reader.having("alt") == [f"PSNR of {HOSTILE}"]
    assert "Its <em>question</em>." in reader.texts


def test_markdown_shows_every_name_as_it_is(written, picture):
    made = {"environments": [NASTY], "absent": [NASTY, "# no heading"], "command": NASTY}
    one = section(*ROWS, row(NASTY, 18.0))
    _, markdown = written(**made, chapters=[chapter(one, replace(picture, kind="psnr"))])
    kinds = Counter(token.type for token in tokens(markdown))
    assert not {"html_inline", "html_block", "em_open", "s_open"} & set(kinds)
    assert [kinds[name] for name in ("image", "code_inline", "link_open", "strong_open")] == [
        1,
        1,
        2,
        5,
    ]  # of our own
    assert "\x1b" not in markdown


def test_every_verdict_stands_in_both_files(written):
    text, markdown = written()
    found = verdicts(section(*ROWS, claims=CLAIMS))
    assert [one.word for one in found] == ["holds", "contradicted", "undecided", "not measured"]
    plain = re.sub(r"<[^>]*>", "", text)
    for one, sign in zip(found, "✓✗?–", strict=True):
        assert f"{sign} {one.word}: {one.words}" in html.unescape(plain)
        assert f"- {sign} **{one.word}**: {one.words}\n" in markdown
    kinds = [attrs["class"] for tag, attrs in parsed(text).elements if tag == "li" and "class" in attrs]
    assert kinds == ["holds", "contradicted", "undecided", "not-measured"]


def test_verdicts_stand_in_a_table_with_their_p_over_all_claims(written):
    text, markdown = written()
    found = verdicts(section(*ROWS, claims=CLAIMS))
    p = [stats.ttest_rel([22.0, 22.4, 23.1], [20.0, 20.5, 21.0]).pvalue]
    p.append(stats.ttest_rel([20.1, 20.4, 21.1], [20.0, 20.5, 21.0]).pvalue)
    assert [one.p for one in found] == [pytest.approx(p[0]), pytest.approx(p[0]), pytest.approx(p[1]), None]
    head = ["verdict", "claim", "difference", "p", "p over all claims", "survives"]
    assert p[0] < 0.001 < 3 * p[0] < 0.05 < p[1]
    shown = ["< 0.001", f"{3 * p[0]:.3f}", "yes"]
    expected = [
        ["✓ holds", "improved's skips beat base on CIFAR-10", found[0].figures, *shown],
        ["✗ contradicted", "base beats improved on CIFAR-10", found[1].figures, *shown],
        ["? undecided", "near beats base on CIFAR-10", found[2].figures, f"{p[1]:.3f}", f"{p[1]:.3f}", ""],
        ["– not measured", "late beats base on CIFAR-10", "", "", "", ""],
    ]
    lines = markdown.split("## Verdicts\n\n")[1].splitlines()
    assert [line[2:-2].split(" | ") for line in (lines[0], *lines[2:5])] == [head, *expected[:3]]
    rows = re.findall(r'<tr class="[a-z-]*">(.*?)</tr>', text)
    cells = [[html.unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", one)] for one in rows]
    assert cells == [[claim, word, *rest] for word, claim, *rest in expected]
    for page_text in (text, markdown):
        assert "Holm-adjusted over all 3 claims of this report" in page_text


def test_a_verdict_may_be_lost_among_many(written):
    claims = [{"text": "some beats base", "better": ["some"], "than": ["base"]}, *[CLAIMS[2]] * 9]
    _, markdown = written(verdicts=verdicts(section(*ROWS, row("some", 20.3, 20.9, 21.6), claims=claims)))
    (line,) = [line for line in markdown.splitlines() if line.startswith("| ✓ holds | some beats")]
    p = stats.ttest_rel([20.3, 20.9, 21.6], [20.0, 20.5, 21.0]).pvalue
    assert p < 0.05 < 10 * p
    assert line.endswith(f" | {p:.3f} | {10 * p:.3f} | no |")


def test_the_numbers_behind_a_verdict(written):
    known = Comparison("a", "b", Difference(1.23456, 0.1, 3.5, 3, "Welch"), 0.00246, 1.0)
    low, high = stats.t.interval(0.95, 3.5, 1.23456, 0.1)
    alone = Comparison("a", "c", Difference(-0.5, None, 0, 1, "one-sample"), None, None)
    text, _ = written(verdicts=[Verdict("a wins", "cifar10", "undecided", "", "a wins", [known, alone], [])])
    cells = re.findall(r'<tr><th scope="row">(a against .)</th>(.*?)</tr>', text, re.DOTALL)
    found = {name: re.findall(r"<td[^>]*>(.*?)</td>", rest) for name, rest in cells}
    assert found == {
        "a against b": ["+1.235", f"{low:+.3f} to {high:+.3f}", "0.002", "1.000", "3", "Welch"],
        "a against c": ["-0.500", "", "", "", "1", "one-sample"],
    }


def test_absent_studies_stand_in_both_files(written):
    text, markdown = written()
    for line in ABSENT:
        assert f"<li>{line}</li>" in text
        assert f"- {line}\n" in markdown
    text, markdown = written(absent=[], verdicts=[])
    assert "Not measured" not in text + markdown
    assert "Verdicts" not in text + markdown


def test_a_chapter_is_its_table_under_its_title(written):
    text, markdown = written()
    frame = tables.table(section(*ROWS, claims=CLAIMS))
    assert "\n## Table II & more, CIFAR-10\n\nIts &lt;em>question&lt;/em>.\n" in markdown
    assert markdown.startswith("# Table II & more\n")
    assert (
        "\n**Of 4 claims, 1 holds, 1 is contradicted, 1 is undecided and 1 is not measured.**\n" in markdown
    )
    assert "[All columns](tables/table2-cifar10.md)" in markdown
    assert tables.markdown(tables.narrow(section(*ROWS), frame)) in markdown
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", text[text.index('id="table2-cifar10"') :], re.DOTALL)
    cells = [[html.unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", one)] for one in rows]
    assert cells == [list(frame.columns), *frame.values.tolist()]


def test_markdown_links_to_the_picture_beside_it(tmp_path, written):
    _, markdown = written()
    (link,) = re.findall(r"!\[.*?\]\((.*?)\)\n", markdown.replace("alert(1)", ""))
    assert (tmp_path / link).read_bytes() == PIXELS
