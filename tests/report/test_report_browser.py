"""The page in a browser: tables that sort, filters, plots and pictures, from the file alone."""

import json

import numpy as np
import pytest
import toys
from browser import CHROMIUM, browser

from caelab.report.asked import asked
from caelab.report.build import report
from caelab.runs import results

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

HOSTILE = "</script><img src=x onerror=alert(1)><b>bold</b>"
PSNR = {
    ("base", "mse"): (20.0, 20.4, 20.2),
    ("improved", "mse"): (22.0, 22.6, 22.3),
    (HOSTILE, "l1"): (24.0,),
}


def leave(path, number, model, loss, seed, psnr):
    path.mkdir(parents=True)
    record = toys.record(
        fingerprint=f"{number:016x}",
        seed=seed,
        choices={"model": model, "loss": loss},
        config={"model": {"_target_": model}, "loss": {"_target_": loss}},
        metrics={"val/psnr": psnr, "test/psnr": psnr, "test/psnr_pooled": psnr, "test/loss": 0.1},
        size={"parameters": 1_000_000 if model == "base" else 900},
        artifacts={"curves": "metrics.csv", "images": "reconstructions.npz"},
    )
    (path / results.RECORD).write_text(json.dumps(record))
    (path / "metrics.csv").write_text(f"epoch,train/loss,val/psnr\n0,0.2,{psnr - 1}\n1,0.1,{psnr}\n")
    images = np.full((3, 1, 4, 4), 100, np.uint8)
    np.savez(path / "reconstructions.npz", originals=images, reconstructions=images + number * 10)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The report of three variants, seven runs in all."""
    folder = tmp_path_factory.mktemp("page")
    runs = [(*variant, seed, psnr) for variant, found in PSNR.items() for seed, psnr in enumerate(found)]
    for number, run in enumerate(runs, 1):
        leave(folder / "runs" / str(number), number, *run)
    report(asked([str(folder / "runs")]), folder / "report")
    return folder / "report/index.html"


@pytest.fixture(scope="module")
def chromium():
    with browser() as one:
        yield one


@pytest.fixture
def opened(page, chromium):
    """The page, with all that it draws drawn."""
    chromium.errors.clear()
    chromium.requests.clear()
    chromium.call(
        "Emulation.setDeviceMetricsOverride", width=1280, height=3000, deviceScaleFactor=1, mobile=False
    )
    chromium.open(page)
    drawn = "document.querySelectorAll('.plot .main-svg').length"
    wait(chromium, f"{drawn} && document.querySelector('.panels figcaption').textContent")
    yield chromium
    assert chromium.errors == []
    assert [one for one in chromium.requests if not one.startswith(("file:", "data:", "blob:"))] == []


def wait(chromium, condition):
    answer = chromium.call(
        "Runtime.evaluate",
        expression=f"""new Promise((done, fail) => {{
            const look = () => ({condition}) ? done(true) : setTimeout(look, 20);
            setTimeout(() => fail("never: " + {json.dumps(condition)}), 20000);
            look();
        }})""",
        awaitPromise=True,
    )
    assert "exceptionDetails" not in answer, answer


def rows(chromium):
    return chromium.evaluate(
        "[...document.querySelectorAll('table.rows tbody tr')].filter((line) => !line.hidden)"
        ".map((line) => line.cells[0].textContent)"
    )


def choose(chromium, group, value):
    chromium.evaluate(
        f"""(() => {{
            const label = [...document.querySelectorAll("#filter label")]
                .find((one) => one.textContent.startsWith({json.dumps(group)}));
            const list = label.querySelector("select");
            list.value = {json.dumps(value)};
            list.dispatchEvent(new Event("change"));
        }})()"""
    )


def names():
    return [f"{HOSTILE}, l1", "improved, mse", "base, mse"]


def test_columns_sort_by_what_they_hold(opened):
    assert rows(opened) == names()
    heads = opened.evaluate(
        "[...document.querySelectorAll('table.rows thead th')].map((one) => one.textContent)"
    )
    order = {}
    for name in ("variant", "full PSNR (dB)", "parameters"):
        click = f"document.querySelectorAll('table.rows thead button')[{heads.index(name)}].click()"
        for turn in range(2):
            opened.evaluate(click)
            order[name, turn] = rows(opened)
    hostile, improved, base = names()
    assert order["variant", 0] == [hostile, base, improved]
    assert order["full PSNR (dB)", 0] == [hostile, improved, base] == order["full PSNR (dB)", 1][::-1]
    assert order["parameters", 0][0] == base  # 1,000,000 is more than 900
    assert opened.evaluate("document.querySelectorAll('th[aria-sort=ascending]').length") == 1


def test_a_table_shows_eight_columns_and_the_rest_on_demand(opened):
    count = (
        "[...document.querySelectorAll('table.rows thead th')]"
        ".filter((one) => getComputedStyle(one).display !== 'none').length"
    )
    assert opened.evaluate(count) <= 8
    everything = opened.evaluate("document.querySelectorAll('table.rows thead th').length")
    opened.evaluate("document.querySelector('.all').click()")
    assert opened.evaluate(count) == everything > 8


def test_filters_leave_rows_and_plots_of_a_choice(opened):
    labels = opened.evaluate(
        "[...document.querySelectorAll('#filter label')].map((one) => one.firstChild.data)"
    )
    assert labels == ["model ", "loss "]
    dots = "document.querySelector('.plot').data[0].x"
    assert opened.evaluate(dots) == [24, pytest.approx(22.3), pytest.approx(20.2)]
    choose(opened, "loss", "mse")
    assert rows(opened) == names()[1:]
    assert opened.evaluate(dots) == [pytest.approx(22.3), pytest.approx(20.2)]
    choose(opened, "model", "base")
    assert rows(opened) == ["base, mse"]
    choose(opened, "loss", "l1")
    assert opened.evaluate("document.querySelector('main section').hidden")
    choose(opened, "loss", "")
    choose(opened, "model", "")
    assert rows(opened) == names()


def test_curves_have_bands_over_seeds(opened):
    curves = opened.evaluate(
        "[...document.querySelectorAll('.plot')]"
        ".find((one) => one.ariaLabel.startsWith('PSNR on the validation')).data"
        ".map(({ x, y, fill }) => ({ x, y, fill }))"
    )
    bands = [one for one in curves if one.get("fill")]
    lines = [one for one in curves if not one.get("fill")]
    assert len(bands) == 2  # one seed has none
    assert [one["y"] for one in lines] == [[23, 24], [pytest.approx(21.3), pytest.approx(22.3)], [19.2, 20.2]]
    assert bands[1] == {"x": [1, 2, 2, 1], "y": [19.4, 20.4, 20, 19], "fill": "toself"}


def test_names_stay_text(opened):
    assert opened.evaluate("document.querySelectorAll('img[src=x], .plot b').length") == 0
    text = opened.evaluate("document.querySelector('.plot').data[0].text[0]")
    assert text == "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;&lt;b&gt;bold&lt;/b&gt;, l1"
    ticks = opened.evaluate("[...document.querySelectorAll('.ytick text')].map((one) => one.textContent)")
    assert "</script><img…b>bold</b>, l1"[:9] == ticks[0][:9]


def test_pictures_are_compared_by_pointing_at_them(opened):
    captions = "[...document.querySelectorAll('.panels figcaption')].map((one) => one.textContent)"
    pixel = (
        "(n) => [...document.querySelectorAll('.panels canvas')[n]"
        ".getContext('2d').getImageData(0, 0, 1, 1).data]"
    )
    decibels = [f"{20 * np.log10(255 / gap):.1f} dB" for gap in (70, 40)]  # of the lowest seeds
    assert opened.evaluate(captions) == [
        "original",
        f"A: {decibels[0]}",
        f"B: {decibels[1]}",
        "error of A",
        "error of B",
    ]
    assert opened.evaluate(f"({pixel})(0)") == [100, 100, 100, 255]
    assert opened.evaluate(f"({pixel})(1)") == [170, 170, 170, 255]
    assert opened.evaluate(f"({pixel})(3)") == [255, 255, 255, 255]  # 64 or more
    assert opened.evaluate(f"({pixel})(4)")[0] == 255
    assert opened.evaluate(f"({pixel})(4)")[1] == pytest.approx(765 * 40 / 64 - 255, abs=1)
    x, y = opened.evaluate(
        "(() => { const box = document.querySelectorAll('.panels canvas')[1].getBoundingClientRect();"
        "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
    )
    opened.point(x, y)
    assert opened.evaluate(captions)[1] == "original"
    assert opened.evaluate(f"({pixel})(1)") == [100, 100, 100, 255]
    opened.point(1, 1)
    assert opened.evaluate(captions)[1] == f"A: {decibels[0]}"
    assert opened.evaluate("document.querySelectorAll('.tile').length") == 3


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_it_fits_a_window_in_either_mode(opened, width, mode):
    opened.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
    )
    opened.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": mode}])
    wait(opened, "document.documentElement.scrollWidth <= innerWidth")
    ground = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    ink = opened.evaluate("getComputedStyle(document.body).color")
    brightness = [sum(map(int, one[4:-1].split(","))) for one in (ground, ink)]
    assert (
        (brightness[0] > 600 > 150 > brightness[1])
        if mode == "light"
        else (brightness[0] < 150 < 600 < brightness[1])
    )
    axis = "document.querySelector('.plot').layout.font.color"
    wait(opened, f"{axis} === getComputedStyle(document.documentElement).getPropertyValue('--ink').trim()")


def test_on_paper_it_is_light_and_no_plot_covers_another(opened):
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    size = {"width": 1017, "height": 688, "deviceScaleFactor": 1, "mobile": False}  # A4 within its margins
    opened.call("Emulation.setDeviceMetricsOverride", **size)
    opened.call("Emulation.setEmulatedMedia", media="print", features=dark)
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    ink = "document.querySelector('.plot').layout.font.color"
    assert opened.evaluate(ink) == "#1c2430"
    assert opened.evaluate(
        "[...document.querySelectorAll('.plot')].every((plot) => plot.querySelector('svg')"
        ".getBoundingClientRect().right <= plot.closest('figure').getBoundingClientRect().right)"
    )
    assert opened.evaluate("getComputedStyle(document.getElementById('filter')).display") == "none"
    opened.call("Emulation.setEmulatedMedia", media="screen", features=dark)
    opened.evaluate("dispatchEvent(new Event('afterprint'))")
    assert opened.evaluate(ink) == "#e4e8ee"


def test_without_scripts_the_tables_stand(page, chromium):
    chromium.open(page, script=False)
    root = chromium.call("DOM.getDocument", depth=-1)["root"]["nodeId"]
    found = chromium.call("DOM.querySelectorAll", nodeId=root, selector="table.rows tbody tr")
    assert len(found["nodeIds"]) == 3
