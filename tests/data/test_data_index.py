"""A folder by its table: classes, splits and groups, and what is wrong with a table."""

import sys

import numpy as np
import pandas
import pytest
from PIL import Image

from caelab.composition import compose
from caelab.data import index
from caelab.data.folder import Folder
from caelab.errors import UserError


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(30):
        Image.new("L", (4, 4), i).save(folder / f"{i:02}.png")
    (folder / "bad.png").write_bytes(b"")
    Image.new("L", (6, 4)).save(folder / "wide.png")
    return folder


def ready(root, table):
    path = root.parent / "pictures.csv"
    if isinstance(table, str):
        path.write_text(table)
    else:
        path = path.with_suffix(".parquet")
        table.to_parquet(path)
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


def test_names_that_another_system_writes_otherwise_are_those_of_the_disk(root):
    composed, apart = "caf\u00e9.png", "cafe\u0301.png"
    (root / "05.png").rename(root / apart)
    plain = f"file,split\n{apart},train\n01.png,val\n02.png,test\n"
    module = ready(root, plain)
    other = ready(root, plain.replace(apart, composed).replace("01", "./01").replace("02", "x/../02"))
    assert greys(other) == greys(module) == {"train": [5], "val": [1], "test": [2]}
    assert other.sha256 == module.sha256
    Image.new("L", (4, 4), 40).save(root / composed)  # now each is the one that is called so
    assert greys(ready(root, plain))["train"] == [5]
    assert greys(ready(root, plain.replace(apart, composed)))["train"] == [40]
    with pytest.raises(UserError, match=r"line 3: 01\.png is listed twice"):
        ready(root, "file\n01.png\n./01.png\n")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("name\n00.png\n", "it has no column 'file'; its columns are name"),
        ("file,lable\n00.png,a\n", "it has a column 'lable'; did you mean 'label'?"),
        (
            "file;label\n00.png;a\n",
            "its columns are file;label; separate them by commas",
        ),
        ("file,label\n00.png,\n", "line 2: its label is empty"),
        ("file,label\n", "it has no row"),
        ("file,label\n00.png\n", "line 2 needs one value for each of the 2 columns"),
        ("file\n00.png\n0a5.png\n", "images has no 0a5.png; did you mean '05.png'?"),
        ("file\nbad.png\n", "line 2: bad.png cannot be read: "),
        ("file\n00.png\n00.png\n", "line 3: 00.png is listed twice"),
        ("file,split\n00.png,trian\n", "00.png: split 'trian' is unknown; did you mean 'train'?"),
        ("file,split\n00.png,train\n01.png,val\n", "no picture in split test"),
        (
            "file,group\n00.png,a\n01.png,a\n",
            "1 images are too few; at least 3 are needed; a group counts as one",
        ),
        ("file,target\n00.png,40.png\n", "line 2: {root} has no 40.png; did you mean '24.png'?"),
        (
            "file,target,split\n00.png,09.png,train\n01.png,09.png,val\n02.png,08.png,test\n",
            "picture 09.png is in two splits",
        ),
        (
            "file,target\n00.png,07.png\n01.png,07.png\n02.png,08.png\n",
            "2 images are too few; at least 3 are needed; a group counts as one",
        ),
        (
            "file,target\n00.png,09.png\n01.png,wide.png\n02.png,08.png\n",
            "01.png has 4x4 pixels, its target wide.png has 4x6; a pair needs one size",
        ),
        (
            "file,split,group\n00.png,train,a\n01.png,val,b\n02.png,test,a\n",
            "group a is in two splits; put it into one",
        ),
    ],
)
def test_a_mistake_in_it_is_one_line(root, table, message):
    with pytest.raises(UserError) as caught:
        ready(root, table)
    assert message.replace("{root}", str(root)) in str(caught.value)
    assert str(caught.value).startswith(f"dataset.index={root.parent / 'pictures.csv'}: ")
    assert "\n" not in str(caught.value)


def test_a_table_that_cannot_be_read_is_told_plainly(root):
    table = root.parent / "pictures.csv"
    table.write_bytes("file,label\n00.png,Schön\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"pictures\.csv: it is not UTF-8 text; save it as UTF-8$"):
        index.columns(table)
    with pytest.raises(UserError, match=r"gone\.csv: No such file or directory$"):
        index.columns(root / "gone.csv")


def test_a_parquet_file_says_the_same(root):
    names, numbers = [f"{i:02}.png" for i in (5, 1, 2, 9)], [3, 1, 3, 1]
    splits = ["train", "val", "test", "train"]
    other = ready(
        root, "file,label,split\n" + "\n".join(map(",".join, zip(names, "3131", splits, strict=True)))
    )
    module = ready(
        root, pandas.DataFrame({"file": names, "label": numbers, "split": splits, "age": [None] * 4})
    )
    assert greys(module) == {"train": [5, 9], "val": [1], "test": [2]}
    assert (module.class_names, module.sha256) == (("1", "3"), other.sha256)
    with pytest.raises(UserError, match=r"\.parquet: row 2 needs one value for each of the 2 columns"):
        ready(root, pandas.DataFrame({"file": names[:2], "label": ["a", None]}))


def test_without_its_library_a_line_names_the_extra(root, monkeypatch):
    (root / "x.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"parquet: it needs pyarrow; pip install 'caelab\[hf\]'"):
        index.columns(root / "x.parquet")


def test_pairs_give_networks_the_one_and_measures_the_other(root):
    pairs = {3: 20, 4: 20, 5: 21, 6: 22, 7: 23, 8: 8}
    module = ready(root, "file,target\n" + "".join(f"{a:02}.png,{b:02}.png\n" for a, b in pairs.items()))
    assert module.paired
    given = {name: split.given[:][:, 0, 0, 0].tolist() for name, split in module.splits.items()}
    assert {name: [pairs[one] for one in greys] for name, greys in given.items()} == greys(module)
    assert sorted(sum(given.values(), [])) == [*pairs]
    assert [len(given[name]) for name in ("val", "test")] == [1, 1]
    batches = module.train_dataloader()
    for number, batch in enumerate(batches):
        assert [pairs[int(one)] for one in batches.given(number)[:, 0, 0, 0]] == batch[:, 0, 0, 0].tolist()
    plain = ready(root, "file\n" + "".join(f"{a:02}.png\n" for a in pairs))
    assert plain.val_dataloader().given(0) is None
    assert plain.sha256 != module.sha256


def test_only_pictures_that_it_names_are_cached(root):
    module = ready(root, "file,split\n05.png,train\n01.png,val\n02.png,test\n")
    assert np.array_equal(module.splits["val"].images[:, 0, 0, 0], [1, 2, 5])
    every = ready(root, "file\n" + "".join(f"{i:02}.png\n" for i in range(30)) + "wide.png\n")
    assert len(every.splits["val"].images) == 31


def test_it_says_the_splits_and_no_folder_does(root):
    for name in ("train", "test", "more"):
        (root / name / "dogs").mkdir(parents=True)
        Image.new("L", (4, 4), 50).save(root / name / "dogs" / f"{name}.png")
    table = "file,split\ntrain/dogs/train.png,val\ntest/dogs/test.png,train\nmore/dogs/more.png,test\n"
    module = ready(root, table)
    assert module.class_names == ("dogs", "more")
    assert module.splits["val"].targets.tolist() == [0]
    words = ["dataset=folder", f"dataset.path={root}", f"dataset.index={root.parent / 'pictures.csv'}"]
    assert len(compose.identity(compose.config(words)[0])) == 64
