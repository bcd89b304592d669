"""No text of a user is interpreted by what prints it: one nasty text, and every output that may show it."""

import csv
import io
import json
import re
import sys

import pytest
import torch
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from matplotlib.text import Text
from rich.table import Table

from caelab import terminal, texts
from caelab.analysis.anomaly.picture import detections
from caelab.plotting import figures, style
from caelab.plotting.embed import environment

NASTY = (
    "a[/q][red]b \x1b[31;1m\x9b2J\u202eevil "
    "<script>alert(1)</script><!-- &lt; &amp; **bold** _em_ `code` ``` [text](http://evil) ![i](x) ~~s~~ "
    "$5_$6 $\\frac{a}{0 | \\ % # _ ^ { } :smile: \udcff"
)
SHOWN = (
    "a[/q][red]b \ufffd[31;1m\ufffd2J\ufffdevil "
    "<script>alert(1)</script><!-- &lt; &amp; **bold** _em_ `code` ``` [text](http://evil) ![i](x) ~~s~~ "
    "$5_$6 $\\frac{a}{0 | \\ % # _ ^ { } :smile: \ufffd"
)
BLOCKS = [
    "# x",
    "- x",
    "+ x",
    "> x",
    "1. x",
    "12) x",
    "#",
    "x\n\n# y",
    "x\n===",
    "x\n    <b>",
    "[a]: http://evil",
]


@pytest.fixture
def console(monkeypatch):
    """The two consoles of the screen, as wide as it takes, on one file."""
    file = io.StringIO()
    plain = terminal.Plain(file=file, width=2_000, force_terminal=True, color_system=None)
    monkeypatch.setattr(terminal, "console", plain)
    monkeypatch.setattr(terminal, "errors", plain)
    return file


def without_cursor(text):
    """What rich itself says to the terminal is no user's text."""
    return re.sub(r"\x1b\[(\?25[lh]|2K|1A)", "", text)


def test_visible_text_is_itself_but_for_what_steers_a_terminal():
    assert texts.visible(NASTY) == SHOWN
    ordinary = "größe 日本 naïve\n\tb — “q” 🙂 €"
    assert texts.visible(ordinary) == ordinary
    assert texts.one_line("a\nb\t c\rd") == "a b c d"


def test_tables_on_the_screen(console):
    table = Table(NASTY, title=NASTY, caption=NASTY)
    table.add_row(NASTY)
    terminal.console.print(table)
    assert console.getvalue().count(SHOWN) == 4
    assert "\x1b" not in console.getvalue()


def test_lines_on_the_screen(console):
    terminal.say(NASTY)
    terminal.note(NASTY)
    terminal.error(f"{NASTY}\nsecond line")
    assert console.getvalue() == f"{SHOWN}\n{SHOWN}\ncaelab: {SHOWN} second line\n"


def test_bars_and_what_is_waited_for(console):
    with terminal.item_progress() as progress:
        task = progress.add_task(NASTY, total=1)
        progress.update(task, description=NASTY, advance=1)
    assert list(terminal.tracked([1], NASTY)) == [1]
    with terminal.working(NASTY):
        pass
    shown = without_cursor(console.getvalue())
    assert shown.count(SHOWN) >= 3
    assert "\x1b" not in shown


def tokens(markdown):
    """Every token of Markdown as a reader of tables and raw HTML sees it."""
    for block in MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(markdown):
        yield from block.children or [block]


PLAIN = {"text", "softbreak", "inline", "paragraph_open", "paragraph_close", "text_special"}
CELLS = {
    f"{part}_{end}" for part in ("table", "thead", "tbody", "tr", "th", "td") for end in ("open", "close")
}


@pytest.mark.parametrize("text", [NASTY, *BLOCKS])
def test_markdown_shows_it_as_it_is(text):
    found = list(tokens(texts.markdown(text)))
    assert {token.type for token in found} <= PLAIN
    assert "".join(
        token.content for token in found if not token.type.startswith("paragraph")
    ) == texts.one_line(text)


def test_a_table_of_markdown_keeps_its_cells():
    row = f"| {texts.markdown(NASTY)} | {texts.markdown(NASTY)} |\n"
    found = list(tokens(f"{row}| --- | --- |\n{row}"))
    assert {token.type for token in found} <= PLAIN | CELLS
    assert sum(token.type in ("th_open", "td_open") for token in found) == 4


@pytest.mark.parametrize("text", [NASTY, "`", "``", "a`", "a``b`c", "plain"])
def test_code_of_markdown_is_one_piece(text):
    (span,) = (token for token in tokens(texts.code(text)) if token.content)
    assert (span.type, span.content) == ("code_inline", texts.one_line(text))
    (block,) = tokens(texts.fenced(f"{text}\n```\n<b>\n````", "yaml"))
    assert (block.type, block.info) == ("fence", "yaml")
    assert block.content == f"{texts.visible(text)}\n```\n<b>\n````\n"


def test_a_template_of_markdown_escapes_what_it_is_given(tmp_path):
    (tmp_path / "t.j2").write_text("{{ text }}\n\n{{ text | code }}\n")
    shown = environment(".md", folder=tmp_path).get_template("t.j2").render(text=NASTY)
    kinds = [token.type for token in tokens(shown)]
    assert set(kinds) <= PLAIN | {"code_inline"}
    assert kinds.count("code_inline") == 1


def test_a_template_of_html_escapes_what_it_is_given(tmp_path):
    (tmp_path / "t.j2").write_text('<p title="{{ text }}">{{ text }}</p>')
    shown = environment(".html", folder=tmp_path).get_template("t.j2").render(text=f'{NASTY}" onload="x')
    assert re.findall(r"<\W*(\w+)", shown) == ["p", "p"]
    assert shown.count('"') == 2


def test_latex_shows_it_as_it_is():
    shown = texts.latex(NASTY)
    bare = re.sub(
        r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar)\{\}", "", shown
    )
    bare = re.sub(r"\\[&%$#_{}]", "", bare).replace("{[}", "")
    assert not set(bare) & set("\\&%$#_{}~^<>|[")


@pytest.mark.parametrize(
    "text", [NASTY, "a/b", "../../x", "/etc/passwd", ".hidden", "a b", "c:\\d", "x" * 300 + "/", "", "\0"]
)
def test_a_name_of_a_file_stays_where_it_is_put(text, tmp_path):
    name = texts.file_name(text)
    path = tmp_path / f"{name}.txt"
    path.write_text("")
    assert [path] == list(tmp_path.iterdir())
    assert re.fullmatch(r"[\w.+=@-]+", name) or text == ""
    assert not name.startswith(".")


def test_names_of_files_are_kept_apart_and_good_ones_stay():
    assert texts.file_name("a/b") != texts.file_name("a_b") == "a_b"
    assert texts.file_name("runs-shapes.v2") == "runs-shapes.v2"


def drawn(figure):
    return [text.get_text() for text in figure.findobj(Text)]


def test_a_grid_of_pictures_takes_any_names(tmp_path, monkeypatch):
    kept = []
    savefig = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (kept.append(self), savefig(self, *a, **k)))
    name = "a[/q]\x1b[31m\n$5_$6 $\\frac{\n<b>\udcff"
    tile = (torch.zeros(3, 4, 4), name)
    figures.grid(tmp_path / "grid.png", {name: [tile, tile], "cost $5_$6": [tile, tile]})
    curve = ([0, 1], [0, 1])
    blocks = {"scores": {name: [tile]}}
    detections(tmp_path / "detections.png", {"score": curve}, {"floor": curve}, blocks)
    assert drawn(kept[0]).count(texts.visible(name)) == 5
    assert "cost $5_$6" in drawn(kept[0])
    assert drawn(kept[1]).count(texts.visible(name)) == 2


def test_a_figure_of_a_report_takes_any_names(tmp_path):
    @style.styled
    def draw():
        figure = style.sheet(NASTY, 2.0)
        axes = figure.subplots()
        axes.plot([0, 1], label=NASTY)
        style.legend(figure, axes)
        return figure

    figure = draw()
    figure.savefig(tmp_path / "figure.svg")
    assert "\x1b" not in (tmp_path / "figure.svg").read_text()
    assert not any("\x1b" in text for text in drawn(figure))


def test_runs_in_every_format(tmp_path, capsys, monkeypatch):
    from caelab.cli import runs
    from caelab.runs.query import Found

    found = Found([NASTY, "psnr"], [(NASTY, 1.0)])
    for name, form in runs._FORMATS.items():
        form(found)
        out = capsys.readouterr().out
        assert "\x1b" not in out, name
        out.encode()
    runs._csv(found)
    assert list(csv.reader(io.StringIO(capsys.readouterr().out))) == [[SHOWN, "psnr"], [SHOWN, "1.0"]]
    runs._json(found)
    assert json.loads(capsys.readouterr().out) == {NASTY: NASTY, "psnr": 1.0}
    assert sys.stdout.encoding
