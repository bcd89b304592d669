"""The digest of the code that acts: what changes it, and what does not."""

import ast
import hashlib
import sys

import pytest

from caelab.config import source
from caelab.errors import UserError

CODE = """
class Loss:
    '''A loss.'''

    def __call__(self, x, y):
        '''Return it.'''
        return (x - y) ** 2 if x in {"a", "b"} else 1.5

    def __str__(self):
        return f'{x:>{y}}'
"""


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("A loss.", "The loss.", True),
        ("        '''Return it.'''\n", "", True),
        ("(x - y) ** 2", "(\n            x - y  # missing\n        ) ** 2", True),
        ("class Loss:\n    '''A loss.'''\n", "class Loss:\n", True),
        ("** 2", "** 3", False),
        ("(x - y)", "(y - x)", False),
        ('"b"', '"c"', False),
        ("1.5", "1.25", False),
        ("x, y)", "x, y=None)", False),
        ("return f'{x:>{y}}'", 'return f"{x:>{y}}"', True),
        ("{x:>{y}}", "{x:<{y}}", False),
        ("{x:>{y}}", "{x!r:>{y}}", False),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(old, new, same):
    assert old in CODE
    assert (source.digest(CODE.replace(old, new)) == source.digest(CODE)) == same


def test_what_a_config_names_from_elsewhere_counts_with_what_it_derives_from(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    base, mine = tmp_path / "caelab_test_base.py", tmp_path / "caelab_test_mine.py"
    base.write_text("class Base:\n    rate = 1\n")
    mine.write_text("from caelab_test_base import Base\n\nclass Mine(Base):\n    pass\n")
    config = {
        "loss": {"_target_": "torch.nn.MSELoss"},
        "trainer": {"callbacks": [{"_target_": "caelab_test_mine.Mine"}]},
    }
    try:
        whole = source.acting(config)
        assert whole != source.acting({"loss": {"_target_": "torch.nn.MSELoss"}})
        assert source.acting({}) == source.acting({"loss": {"_target_": "torch.nn.MSELoss"}})
        mine.write_text(mine.read_text() + "# a remark\n")
        assert source.acting(config) == whole
        base.write_text("class Base:\n    rate = 2\n")
        assert source.acting(config) != whole
    finally:
        for name in ("caelab_test_base", "caelab_test_mine"):
            sys.modules.pop(name, None)


def test_what_has_no_source_is_left_out():
    assert source.acting({"x": {"_target_": "builtins.dict"}}) == source.acting({})


def test_the_digest_of_an_f_string_has_no_quotes_which_python_versions_choose():
    written = "x = f-string('a', f-value(b['c'], 114, f-string('>', f-value(w, -1))))"
    assert source.digest("""x = f"a{b['c']!r:>{w}}\"""") == sha256(written)


def test_runs_of_before_that_digest_are_the_same_code(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    code = "class Mine:\n    name = f'{1:03d}'\n"
    (tmp_path / "caelab_test_mine.py").write_text(code)
    config = {"_target_": "caelab_test_mine.Mine"}
    source.check(config, {"caelab_test_mine.Mine": sha256(sha256(ast.unparse(ast.parse(code))))}, "run")
    with pytest.raises(UserError, match=r"run: caelab_test_mine\.Mine has changed since"):
        source.check(config, {"caelab_test_mine.Mine": sha256(sha256("class Mine: pass"))}, "run")
