"""Which folders are splits, and how pictures are divided where none is."""

import pytest

from caelab.data.layout import divide, split_folders
from caelab.errors import UserError

NAMES = [f"a/{i:04}.png" for i in range(2000)]


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "validation", "TESTING")])
def test_usual_names_are_splits(tmp_path, names):
    for name in (*names, ".hidden", "notes"):
        (tmp_path / name).mkdir()
    assert split_folders(tmp_path) == dict(zip(("train", "val", "test"), names, strict=True))


def test_classes_are_no_splits(tmp_path):
    for name in ("cats", "testudo", "trains"):
        (tmp_path / name).mkdir()
    assert split_folders(tmp_path) == {}


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (
            ("train2017", "val2017"),
            r"are train2017/ and val2017/ splits or classes\? .*train or training, val",
        ),
        (("images_train", "images_test", "other"), r"are images_test/ and images_train/ splits or classes"),
        (("train", "valid"), r"there is train/ but no test/"),
        (("train", "valid", "val", "test"), r"val/ and valid/ are the same split"),
    ],
)
def test_names_that_may_be_splits_are_refused(tmp_path, names, match):
    for name in names:
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=match):
        split_folders(tmp_path)


def test_another_picture_moves_no_other():
    before = dict(zip(NAMES[:-1], divide(NAMES[:-1], 7), strict=True))
    after = dict(zip(NAMES, divide(NAMES, 7), strict=True))
    assert before == {name: after[name] for name in NAMES[:-1]}


def test_about_a_tenth_is_held_out_for_each():
    places = divide(NAMES, 7)
    assert places.count(1) == pytest.approx(200, abs=50)  # 3.7 standard deviations
    assert places.count(2) == pytest.approx(200, abs=50)
    assert divide(NAMES, 8) != places


@pytest.mark.parametrize(("n", "held_out"), [(3, 1), (9, 1), (10, 1), (25, 2), (99, 9)])
def test_of_few_pictures_the_smallest_hashes_are_held_out(n, held_out):
    places = divide(NAMES[:n], 7)
    assert [places.count(place) for place in range(3)] == [n - 2 * held_out, held_out, held_out]
