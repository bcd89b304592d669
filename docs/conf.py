"""Sphinx: the site that ``make docs`` builds from these pages, offline."""

import sys
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent))

project = "caelab"
copyright = "The caelab developers"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "catalogue"]
html_theme = "furo"
html_title = "caelab"
html_copy_source = False
html_show_search_summary = False  # which would fetch pages, and from a disk no page may
highlight_language = "none"
html_static_path = ["_static"]
html_css_files = ["site.css"]
smartquotes = False  # commands in descriptions can be copied: hyphens and quotes stay as typed
myst_heading_anchors = 4  # as the code host names them
autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_use_ivar = True  # fields of dataclasses are described once
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!caelab\.)[\w.]+"),  # of other packages, whose pages are not at hand offline
    ("py:.*", r"caelab\..*\.(T|Key|Value|Images|Annotated)|<typer\..*"),  # of type variables and aliases
]
nb_execution_mode = "off"  # make lessons executes the notebooks; their outputs are kept


def titled(app: Sphinx, name: str, source: list[str]) -> None:
    """Give the tables of reports, which hold nothing else, a title, and leave them out of the contents."""
    folder, _, table = name.rpartition("/tables/")
    if folder.startswith("results"):
        source[0] = f"---\norphan: true\n---\n# All columns: {table}\n\n{source[0]}"


def whole(app: Sphinx, what: str, name: str, one: object, options: object, lines: list[str]) -> None:
    """Put a sentence together again whose words before a colon napoleon has taken for a type."""
    for key, start in ((":rtype: ", ":returns: "), (":type: ", "")):
        words = next((line for line in lines if line.startswith(key)), None)
        first = next((n for n, line in enumerate(lines) if line.startswith(start)), None)
        if words and first is not None:
            lines[first] = f"{start}{words.removeprefix(key)}: {lines[first].removeprefix(start)}"
            lines.remove(words)


def setup(app: Sphinx) -> None:
    """Connect what Sphinx itself does not do."""
    app.connect("source-read", titled)
    app.connect("autodoc-process-docstring", whole, priority=900)  # after napoleon
