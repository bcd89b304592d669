"""The code that acts on a run, told apart by what it does: without comments, docstrings and layout."""

import ast
import hashlib
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from pkgutil import resolve_name
from types import CodeType
from typing import Any
from weakref import WeakKeyDictionary

from caelab.errors import UserError

_PACKAGE = Path(__file__).parent
_OF_CODE = (
    *("co_code", "co_names", "co_varnames", "co_freevars", "co_exceptiontable", "co_name", "co_flags"),
    *("co_argcount", "co_posonlyargcount", "co_kwonlyargcount"),
)
_ASIDE = ("bench", "export", "report")  # subpackages that look at finished runs only
# The package is taken whole, the others by their version.
_KNOWN = ("caelab", "torch", "torchvision", "lightning", "pytorch_lightning", "lightning_fabric")


def acting(config: Any) -> str:
    """Digest of this package and of the modules that hold what a config names from elsewhere.

    Args:
        config: plain mappings, lists and scalars; what it names can be imported.

    Returns:
        64 hexadecimal digits.
    """
    whole = hashlib.sha256(_package().encode())
    files = {file for target in _targets(config) for file in _files(resolve_name(target))}
    if files:
        whole.update(_whole(sorted(files)).encode())
    return whole.hexdigest()


@cache
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


def digests(config: Any) -> dict[str, str]:
    """Digest of each class or function that a config names and that is not the lab's, torch's or Lightning's.

    What it derives from counts, and of a user's own modules what they import from beside them; of an
    installed package the modules of the class and of its bases. What cannot be imported is left out: no run
    comes of it.

    Args:
        config: plain mappings, lists and scalars.

    Returns:
        Dotted name -> 64 hexadecimal digits.

    Raises:
        UserError: a class has changed since this process has imported it.
    """
    found = {}
    for target in sorted(set(_targets(config))):
        try:
            named = resolve_name(target)
        except Exception:  # of any kind, by code that is not ours
            continue
        if files := sorted(_files(named)):
            found[target] = _whole(files)
            _require_same(named, target, found[target])
    return found


def check(config: Any, sources: Mapping[str, str], where: str) -> None:
    """Refuse classes that are not the code that a run was trained with.

    Args:
        config: a group of its record; what it names may be imported.
        sources: digests of its record.
        where: whose they are, for messages.

    Raises:
        UserError: a class whose digest is another one.
    """
    for target, now in (digests(config) if sources else {}).items():
        if sources.get(target, now) != now:
            raise UserError(f"{where}: {target} has changed since; put its code back, or train the run again")


_imported: WeakKeyDictionary[Any, str] = WeakKeyDictionary()  # class -> digest when it was first asked for


def _require_same(named: Any, target: str, now: str) -> None:
    if inspect.isclass(named) and _imported.setdefault(named, now) != now:
        raise UserError(f"{target}: its file has changed since it was imported; start this process anew")


def _whole(files: Sequence[Path]) -> str:
    parts = [digest(file.read_text(encoding="utf-8")) for file in files]
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()


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


def _is_known(name: object) -> bool:
    first = str(name).partition(".")[0]
    return first in _KNOWN or first in sys.stdlib_module_names


def _files(named: Any) -> set[Path]:
    """Files of a class or function and of the classes that it derives from."""
    files: set[Path] = set()
    for one in inspect.getmro(named) if inspect.isclass(named) else (named,):
        module = sys.modules.get(str(getattr(one, "__module__", None)))
        file = getattr(module, "__file__", None)
        if module and file and file.endswith(".py") and not _is_known(module.__name__):
            _add(Path(file).resolve(), module.__name__, files)
    return files


def _add(file: Path, name: str, files: set[Path]) -> None:
    """Add a module, and those of the user's own that it imports from beside it."""
    if file in files:
        return
    files.add(file)
    if {"site-packages", "dist-packages"} & {*file.parts}:
        return
    package = file.name == "__init__.py"
    root = file.parents[name.count(".") + package]
    for other in _imports(file.read_text(encoding="utf-8"), name if package else name.rpartition(".")[0]):
        place = root.joinpath(*other.split("."))
        for path in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
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
