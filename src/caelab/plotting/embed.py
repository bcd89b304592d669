"""What pages are made of: templates in which no name may be missing, and pictures that lie in the page."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from caelab import texts


def environment(ending: str, folder: Path) -> jinja2.Environment:
    """Templates in which every text is shown as it is.

    Args:
        ending: ``.html``, or ``.md``, where ``code`` and ``fenced`` make code of a text.
        folder: of the templates; those of every page lie beside this module.

    Markup of our own is a ``Markup``.
    """
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=ending == ".html",
        finalize=_in_markdown if ending == ".md" else _in_html,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    found.filters |= {
        "code": lambda text: Markup(texts.code(str(text))),
        "fenced": lambda text, language: Markup(texts.fenced(text, language)),
    }
    return found


def _in_html(value: Any) -> Any:
    return value if isinstance(value, Markup) or not isinstance(value, str) else texts.visible(value)


def _in_markdown(value: Any) -> Any:
    return value if isinstance(value, Markup) else texts.markdown(str(value))


def plotly() -> Markup:
    """The basic bundle of plotly.js (MIT, see the licence beside it), which draws a page's plots."""
    return Markup((Path(__file__).parent / "plotly/plotly-basic.min.js").read_text(encoding="utf-8"))


def data_uri(content: bytes, kind: str) -> str:
    """Content of a media type, such as image/png, as an address that needs no other file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


@dataclass(frozen=True)
class Picture:
    """A figure on disk.

    Attributes:
        caption: what it shows.
        png: path.
        kind: of figure, by which its file is named.
    """

    caption: str
    png: Path
    kind: str = ""

    @property
    def uri(self) -> str:
        """The picture itself, for a page that needs no other file."""
        return data_uri(self.png.read_bytes(), "image/png")
