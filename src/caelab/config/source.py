"""The code that acts on a run, told apart by what it does: without comments, docstrings and layout."""

import ast
import hashlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from caelab.config import notebook
from caelab.errors import UserError

_PACKAGE = Path(__file__).parents[1]
_ASIDE = ("analysis", "bench", "cli", "export", "report")  # subpackages that look at finished runs only
# The package is taken whole, the others by their version.
_KNOWN = ("caelab", "torch", "torchvision", "lightning", "pytorch_lightning", "lightning_fabric")


def acting(config: Any) -> str:
    """Digest of this package and of the modules that hold what a config names from elsewhere.

    Args:
        config: plain mappings, lists and scalars.

    Returns:
        64 hexadecimal digits.
    """
    whole = hashlib.sha256(_package().encode())
    whole.update("\n".join(digests(config).values()).encode())
    return whole.hexdigest()


@cache
def digest(code: str) -> str:
    """Digest of a module's source, 64 hexadecimal digits, the same whatever its comments and docstrings."""
    return _digest(_FStrings().visit(_stripped(code)))


def _digest_before_0_15(code: str) -> str:
    """The digest that depends on how this Python writes f-strings."""
    return _digest(_stripped(code))


def _digest(tree: ast.AST) -> str:
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()


class _FStrings(ast.NodeTransformer):
    """Turns f-strings, which each Python writes with other quotes, into calls of what no code can name."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.Call:
        self.generic_visit(node)
        parts = [part for part in node.values if getattr(part, "value", None) != ""]  # which 3.12 adds
        return ast.Call(ast.Name("f-string"), parts, [])

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.Call:
        self.generic_visit(node)
        layout = [node.format_spec] if node.format_spec else []
        return ast.Call(ast.Name("f-value"), [node.value, ast.Constant(node.conversion), *layout], [])


def _stripped(code: str) -> ast.Module:
    tree = ast.parse(code)
    _strip(tree)
    return tree


def _strip(node: ast.AST) -> None:
    """Take docstrings away, here and in all statements below."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
        node.body = node.body[1:] or [ast.copy_location(ast.Pass(), node.body[0])]
    for block in ("body", "orelse", "finalbody", "handlers", "cases"):
        for statement in getattr(node, block, ()):
            _strip(statement)


@cache
def _package() -> str:
    files = sorted(file.relative_to(_PACKAGE) for file in _PACKAGE.rglob("*.py"))
    acting = [file for file in files if file.parts[0] not in _ASIDE]
    parts = [f"{file} {digest((_PACKAGE / file).read_text(encoding='utf-8'))}" for file in acting]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def digests(config: Any) -> dict[str, str]:
    """Digest of each class or function that a config names and that is not the lab's, torch's or Lightning's.

    Of a user's own module also what it imports from beside it counts, whatever the classes derive from; of an
    installed package the module that is named; of a notebook what the class uses. Nothing is imported.

    Args:
        config: plain mappings, lists and scalars.

    Returns:
        Dotted name -> 64 hexadecimal digits; without those that are nowhere.

    Raises:
        UserError: a class has changed since this process has imported it, its module is no Python, or no cell
            of this notebook defines it.
    """
    sources = {}
    for target in sorted(set(_targets(config))):
        if found := _whole(target, digest):
            sources[target] = found
            _require_same(target, found)
    return sources


def _whole(target: str, digest: Callable[[str], str]) -> str:
    """Digest of all code that a dotted name stands for, from that of each module; empty without one."""
    try:
        parts = sorted(map(digest, _codes(target)))
    except SyntaxError as error:
        raise UserError(f"{target}: {error.msg} in line {error.lineno} of what it imports") from None
    return hashlib.sha256("\n".join(parts).encode()).hexdigest() if parts else ""


def check(config: Any, sources: Mapping[str, str], where: str) -> None:
    """Refuse classes that are not the code that a run was trained with.

    Args:
        config: a group of its record.
        sources: digests of its record.
        where: whose they are, for messages.

    Raises:
        UserError: a class whose digest is another one.
    """
    for target, now in (digests(config) if sources else {}).items():
        if sources.get(target, now) not in (now, _whole(target, _digest_before_0_15)):
            raise UserError(f"{where}: {target} has changed since; restore its code, or train the run again")


_imported: WeakKeyDictionary[Any, str] = WeakKeyDictionary()  # class -> digest when it was first seen


def _require_same(target: str, now: str) -> None:
    module, _, name = target.rpartition(".")
    loaded = getattr(sys.modules.get(module), name, None) if module != notebook.MODULE else None
    if inspect.isclass(loaded) and _imported.setdefault(loaded, now) != now:
        raise UserError(f"{target}: its file has changed since it was imported; restart this process")


def _targets(node: Any) -> Iterator[str]:
    """Every class and function that a config names from elsewhere."""
    if isinstance(node, Mapping):
        target = node.get("_target_")
        if isinstance(target, str) and not _is_known(target):
            yield target
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from _targets(value)


def _is_known(name: str) -> bool:
    first = name.partition(".")[0]
    if name.startswith(tuple(f"caelab.{part}." for part in _ASIDE)):  # such as a network of the benchmark
        return False
    return first in _KNOWN or first in sys.stdlib_module_names


def _codes(target: str) -> list[str]:
    """Source of the module that a dotted name lies in, and of those that it imports; empty without one."""
    files: set[Path] = set()
    typed = notebook.code(target)
    if typed:
        _follow(typed, "", Path.cwd(), files)
    parts = target.split(".") if not typed else []
    for name in (".".join(parts[:n]) for n in range(len(parts) - 1, 0, -1)):
        if file := _file(name):
            _add(file, name, files)
            break
    return [*([typed] if typed else []), *(file.read_text(encoding="utf-8") for file in files)]


def _file(name: str) -> Path | None:
    """File of a module: of the one that is imported, or that would be."""
    loaded = getattr(sys.modules.get(name), "__file__", None)
    places = (Path(place, *name.split(".")) for place in (os.getcwd(), *sys.path))
    paths = [Path(loaded)] if loaded else [path for place in places for path in _of_module(place)]
    return next((path.resolve() for path in paths if path.suffix == ".py" and path.is_file()), None)


def _of_module(place: Path) -> tuple[Path, Path]:
    return place / "__init__.py", place.with_name(f"{place.name}.py")


def _add(file: Path, name: str, files: set[Path]) -> None:
    """Add a module, and those of the user's own that it imports from beside it."""
    if file in files:
        return
    files.add(file)
    if {"site-packages", "dist-packages"} & {*file.parts}:
        return
    package = file.name == "__init__.py"
    root = file.parents[name.count(".") + package]
    _follow(file.read_text(encoding="utf-8"), name if package else name.rpartition(".")[0], root, files)


def _follow(code: str, package: str, root: Path, files: set[Path]) -> None:
    """Add the modules below ``root`` that the code of a package imports."""
    for other in _imports(code, package):
        for path in _of_module(root.joinpath(*other.split("."))):
            if path.is_file() and not _is_known(other):
                _add(path, other, files)


def _imports(code: str, package: str) -> Iterator[str]:
    """Dotted name of everything that a module may import."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))
