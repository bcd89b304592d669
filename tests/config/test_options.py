"""What conf/ offers: one option is what all of its group say of it, and files are read when they change."""

import pytest

from caelab.config import grammar, options


@pytest.mark.parametrize("group", options.groups())
def test_an_option_alone_is_that_of_its_group(group):
    every = options.options(group)
    assert {name: options.option(group, name) for name in every} == every
    assert options.option(group, "no_such") == {}


def test_what_python_gives_hides_a_file_of_the_same_name(monkeypatch):
    monkeypatch.setitem(options.classes, "model", {"base": {"width": 3}})
    assert options.option("model", "base") == {"model.width": 3}
    assert options.options("model")["base"] == {"model.width": 3}


def test_a_file_that_changes_is_read_again_and_nobody_changes_what_another_reads(tmp_path):
    file = tmp_path / "one.yaml"
    file.write_text("a: [1, 2]\n")
    grammar.read(file)["a"].append(3)
    assert grammar.read(file) == {"a": [1, 2]}
    file.write_text("a: [1, 2, 4]\nb: ${c}\n")
    assert grammar.read(file) == {"a": [1, 2, 4], "b": "${c}"}
