"""A folder by its table: classes, splits and groups, and what is wrong with a table."""

import pytest
from PIL import Image

from caelab.composition import compose
from caelab.data.folder import Folder
from caelab.errors import UserError


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(30):
        Image.new("L", (4, 4), i).save(folder / f"{i:02}.png")
    (folder / "bad.png").write_bytes(b"")
    return folder


def ready(root, table):
    path = root.parent / "pictures.csv"
    path.write_text(table)
    module = Folder(str(root.parent / "data"), str(root), 1, image_size=4, channels=1, index=str(path))
    module.setup()
    return module


def greys(module):
    return {name: split[:][:, 0, 0, 0].tolist() for name, split in module.splits.items()}


def test_it_says_classes_and_splits_and_others_are_left_out(root):
    rows = ["05.png,dog,train,x", "01.png,cat,VAL,x", "02.png,dog,test,x", "09.png,cat,train,x"]
    module = ready(root, "\n".join(["file,label,split,age", *rows]))
    assert module.class_names == ("cat", "dog")
    assert greys(module) == {"train": [5, 9], "val": [1], "test": [2]}
    assert module.splits["train"].targets.tolist() == [1, 0]
    other = ready(
        root, "\n".join(["file,label,split", rows[0].replace("dog", "cat")[:-2], *(r[:-2] for r in rows[1:])])
    )
    assert other.sha256 != module.sha256


def test_without_splits_a_group_is_in_one_of_them(root):
    module = ready(root, "file,group\n" + "".join(f"{i:02}.png,{i // 3}\n" for i in range(30)))
    groups = {name: {grey // 3 for grey in values} for name, values in greys(module).items()}
    assert [len(groups[name]) for name in ("train", "val", "test")] == [8, 1, 1]
    assert sum(len(values) for values in greys(module).values()) == 30
    assert set.union(*groups.values()) == set(range(10))
    assert module.class_names == ("images",)


def test_a_run_is_known_by_the_tables_content(root):
    def identity(content, name="a.csv"):
        (root.parent / name).write_text(content)
        words = ["dataset=folder", f"dataset.path={root}", f"dataset.index={root.parent / name}"]
        return compose.identity(compose.config(words)[0])

    first = identity("file\n00.png\n")
    assert identity("file\n00.png\n", "b.csv") == first
    assert identity("file\n01.png\n") != first


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("name\n00.png\n", "it has no column 'file'; its columns are name"),
        ("file,lable\n00.png,a\n", "it has a column 'lable'; did you mean 'label'?"),
        ("file,label\n00.png\n", "line 2 has not one value for each of the 2 columns"),
        ("file\n00.png\n0a5.png\n", "images has no 0a5.png; did you mean '05.png'?"),
        ("file\nbad.png\n", "line 2: bad.png cannot be read: "),
        ("file\n00.png\n00.png\n", "line 3: 00.png is there twice"),
        ("file,split\n00.png,trian\n", "split 'trian' is unknown; did you mean 'train'?"),
        ("file,split\n00.png,train\n01.png,val\n", "no picture of split test"),
        (
            "file,group\n00.png,a\n01.png,a\n",
            "1 images are too few; at least 3 are needed; a group counts as one",
        ),
        (
            "file,split,group\n00.png,train,a\n01.png,val,b\n02.png,test,a\n",
            "group a is in two splits; one must have all of it",
        ),
    ],
)
def test_a_mistake_in_it_is_one_line(root, table, message):
    with pytest.raises(UserError) as caught:
        ready(root, table)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"dataset.index={root.parent / 'pictures.csv'}: ")
    assert "\n" not in str(caught.value)
