"""Which files a command takes, what their outputs are called, and what is not overwritten."""

from pathlib import Path

import pytest
from PIL import Image

from caelab.errors import UserError
from caelab.inference import inputs


@pytest.fixture
def there(tmp_path, monkeypatch):
    """Leave files of these names; the working directory is their folder."""
    monkeypatch.chdir(tmp_path)

    def leave(*names):
        for name in names:
            path = Path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (1, 1)).save(path, "PNG")

    return leave


def named(*given, out="out", reserved=()):
    found = inputs.sources([Path(path) for path in given], Path(out), reserved)
    return {str(source.file): source.name for source in found}


def test_a_folder_is_its_pictures_at_any_depth(there, capsys):
    there("in/b.png", "in/a.JPG", "in/deep/er/c.webp", "in/.hidden.png", "in/.git/d.png", "in/notes.txt")
    assert named("in") == {
        "in/a.JPG": "a.png",
        "in/b.png": "b.png",
        "in/deep/er/c.webp": "deep/er/c.png",
    }
    assert capsys.readouterr().err == "in: skipped 1 of 4 files, which do not have the ending of an image\n"


def test_links_to_folders_are_followed_and_what_caelab_made_is_passed_over(there):
    there("real/a.png", "in/b.png", "in/rebuilt/c.png", "in/rebuilt/.caelab")
    Path("in/cats").symlink_to("../real")
    assert named("in") == {"in/b.png": "b.png", "in/cats/a.png": "cats/a.png"}


def test_a_named_file_is_taken_whatever_its_name(there):
    there("in/strange.xyz", "one.png")
    assert named("in/strange.xyz") == {"in/strange.xyz": "strange.png"}
    assert named("one.png", "in/strange.xyz") == {"one.png": "one.png", "in/strange.xyz": "in/strange.png"}


def test_same_names_from_two_folders_stay_apart(there):
    there("x/a/1.png", "x/b/1.png", "y/1.png")
    assert named("x/a", "x/b") == {"x/a/1.png": "a/1.png", "x/b/1.png": "b/1.png"}
    assert named("x/a", "y") == {"x/a/1.png": "x/a/1.png", "y/1.png": "y/1.png"}
    assert named("x") == {"x/a/1.png": "a/1.png", "x/b/1.png": "b/1.png"}
    assert list(named("x/a/../b").values()) == ["1.png"]


def test_a_file_is_taken_once(there):
    there("in/1.png", "in/2.png")
    assert named("in/2.png", "in", "./in") == {"in/2.png": "2.png", "in/1.png": "1.png"}


def test_names_that_differ_in_their_ending_only_stay_apart(there):
    there("in/1.bmp", "in/1.gif", "in/1.png", "in/1.gif.png", "in/overview.png")
    assert named("in", reserved=["overview.png"]) == {
        "in/1.bmp": "1.bmp.png",
        "in/1.gif": "1-2.png",
        "in/1.gif.png": "1.gif.png",
        "in/1.png": "1.png",
        "in/overview.png": "overview.png.png",
    }


def test_older_outputs_are_no_inputs(there):
    there("in/1.png", "in/out/1.png", "in/out/deep/2.png")
    assert named("in", out="in/out") == {"in/1.png": "1.png"}
    assert named("in", out="./in/../in/out") == {"in/1.png": "1.png"}
    assert len(named("in", out="in")) == 3


def test_mistakes_are_one_line(there):
    Path("empty").mkdir()
    there("text/a.txt", "text/b.md")
    for given, message in {
        (): "no image is given; name files or folders after RUN",
        ("nowhere.png",): "nowhere.png: there is no such file or folder",
        ("empty",): "empty: there is no image in this folder; it is empty",
        ("text",): "text: there is no image in this folder; none of its 2 files has the ending of one",
    }.items():
        with pytest.raises(UserError) as caught:
            named(*given)
        assert str(caught.value) == message


def test_outputs_overwrite_nothing_unless_it_is_said(there):
    there("out/1.png", "out/2.png", "in/1.png")
    free, taken, other = Path("out/3.png"), Path("out/1.png"), Path("out/2.png")
    assert inputs.require_free([free], force=False) is None
    assert inputs.require_free([free, taken, other], force=True, kept=[Path("in/1.png")]) is None
    with pytest.raises(UserError, match=r"^out/1\.png is there already; give another --out, or --force to"):
        inputs.require_free([free, taken], force=False)
    with pytest.raises(UserError, match=r"^out/1\.png is there already \(and 1 more\)"):
        inputs.require_free([taken, other], force=False)


def test_inputs_are_never_overwritten(there):
    there("in/1.png")
    Path("link").symlink_to("in")
    for force in (False, True):
        with pytest.raises(UserError, match=r"^link/1\.png: is an input, and would be overwritten"):
            inputs.require_free([Path("link/1.png")], force, [Path("in/1.png")])


@pytest.mark.parametrize(
    "words",
    [
        ["run", "a", "b", "--out", "out", "--fit", "tile"],
        ["--out", "out", "run", "a", "--fit", "tile", "b"],
        ["run", "--fit", "tile", "--out", "out", "a", "b"],
    ],
)
def test_words_may_come_in_any_order(words, lab, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    seen = []
    monkeypatch.setattr(
        "caelab.inference.reconstruct.reconstruct",
        lambda *args, **options: seen.append((args, options)) or ([], 0),
    )
    assert lab("reconstruct", *words)[0] == 0
    images = [Path("a"), Path("b")]
    assert seen == [
        ((Path("run"), images, Path("out"), "tile"), {"refine": 0, "encoder_steps": None, "force": False})
    ]


def test_a_missing_word_is_one_line(lab, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    assert lab("reconstruct", "run", "a") == (2, "", "caelab: Missing option '--out'.\n")
