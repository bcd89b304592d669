"""The benchmark of pages: a browser goes through images and codes, and a table holds what it tells."""

import json
from pathlib import Path

import pytest
from browser import CHROMIUM
from toys import leave_run

from caelab.bench import bench as command
from caelab.bench import pictures
from caelab.errors import UserError

PAGE = """<script type="application/json" id="about">{"images": {"count": 3}}</script>
<div id="bench"><div class="bar"><span class="meta"></span></div></div>
<script>
const states = [];
addEventListener("hashchange", () => {
    states.push(location.hash.slice(1));
    document.querySelector(".meta").textContent = `${states.length}.5 ms a picture`;
    document.documentElement.dataset.drawn = location.hash.slice(1);
    document.title = states.join(" ");
});
</script>
"""
ROUNDS = [
    {"opened": 1500, "images": [9, 3, 5], "moves": [1, 2, 7]},
    {"opened": 900, "images": [7], "moves": [4]},
]


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Files of figures, and pages that are not exported but made up."""

    def made_up(runs, out):
        (out / "interactive.html").write_text(PAGE)
        return out / "interactive.html"

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pictures, "interactive", made_up)
    return tmp_path / "multirun" / "bench"


def test_the_table_and_the_file(written, lab, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(pictures, "chromium", lambda: "chromium")
    rounds = iter(ROUNDS)
    monkeypatch.setattr(pictures, "times", lambda browser, page: next(rounds))
    run = leave_run(written.parent / "run")
    _, out, _ = lab("bench", "--page", "--rounds", "2", run)
    (path,) = written.glob("*.json")
    assert json.loads(path.read_text())["pages"][0]["rounds"] == ROUNDS
    _, text, _ = lab("bench", "--show", path)
    row = text.splitlines()[-1]
    assert row.endswith("| 6.0 (5.0 to 7.0) | 3.0 (2.0 to 4.0) | 50 | 1.2 (0.9 to 1.5) | 0.0 |")
    assert row.split(" | ")[1] in out


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_browser_goes_through_images_and_then_moves_a_code(tmp_path):
    page = tmp_path / "x.html"
    page.write_text(f'{PAGE}<script type="module">{pictures._SCRIPT.read_text()}</script>')
    found = pictures.times(CHROMIUM, page)
    assert found["images"] == [1.5, 2.5]
    assert found["moves"] == [n + 0.5 for n in range(3, 22)]
    assert 0 < found["opened"] < 20_000


def test_without_a_browser_or_a_run_a_line_says_so(lab, monkeypatch):
    monkeypatch.setattr(pictures.shutil, "which", lambda name: "/bin/x")
    assert "--page: name a finished run, such as caelab bench --page last" in lab("bench", "--page")[2]
    monkeypatch.setattr(pictures.shutil, "which", lambda name: None)
    assert "--page: needs a browser; install one of chromium, " in lab("bench", "--page", "last.x")[2]


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_page_that_tells_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "_SECONDS", 1)
    (tmp_path / "x.html").write_text("nothing")
    with pytest.raises(UserError, match="reported no times of the page within 1 s"):
        pictures.times(CHROMIUM, tmp_path / "x.html")


def test_the_page_of_the_task_shows_the_figures_on_record():
    docs = Path(__file__).parents[2] / "docs"
    table = command.markdown(docs / "results/bench/pictures-2-cores.json").strip()
    assert table in (docs / "how/interactive.md").read_text()
