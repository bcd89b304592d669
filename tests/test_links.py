"""Links of README.md, CONTRIBUTING.md and docs/ lead to files and headings that are there.

``make docs`` finds the same of the site. What lies on other hosts is not asked for: tests need no network.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


def anchors(text):
    """The names that the code host gives to the headings of a page."""
    plain = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    titles = (re.sub(r"\[([^\]]*)\]\([^)]*\)|<!--.*?-->", r"\1", title) for title in _HEADING.findall(plain))
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


def broken(page, text):
    """Yield the links of a page that lead nowhere."""
    for target, anchor in _LINK.findall(_CODE.sub("", text)):
        file = page.parent / target if target else page
        if target and not file.exists():
            yield target
        elif anchor and anchor not in anchors(text if not target else file.read_text()):
            yield f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    assert list(broken(page, page.read_text())) == []


def test_what_leads_nowhere_is_found(tmp_path):
    (tmp_path / "other.md").write_text("# Two words, `code`\n```\n# none\n```\n")
    text = "# Here\n[a](other.md#two-words-code) [b](#here) [c](none.md) [d](other.md#none) `[e](e.md)` [f](https://f)"
    assert list(broken(tmp_path / "page.md", text)) == ["none.md", "other.md#none"]
