"""The reference, drawn from the code while the site is built: commands, configuration, Python.

``{catalogue} commands`` on a page stands for what ``commands`` yields. A page for each package of ``caelab``
is written into ``docs/reference/python``, which git ignores.
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from pkgutil import iter_modules, walk_packages
from types import ModuleType
from typing import Any

import typer
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import caelab
from caelab.cli.main import app as lab
from caelab.config import options
from caelab.config.grammar import read

_LINE = re.compile(r"( *)(?:- )?([\w.]+):(?: [^#]*)?(?:#\s*(.*))?$")
_ARGUMENT = re.compile(r"^    (\w+): (.*(?:\n     +.*)*)", re.MULTILINE)
_COMMAND = re.compile(
    r"(?<!`)caelab (?:train|sweep|study)(?: [^\s:;,(][^\s:;,]*(?:[:;,]+[^\s:;,.]+)*(?<!\.))+"
)
_OF_OTHERS = {"experiment", "study", "debug"}  # groups whose options set keys of others

Texts = Mapping[str, str]


def commands() -> Iterator[str]:
    """Yield the Markdown of each command: what it does, its words, its options, examples."""
    for name, command in typer.main.get_command(lab).commands.items():  # type: ignore[attr-defined]
        yield f"## caelab {name}\n"
        yield from _paragraphs(command.help)
        words = [one for one in command.params if one.param_type_name == "argument"]
        rows = [(f"`{word.metavar or word.name.upper()}`", word.help or "") for word in words]
        for option in (one for one in command.params if one.param_type_name == "option"):
            value = f" {option.metavar}" if option.metavar else ""
            rows.append((f"`{', '.join(option.opts)}{value}`", (option.help or "") + _default(option)))
        yield from _table(("word or option", "meaning"), rows)
        yield from _paragraphs(command.epilog)


def _default(option: Any) -> str:
    plain = isinstance(option.default, str | int | float) and not isinstance(option.default, bool)
    return f" (default `{option.default}`)" if plain and option.default != "" else ""


def _paragraphs(text: str | None) -> Iterator[str]:
    for paragraph in inspect.cleandoc(text or "").split("\n\n"):
        if paragraph.startswith("\b"):  # as typer marks what must keep its lines
            title, *lines = paragraph.removeprefix("\b").strip("\n").splitlines()
            yield f"{_text(title)}\n\n```text\n" + inspect.cleandoc("\n".join(lines)) + "\n```\n"
        else:
            yield f"{_text(paragraph)}\n"


def configuration() -> Iterator[str]:
    """Yield the Markdown of each group: its options, and the keys of each with default and meaning."""
    train = Path(caelab.config.CONF, "train.yaml")
    yield "## Keys of every run\n"
    yield from _keys(options.flat(options.top()), _comments(train), {})
    for group in (*options.groups(), "hydra.launcher"):
        yield f"## {group.replace('.', '/')}\n"
        offered = options.options(group)
        for name, file in options.files(group).items():
            yield f"### {group.replace('.', '/')}={name}\n"
            yield from (f"{_text(line)}\n" for line in _header(file, group))
            if group not in _OF_OTHERS:
                comments = {
                    f"{group}.{key.removeprefix(f'{group}.')}": text for key, text in _comments(file).items()
                }
                yield from _keys(offered[name], comments, _arguments(offered[name], group))


def _header(file: Path, group: str) -> Iterator[str]:
    """What an option is for: the comment on top of its file; of a study its title and text."""
    lines = takewhile(lambda line: line.startswith("#"), file.read_text().splitlines())
    yield from (_COMMAND.sub(r"`\g<0>`", line.removeprefix("# ")) for line in lines if "@package" not in line)
    if group == "study":
        yield from (read(file).get(key, "") for key in ("title", "text"))


def _keys(known: Mapping[str, Any], comments: Texts, arguments: Texts) -> Iterator[str]:
    rows = []
    for key, value in known.items():
        if key.endswith(("._target_", "._partial_")) or (isinstance(value, dict) and {*value} - {"_target_"}):
            continue  # a node with keys of its own has a row for each of them
        meaning = comments.get(key) or arguments.get(key.rpartition(".")[2], "")
        default = _yaml(value).replace("-${", "-` `${")  # a line may break there
        rows.append((f"`{key}`", f"`{default}`", meaning))
    yield from _table(("key", "default", "meaning"), rows)


def _yaml(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("_target_", "{}"))
    known = {None: "null", True: "true", False: "false", "": '""'}
    return known[value] if isinstance(value, str | bool | None) and value in known else str(value)


def _comments(file: Path) -> dict[str, str]:
    """Key with dots -> the comment behind it in a YAML file."""
    found: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for match in filter(None, map(_LINE.match, file.read_text().splitlines())):
        depth = len(match[1])
        path = [*(one for one in path if one[0] < depth), (depth, match[2])]
        if match[3]:
            found[".".join(key for _, key in path)] = match[3]
    return found


def _arguments(known: Mapping[str, Any], group: str) -> dict[str, str]:
    """Argument -> what the docstrings of the option's class, and of those it derives from, say of it."""
    target = known.get(f"{group}._target_", "")
    if not target.startswith("caelab."):
        return {}
    module, _, name = target.rpartition(".")
    found: dict[str, str] = {}
    for one in inspect.getmro(getattr(import_module(module), name)):
        section = re.search(r"^Args:\n((?:    .*\n?|\n)*)", inspect.cleandoc(one.__doc__ or ""), re.MULTILINE)
        for argument, text in _ARGUMENT.findall(section[1] if section else ""):
            found.setdefault(argument, " ".join(text.split()))
    return found


def _table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    if rows:
        cells = ([_text(cell).replace("|", r"\|") for cell in row] for row in rows)
        lines = [titles, ["---"] * len(titles), *cells]
        yield "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _text(text: str) -> str:
    """Plain text as Markdown: what is no code shows as it is."""
    return re.sub(r"(`+[^`]*`+)|([<>*\[\]{}])", lambda found: found[1] or f"\\{found[2]}", text)


def modules() -> dict[str, list[str]]:
    """Package, or module at the top -> its modules, by their whole names."""
    found = {}
    for top in iter_modules(caelab.__path__, "caelab."):
        if not top.name.endswith("__main__"):
            package = import_module(top.name)
            below = walk_packages(package.__path__, f"{top.name}.") if top.ispkg else ()
            found[top.name] = [top.name, *sorted(one.name for one in below)]
    return found


def public(module: ModuleType) -> list[str]:
    """Functions and classes that a module defines itself, whose names do not begin with an underscore."""
    return [
        name
        for name, one in vars(module).items()
        if (inspect.isclass(one) or inspect.isfunction(one))
        and one.__module__ == module.__name__
        and not name.startswith("_")
    ]


def python(names: list[str]) -> Iterator[str]:
    """Yield the Markdown of a package: each module with its functions and classes."""
    yield f"# {names[0]}\n"
    for name in names:
        if name != names[0]:
            yield f"## {name}\n"
        members = ", ".join(public(import_module(name)))
        yield f"```{{eval-rst}}\n.. automodule:: {name}\n   :members: {members}\n```\n"


def face() -> Iterator[str]:
    """Yield the Markdown of what ``import caelab`` gives."""
    for name in caelab.__all__:
        one = getattr(caelab, name)
        kind, members = ("class", "   :members:\n") if inspect.isclass(one) else ("function", "")
        yield f"## caelab.{name}\n"
        yield f"```{{eval-rst}}\n.. auto{kind}:: {one.__module__}.{name}\n   :no-index:\n{members}```\n"


class Catalogue(SphinxDirective):
    """``{catalogue} PART``: the Markdown that a function of this module yields."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the nodes of that Markdown."""
        part = {"commands": commands, "configuration": configuration, "face": face}[self.arguments[0]]
        return self.parse_text_to_nodes("\n".join(part()), allow_section_headings=True)


def _write(app: Sphinx) -> None:
    folder = Path(app.srcdir, "reference", "python")
    folder.mkdir(exist_ok=True)
    pages = {f"{top.partition('.')[2]}.md": "\n".join(python(names)) for top, names in modules().items()}
    for old in {path.name for path in folder.glob("*.md")} - {*pages}:
        (folder / old).unlink()
    for name, text in pages.items():
        page = folder / name
        if not page.exists() or page.read_text() != text:
            page.write_text(text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive, and write the pages of packages before Sphinx looks for pages."""
    app.add_directive("catalogue", Catalogue)
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True}
