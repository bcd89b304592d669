"""The page of a look: complete, safe, readable without any other file, and alive in a browser."""

import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from browser import CHROMIUM, browser
from matplotlib.figure import Figure
from PIL import Image
from toys import Linear, images

from caelab.analysis.look import page as look_page
from caelab.analysis.look.page import Page
from caelab.analysis.look.parts import Part, Sight
from caelab.analysis.look.portrait import Portrait

HOSTILE = "<script>alert(1)</script>"
PAGE = Page(
    "improved on CIFAR-10", "caelab look run", {"checkpoint": "best.ckpt"}, ["A note."], range(100, 112)
)
# Twelve marks: a row of eleven, and one far above its middle.
PLACES = np.array([*([x, 0.0] for x in range(11)), [5.0, 10.0]])

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def sight(classes):
    portrait = Portrait(Linear((3, 4, 5)), images(12, (3, 4, 5)), np.arange(12) % 2, 0)
    return Sight(portrait, "run", classes, "pca", PLACES)


def parts():
    empty = Figure(figsize=(1, 1))
    return {
        "usage": Part(f"Use {HOSTILE}", "Read it so.", "Found this.", empty),
        "map": Part("A map", "Each mark is an image.", "12 images.", empty),
        "filters": Part("Filters", "Read it.", "There are none.", None),
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A page with hostile names in it."""
    classes = {0: HOSTILE, 1: "dog"}
    page = replace(PAGE, title=HOSTILE, notes=[HOSTILE], command=f"caelab look {HOSTILE}")
    return look_page.write(page, sight(classes), parts(), tmp_path_factory.mktemp("hostile"))


def test_every_picture_lies_beside_the_page_and_in_it(written):
    assert sorted(path.name for path in written.parent.iterdir()) == ["index.html", "map.png", "usage.png"]
    (embedded,) = re.findall(r'<img src="data:image/png;base64,([^"]*)"', written.read_text())
    assert base64.b64decode(embedded) == (written.parent / "usage.png").read_bytes()


def test_nothing_outside_the_file_is_referred_to(written):
    text = written.read_text()
    references = re.findall(r'(?:src|href)="([^"]*)"|url\("([^"]*)"\)', text)
    assert {(a or b).partition(":")[0].rstrip("0123456789") for a, b in references} <= {
        "data",
        "#mark",
        "#map",
        "#usage",
        "#filters",
    }
    assert "@import" not in text
    assert re.findall(r"https?://", text) == []


def test_hostile_text_stays_text(written):
    text = written.read_text()
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 6


def test_the_page_says_run_checkpoint_and_notes(tmp_path):
    text = look_page.write(PAGE, sight({0: "cat", 1: "dog"}), parts(), tmp_path).read_text()
    for words in (
        "improved on CIFAR-10",
        "<dt>checkpoint</dt><dd>best.ckpt</dd>",
        "<p>A note.</p>",
        "There are none.",
    ):
        assert words in text
    data = json.loads(re.search(r'id="points">(.*?)</script>', text, re.DOTALL)[1])
    assert [point["row"] for point in data["points"]] == list(range(100, 112))
    assert data["names"] == {"0": "cat", "1": "dog"}
    assert text.count("<use ") == 12


def test_the_same_run_gives_the_same_files(tmp_path):
    texts = []
    for name in "ab":
        (tmp_path / name).mkdir()
        texts.append(look_page.write(PAGE, sight({0: "a", 1: "b"}), parts(), tmp_path / name).read_bytes())
    assert texts[0] == texts[1]
    assert (tmp_path / "a/map.png").read_bytes() == (tmp_path / "b/map.png").read_bytes()


@pytest.mark.parametrize(
    ("shape", "size"), [((1, 28, 28), (28, 28)), ((3, 13, 17), (17, 13)), ((3, 64, 48), (24, 32))]
)
def test_a_sprite_holds_every_image_in_its_place(shape, size):
    plain = (torch.arange(7) * 36).to(torch.uint8)[:, None, None, None].expand(7, *shape)
    made = look_page.sprite(plain)
    assert (made.columns, made.rows, made.width, made.height) == (3, 3, *size)
    picture = Image.open(io.BytesIO(base64.b64decode(made.uri.partition(",")[2]))).convert("L")
    assert picture.size == (3 * size[0], 3 * size[1])
    for k in range(7):
        x, y = (k % 3 + 0.5) * size[0], (k // 3 + 0.5) * size[1]
        assert picture.getpixel((int(x), int(y))) == pytest.approx(36 * k, abs=4)


def test_places_fit_the_map_with_one_scale():
    found = look_page.on_the_map(np.array([[0.0, 0.0], [10, 0], [0, 2]]))
    width, height = look_page.MAP_SIZE
    assert found[:, 0].tolist() == [12, width - 12, 12]
    scale = (width - 24) / 10
    np.testing.assert_allclose(found[:, 1], [height / 2 + scale, height / 2 + scale, height / 2 - scale])


def test_equal_places_lie_in_the_middle():
    assert (look_page.on_the_map(np.ones((3, 2))) == np.array(look_page.MAP_SIZE) / 2).all()


@pytest.fixture(scope="module")
def chromium():
    with browser() as one:
        yield one


def middle(chromium, mark):
    """Where a mark of the map lies in the window."""
    box = f"document.querySelectorAll('#plot use')[{mark}].getBoundingClientRect()"
    return chromium.evaluate(
        f"(() => {{ const b = {box}; return [b.x + b.width / 2, b.y + b.height / 2] }})()"
    )


def said(chromium):
    return chromium.evaluate("document.getElementById('at').textContent")


@needs_chromium
def test_hovering_shows_the_image_behind_a_mark(chromium, written):
    chromium.open(written)
    chromium.evaluate("document.getElementById('plot').scrollIntoView()")
    for mark, row in ((3, 103), (11, 111)):
        x, y = middle(chromium, mark)
        chromium.point(x + 1, y + 1)
        assert f"test image {row}," in said(chromium)
        # 12 images lie in 4 columns and 3 rows
        place = chromium.evaluate("getComputedStyle(document.getElementById('thumbnail')).backgroundPosition")
        percents = [float(part.rstrip("%")) for part in place.split()]
        assert percents == pytest.approx([100 * (mark % 4) / 3, 100 * (mark // 4) / 2], abs=0.01)
    assert "Class dog" in said(chromium)
    x, y = middle(chromium, 3)
    for kind, points in (("touchStart", [{"x": x, "y": y}]), ("touchEnd", [])):
        chromium.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)
    assert "test image 103," in said(chromium)
    assert chromium.errors == []
    assert {address.partition(":")[0] for address in chromium.requests} <= {"file", "data", "about"}


@needs_chromium
def test_the_keyboard_reaches_the_map_and_steps_through_its_marks(chromium, written):
    chromium.open(written)
    for _ in range(20):
        chromium.press("Tab")
        if chromium.evaluate("document.activeElement.id") == "plot":
            break
    assert chromium.evaluate("getComputedStyle(document.getElementById('plot')).outlineStyle") == "solid"
    steps = [("Home", 100), ("ArrowRight", 101), ("ArrowRight", 102), ("ArrowLeft", 101), ("End", 110)]
    # the lone mark above has none to its left: those below lie rather down than left
    steps += [("ArrowUp", 111), ("ArrowUp", 111), ("ArrowLeft", 111), ("ArrowDown", 105)]
    for key, row in steps:
        chromium.press(key)
        assert f"test image {row}," in said(chromium), key
    assert chromium.errors == []


@needs_chromium
def test_without_javascript_the_map_is_there(chromium, written):
    chromium.open(written, script=False)
    tree = chromium.call("DOM.getDocument", depth=-1)["root"]["nodeId"]
    marks = chromium.call("DOM.querySelectorAll", nodeId=tree, selector="#plot use")["nodeIds"]
    boxes = [chromium.call("DOM.getBoxModel", nodeId=mark)["model"] for mark in marks]
    assert len(boxes) == 12
    assert all(box["width"] > 3 and box["height"] > 3 for box in boxes)
    assert chromium.call("DOM.querySelectorAll", nodeId=tree, selector=".js")["nodeIds"] == []
