"""The lessons as they are kept: outputs in place, small, of no machine. ``make lessons`` executes them."""

import re

import nbformat
import pytest
from lessons import LESSONS


def said(cell):
    """Everything that a cell shows as text."""
    return "".join(out.get("text", out.get("data", {}).get("text/plain", "")) for out in cell.outputs)


def test_there_are_six():
    assert [lesson.name[:2] for lesson in LESSONS] == ["1-", "2-", "3-", "4-", "5-", "6-"]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)
def test_a_lesson_asks_shows_and_answers(lesson):
    notebook = nbformat.read(lesson, 4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert re.match(r"# \d\. .+\n\n\*\*Question:\*\*", text)
    assert 0 < text.index("## Exercise") < text.index("## Answer")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert "pip" in code[0].source
    empty = [cell.source for cell in code[1:] if not cell.outputs]
    assert empty == ["# your turn"]
    assert any({"image/png", "text/html"} & {*out.get("data", {})} for cell in code for out in cell.outputs)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)
def test_the_outputs_that_are_kept_are_small_and_name_no_machine(lesson):
    assert lesson.stat().st_size < 300_000
    outputs = "".join(said(cell) for cell in nbformat.read(lesson, 4).cells if cell.cell_type == "code")
    assert not re.search(r"/(home|root|tmp|work|Users)\b|Traceback|Warning", outputs)


def test_links_of_a_lesson_lead_somewhere():
    for lesson in LESSONS:
        for cell in nbformat.read(lesson, 4).cells:
            for target in re.findall(
                r"\]\((?!\w+:)([^)#\s]+)", cell.source if cell.cell_type == "markdown" else ""
            ):
                assert (lesson.parent / target).exists(), f"{lesson.name}: {target}"
