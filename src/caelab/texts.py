"""Text of a user (a name, a path, a value, an error), harmless for what shows it: one function an output.

HTML has Jinja's own escapes. A drawing shows ``visible`` text, and matplotlib reads no formula in it
(``text.parse_math``).
"""

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_UNSAFE = re.compile(r"[^\w.+=@-]")

_MARKDOWN = [
    (re.compile(r"\s+"), " "),
    (re.compile(r"[\\`*|$~]"), r"\\\g<0>"),
    (re.compile(r"(?<![^\W_])_|_(?![^\W_])"), r"\\_"),  # within a word it is only a letter
    (re.compile(r"&(?=#?\w+;)"), "&amp;"),
    (re.compile(r"<(?=[A-Za-z/!?])"), "&lt;"),
    (re.compile(r"\](?=[(\[:])"), r"\\]"),
    # what begins a heading, a list or a quotation
    (re.compile(r"^(?=#{1,6}(?: |$)|[-+] |>)"), r"\\"),
    (re.compile(r"^(\d+)(?=[.)](?: |$))"), r"\1\\"),
]
_LATEX = {sign: f"\\{sign}" for sign in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # first in a line it would be the space that \\ asks for
}


def visible(text: str) -> str:
    """Return text with � in the place of what would steer a terminal: controls but newline and tab."""
    return _CONTROL.sub("\ufffd", text)


def one_line(text: str) -> str:
    """Return text in one line, all of it visible."""
    return visible(" ".join(text.split()))


def markdown(text: str) -> str:
    """Return text in one line that Markdown shows as it is: no markup, no link, no HTML, no formula."""
    text = visible(text)
    for pattern, replacement in _MARKDOWN:
        text = pattern.sub(replacement, text)
    return text


def code(text: str) -> str:
    """Return text as a code span of Markdown, which no backtick in it ends."""
    text = one_line(text)
    fence = _fence(text, 1)
    return f"{fence} {text} {fence}" if "`" in text else f"{fence}{text}{fence}"


def fenced(text: str, language: str) -> str:
    """Return lines as a block of code of Markdown, which nothing in it ends."""
    fence = _fence(text, 3)
    return f"{fence}{language}\n{visible(text).rstrip()}\n{fence}"


def _fence(text: str, least: int) -> str:
    return "`" * max(least, *(len(run) + 1 for run in re.findall("`+", text)), least)


def latex(text: str) -> str:
    """Return text in one line that LaTeX shows as it is."""
    return "".join(_LATEX.get(sign, sign) for sign in one_line(text))


def file_name(text: str) -> str:
    """Return text as the name of a file: itself, or where a name cannot hold it, its letters and a digest."""
    name = _UNSAFE.sub("_", text).lstrip(".")
    if name == text:
        return name
    return f"{name[:100]}-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:8]}"


def one_name(text: str) -> str:
    """Return text as the name of one file or folder, which leads nowhere else."""
    return re.sub(r"[/\\\0]", "-", text).lstrip(".") or "-"


def frame(cells: Any, columns: Sequence[str] = ()) -> "pd.DataFrame":
    """Return a table of any text: pandas would keep it in pyarrow, if installed, which takes UTF-8 alone."""
    import pandas as pd  # which most commands do without

    with pd.option_context("mode.string_storage", "python"):
        return pd.DataFrame(cells, columns=list(columns) or None)
