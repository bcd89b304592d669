"""The code that acts on a run, told apart by what it does: without comments, docstrings and layout."""

import ast
import hashlib
import inspect
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from pkgutil import resolve_name
from types import CodeType
from typing import Any

_PACKAGE = Path(__file__).parent
_OF_CODE = (
    *("co_code", "co_names", "co_varnames", "co_freevars", "co_exceptiontable", "co_name", "co_flags"),
    *("co_argcount", "co_posonlyargcount", "co_kwonlyargcount"),
)
_ASIDE = ("bench", "export", "report")  # subpackages that look at finished runs only
_KNOWN = ("caelab", "torch", "lightning")  # the package is taken whole, the others by their version


def acting(config: Any) -> str:
    """Digest of this package and of the modules that hold what a config names from elsewhere.

    Args:
        config: plain mappings, lists and scalars; what it names can be imported.

    Returns:
        64 hexadecimal digits.
    """
    whole = hashlib.sha256(_package().encode())
    for file in sorted(set(_theirs(config))):
        whole.update(digest(file.read_text(encoding="utf-8")).encode())
    return whole.hexdigest()


def digest(code: str) -> str:
    """Digest of a module's source, 64 hexadecimal digits, the same whatever its comments and docstrings."""
    tree = ast.parse(code)
    _strip(tree)
    steps = _steps(compile(tree, "", "exec", dont_inherit=True))
    return hashlib.sha256(repr(steps).encode()).hexdigest()


def _strip(node: ast.AST) -> None:
    """Take docstrings away, here and in all statements below."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
        node.body = node.body[1:] or [ast.copy_location(ast.Pass(), node.body[0])]
    for block in ("body", "orelse", "finalbody", "handlers", "cases"):
        for statement in getattr(node, block, ()):
            _strip(statement)


def _steps(code: CodeType) -> list[Any]:
    """All of a code object but where its lines stand."""
    constants = []
    for one in code.co_consts:
        plain = sorted(one, key=repr) if isinstance(one, frozenset) else one  # whose order is no constant
        constants.append(_steps(one) if isinstance(one, CodeType) else plain)
    return [constants, *(getattr(code, name) for name in _OF_CODE)]


@cache
def _package() -> str:
    files = sorted(file.relative_to(_PACKAGE) for file in _PACKAGE.rglob("*.py"))
    acting = [file for file in files if file.parts[0] not in _ASIDE]
    parts = [f"{file} {digest((_PACKAGE / file).read_text(encoding='utf-8'))}" for file in acting]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _theirs(node: Any) -> Iterator[Path]:
    """Files of the classes and functions that a config names, and of the classes they derive from."""
    if isinstance(node, dict):
        target = str(node.get("_target_", "caelab."))
        if target.partition(".")[0] not in _KNOWN:
            named = resolve_name(target)
            for one in inspect.getmro(named) if inspect.isclass(named) else (named,):
                yield from _file(one)
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from _theirs(value)


def _file(named: Any) -> Iterator[Path]:
    if str(getattr(named, "__module__", None)).partition(".")[0] in _KNOWN:
        return
    try:
        file = inspect.getsourcefile(named)
    except TypeError:  # of Python itself, or compiled
        return
    if file:
        yield Path(file)
