"""What pages are made of: templates in which no name may be missing, and pictures that lie in the page."""

import base64
from dataclasses import dataclass
from pathlib import Path

import jinja2


def environment(*, escape: bool, folder: Path = Path(__file__).parent) -> jinja2.Environment:
    """Templates of a folder, this one unless told otherwise, with or without HTML's escapes."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=escape,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def data_uri(content: bytes, kind: str) -> str:
    """Content of a media type, such as image/png, as an address that needs no other file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


@dataclass(frozen=True)
class Picture:
    """A figure on disk.

    Attributes:
        caption: what it shows.
        png: path.
    """

    caption: str
    png: Path

    @property
    def uri(self) -> str:
        """The picture itself, for a page that needs no other file."""
        return data_uri(self.png.read_bytes(), "image/png")
